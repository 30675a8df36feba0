import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import * as fc from 'fast-check'

import type { IndexKey } from '../../src/overlay/overlay.ts'
import { keyNamed } from '../support/index-keys.ts'
import {
  everybodyFinds,
  everybodyFindsSome,
  type Fault,
  IndexNetwork,
  type IndexNode,
} from '../support/index-network.ts'

const keys = Array.from({ length: 6 }, (_, n) => keyNamed(n))
const FAULTS: readonly Fault[] = ['none', 'none', 'lost', 'unanswered', 'garbage', 'frozen']

type Step =
  | { readonly kind: 'announce' | 'withdraw'; readonly node: number; readonly keys: readonly IndexKey[] }
  | { readonly kind: 'kill' | 'stop' | 'restart' | 'blink'; readonly node: number }
  | { readonly kind: 'join' | 'heal' | 'wait' }
  | { readonly kind: 'partition'; readonly size: number }
  | { readonly kind: 'faults'; readonly seed: number }

const node = fc.nat({ max: 20 })
const someKeys = fc.subarray(keys, { minLength: 1 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('announce' as const), node, keys: someKeys }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('withdraw' as const), node, keys: someKeys }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('kill', 'stop', 'restart', 'blink'), node }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('join', 'heal', 'wait', 'wait', 'wait') }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('partition' as const), size: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('faults' as const), seed: fc.nat() }) },
)

/** The network, and beside it what each node claims by the plainest reckoning. */
class Trial {
  readonly network: IndexNetwork
  readonly held = new Map<IndexNode, Set<IndexKey>>()

  constructor(network: IndexNetwork) {
    this.network = network
  }

  async join(id?: string): Promise<void> {
    this.held.set(await this.network.add(id), new Set())
  }

  async run(step: Step): Promise<void> {
    switch (step.kind) {
      case 'announce':
      case 'withdraw':
        return this.#change(step.kind, this.#pick(step.node), step.keys)
      case 'kill':
      case 'stop':
        return this.network.nodes.length > 2 ? await this.#end(step.kind, this.#pick(step.node)) : undefined
      case 'restart': {
        const target = this.#pick(step.node)
        await this.#end('kill', target)
        return await this.join(target.overlay.self.id)
      }
      case 'blink':
        // It loses sight of everybody, and nobody notices.
        return this.#pick(step.node).overlay.see([])
      case 'join':
        return this.network.nodes.length < 9 ? await this.join() : undefined
      case 'partition':
        return this.network.partition(this.network.nodes.slice(0, step.size))
      case 'heal':
        return this.network.heal()
      case 'wait':
        return await sleep(3)
      case 'faults': {
        let count = step.seed % 1_000
        this.network.fault = () => FAULTS[count++ % FAULTS.length] ?? 'none'
      }
    }
  }

  /** Where nodes may differ about the size of the cluster, a node is content with the holders that it knows itself. */
  async check(): Promise<void> {
    const { nodes } = this.network
    this.network.heal()
    this.network.fault = () => 'none'
    for (const key of keys) {
      const holders = nodes.filter((each) => this.held.get(each)?.has(key))
      const scopes = new Set(nodes.map((each) => each.index.stats().scope))
      await (scopes.has('placed') ? everybodyFindsSome : everybodyFinds)(nodes, key, holders)
    }
    assert.ok(nodes.length > 1)
  }

  #pick(n: number): IndexNode {
    const picked = this.network.nodes[n % this.network.nodes.length]
    assert.ok(picked)
    return picked
  }

  #change(kind: 'announce' | 'withdraw', target: IndexNode, changed: readonly IndexKey[]): void {
    target.index[kind](changed)
    for (const key of changed) this.held.get(target)?.[kind === 'announce' ? 'add' : 'delete'](key)
  }

  async #end(kind: 'kill' | 'stop', target: IndexNode): Promise<void> {
    this.held.delete(target)
    await this.network[kind](target)
  }
}

describe('the provider index, after anything that may happen to a cluster', () => {
  for (const [name, replicateAll] of [
    ['small', 40],
    ['large', 2],
    ['changing', 4],
  ] as const) {
    it(`agrees with what its nodes hold once it is left in peace (${name})`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
          await using network = new IndexNetwork({
            replicateAll,
            ttl: 200,
            sendTimeout: 30,
            freshDeadline: 30,
            lookupDeadline: 30,
            failureMemory: 20,
          })
          const trial = new Trial(network)
          for (let n = 0; n < 4; n++) await trial.join()
          for (const each of steps) await trial.run(each)
          await trial.check()
        }),
        { numRuns: 40, endOnFailure: true },
      )
    })
  }
})
