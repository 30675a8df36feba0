import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'

import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import type { IndexKey, Peer } from '../../src/overlay/overlay.ts'
import type { IndexOptions } from '../../src/providers/index-options.ts'
import type { IndexHandler, IndexTransport } from '../../src/providers/index-transport.ts'
import type { Announcement } from '../../src/providers/messages.ts'
import { ReplicatedIndex } from '../../src/providers/replicated-index.ts'
import { FakeCluster, type FakeOverlay } from './fake-overlay.ts'
import { decoded, encoded } from './wire.ts'

const ANNOUNCE = NODE_PROTOCOL.announce
const LOOKUP = NODE_PROTOCOL.lookup

/** Everything a hundred times faster than in life, so that what takes a minute there is seen here. */
export const QUICK: Partial<IndexOptions> = {
  ttl: 600,
  batchDelay: 2,
  sendTimeout: 300,
  retryDelay: 5,
  freshDeadline: 300,
  lookupDeadline: 500,
  replaceDelay: 10,
  failureMemory: 200,
}

export interface IndexNode {
  readonly overlay: FakeOverlay
  readonly index: ReplicatedIndex
  find(key: IndexKey): Promise<string[]>
}

/** What goes wrong between two nodes. `lost` is the request, `unanswered` means that only the answer is. */
export type Fault = 'none' | 'lost' | 'unanswered' | 'frozen' | 'garbage'

/** A network in memory whose messages go through the real codec, with faults to order. */
export class IndexNetwork {
  readonly cluster = new FakeCluster()
  readonly nodes: IndexNode[] = []
  readonly announcements: { from: string; to: string; message: Announcement }[] = []
  readonly lookups: { from: string; to: string; keys: readonly IndexKey[] }[] = []
  fault: (from: string, to: string, kind: 'announce' | 'lookup') => Fault = () => 'none'
  readonly #handlers = new Map<string, IndexHandler>()
  readonly #options: Partial<IndexOptions>
  #side: ReadonlySet<string> = new Set()

  constructor(options: Partial<IndexOptions> = {}) {
    this.#options = { ...QUICK, ...options }
  }

  async add(id?: string, options: Partial<IndexOptions> = {}): Promise<IndexNode> {
    const overlay = this.cluster.overlay(id === undefined ? {} : { id })
    const index = new ReplicatedIndex(overlay, this.#transport(overlay.self), { ...this.#options, ...options })
    const node: IndexNode = { overlay, index, find: (key) => findSorted(index, key) }
    this.#handlers.set(overlay.self.id, index)
    await overlay.start()
    await index.start()
    this.nodes.push(node)
    return node
  }

  async addMany(count: number): Promise<IndexNode[]> {
    return await Promise.all(Array.from({ length: count }, () => this.add()))
  }

  /** Goes without a word. What it still tries to say is not heard. */
  async kill(node: IndexNode): Promise<void> {
    this.#forget(node)
    node.overlay.kill()
    await node.index.stop({ signal: AbortSignal.abort() })
  }

  /** Withdraws, then goes. */
  async stop(node: IndexNode): Promise<void> {
    await node.index.stop({ signal: AbortSignal.timeout(1_000) })
    this.#forget(node)
    await node.overlay.stop()
  }

  partition(side: readonly IndexNode[]): void {
    this.#side = new Set(side.map((node) => node.overlay.self.id))
    this.cluster.partition(side.map((node) => node.overlay))
  }

  heal(): void {
    this.#side = new Set()
    this.cluster.heal()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.slice().map((node) => this.kill(node)))
  }

  #forget(node: IndexNode): void {
    this.#handlers.delete(node.overlay.self.id)
    const at = this.nodes.indexOf(node)
    if (at >= 0) this.nodes.splice(at, 1)
  }

  #transport(self: Peer): IndexTransport {
    return {
      announce: (peer, message, { signal }) =>
        this.#carry(
          self,
          peer,
          'announce',
          signal,
          (body) => decoded(ANNOUNCE.answer, body),
          (handler) => {
            this.announcements.push({ from: self.id, to: peer.id, message })
            const heard = decoded(ANNOUNCE.request, encoded(ANNOUNCE.request, message))
            const from = { ...self, remoteAddress: self.address.slice(0, self.address.lastIndexOf(':')) }
            return encoded(ANNOUNCE.answer, handler.handleAnnounce(heard, from))
          },
        ),
      lookup: (peer, keys, { signal }) =>
        this.#carry(
          self,
          peer,
          'lookup',
          signal,
          (body) => decoded(LOOKUP.answer, body),
          (handler) => {
            this.lookups.push({ from: self.id, to: peer.id, keys })
            const asked = decoded(LOOKUP.request, encoded(LOOKUP.request, keys))
            return encoded(LOOKUP.answer, handler.handleLookup(asked))
          },
        ),
    }
  }

  async #carry<T>(
    from: Peer,
    to: Peer,
    kind: 'announce' | 'lookup',
    signal: AbortSignal,
    decode: (body: string) => T,
    ask: (handler: IndexHandler) => string,
  ): Promise<T> {
    const fault = this.fault(from.id, to.id, kind)
    if (fault === 'frozen') return await new Promise(() => {})
    await sleep(0)
    signal.throwIfAborted()
    const handler = this.#handlers.get(to.id)
    const isCut = this.#side.has(from.id) !== this.#side.has(to.id)
    const isGone = !this.#handlers.has(from.id)
    if (handler === undefined || isCut || isGone || fault === 'lost') throw new Error('connection refused')
    const answer = ask(handler)
    if (fault === 'unanswered') throw new Error('connection reset')
    return decode(fault === 'garbage' ? '{"type":"surprise"}' : answer)
  }
}

async function findSorted(index: ReplicatedIndex, key: IndexKey): Promise<string[]> {
  const peers = await index.find(key, { signal: AbortSignal.timeout(5_000) })
  return peers.map((peer) => peer.id).sort()
}

/** Tries until it no longer throws. */
export async function eventually(check: () => Promise<void> | void): Promise<void> {
  const deadline = performance.now() + 20_000
  for (;;) {
    try {
      return await check()
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(5)
    }
  }
}

/** Waits until each of `nodes` finds somebody who holds a key if another one does, and nobody who does not. */
export async function everybodyFindsSome(nodes: readonly IndexNode[], key: IndexKey, holders: readonly IndexNode[]) {
  await eventually(async () => {
    for (const node of nodes) {
      const others = holders.filter((holder) => holder !== node).map((holder) => holder.overlay.self.id)
      const found = await node.find(key)
      assert.deepEqual(
        found.filter((id) => !others.includes(id)),
        [],
        `as seen by ${node.overlay.self.id}`,
      )
      assert.equal(found.length > 0, others.length > 0, `as seen by ${node.overlay.self.id}`)
    }
  })
}

/** Waits until these nodes hold exactly these claims for a key, in the eyes of all `nodes`. */
export async function everybodyFinds(nodes: readonly IndexNode[], key: IndexKey, holders: readonly IndexNode[]) {
  await eventually(async () => {
    for (const node of nodes) {
      const others = holders.filter((holder) => holder !== node).map((holder) => holder.overlay.self.id)
      assert.deepEqual(await node.find(key), others.sort(), `as seen by ${node.overlay.self.id}`)
    }
  })
}
