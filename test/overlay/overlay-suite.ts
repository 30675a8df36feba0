import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { digestOf } from '../../src/oci/digest.ts'
import type { IndexKey, Overlay } from '../../src/overlay/overlay.ts'
import { keyOfDigest } from '../../src/providers/index-key.ts'

/** A cluster to test, made of one kind of overlay. */
export interface OverlayLab extends AsyncDisposable {
  /** Nodes of the same cluster, started all at once. */
  grow(count: number): Promise<readonly Overlay[]>
  /** One more node, which can be killed without a chance to say goodbye. */
  victim(): Promise<Victim>
}

export interface Victim {
  readonly id: string
  kill(): Promise<void>
}

/** What every overlay promises, in a cluster of `size` nodes. */
export function overlaySuite(name: string, size: number, makeLab: () => Promise<OverlayLab>): void {
  describe(`${name}, ${size} nodes`, () => {
    let lab: OverlayLab
    let nodes: readonly Overlay[]
    let victim: Victim
    const seen = new Map<string, Set<string>>()

    before(async () => {
      lab = await makeLab()
      nodes = await lab.grow(size - 1)
      for (const node of nodes) follow(node, seen)
      victim = await lab.victim()
    })
    after(() => lab[Symbol.asyncDispose]())

    it('lets every node see every other one', async () => {
      const everybody = [...nodes.map((node) => node.self.id), victim.id]
      await until(() => nodes.every((node) => sees(node, everybody)), 'all see all')
      const addresses = new Map(nodes.map((node) => [node.self.id, node.self.address]))
      for (const peer of nodes.flatMap((node) => node.peers())) {
        assert.equal(peer.address, addresses.get(peer.id) ?? peer.address)
      }
    })

    it('agrees on who is closest to a key, and counts itself', async () => {
      const options = { signal: AbortSignal.timeout(60_000) }
      const firsts = new Set<string>()
      for (let i = 0; i < 20; i++) {
        const key = randomKey()
        const answers = await Promise.all(nodes.map((node) => node.closest(key, 3, options)))
        const [first = []] = answers
        for (const answer of answers) assert.deepEqual(idsOf(answer), idsOf(first))
        assert.equal(new Set(idsOf(first)).size, Math.min(3, size))
        firsts.add(first[0]?.id ?? '')
        const [node] = nodes
        const all = await node?.closest(key, size + 5, options)
        assert.equal(all?.length, size)
        assert.deepEqual(idsOf(all.slice(0, 3)), idsOf(first))
      }
      assert.ok(firsts.size > 1, 'keys are spread over the nodes')
    })

    it('refuses a question that was given up before it was asked', async () => {
      const [node] = nodes
      await assert.rejects(async () => node?.closest(randomKey(), 3, { signal: AbortSignal.abort() }))
    })

    it('notices that a node was killed', async () => {
      await victim.kill()
      const rest = nodes.map((node) => node.self.id)
      await until(() => nodes.every((node) => sees(node, rest)), 'the killed node is gone')
    })

    it('notices that a node stopped, and that it came back', async () => {
      const [leaver, ...stayers] = nodes
      assert.ok(leaver)
      await leaver.stop()
      assert.deepEqual(leaver.peers(), [])
      const rest = stayers.map((node) => node.self.id)
      await until(() => stayers.every((node) => sees(node, rest)), 'the stopped node is gone')
      await leaver.start()
      const everybody = nodes.map((node) => node.self.id)
      await until(() => nodes.every((node) => sees(node, everybody)), 'the node is back')
    })

    it('told its listeners of everyone exactly once', async () => {
      for (const node of nodes) assert.deepEqual([...(seen.get(node.self.id) ?? [])].sort(), idsOf(node.peers()).sort())
    })

    it('tells nothing to a listener that ended', async () => {
      const [node, other] = nodes
      assert.ok(node !== undefined && other !== undefined)
      let told = 0
      node.subscribe(() => told++)()
      await other.stop()
      await until(() => !idsOf(node.peers()).includes(other.self.id), 'the other node is gone')
      assert.equal(told, 0)
    })
  })
}

/** Keeps the set of peers as the events tell it, and fails the test run on an event that contradicts the set. */
function follow(node: Overlay, seen: Map<string, Set<string>>): void {
  const ids = new Set(idsOf(node.peers()))
  seen.set(node.self.id, ids)
  node.subscribe(({ type, peer }) => {
    assert.notEqual(peer.id, node.self.id)
    assert.equal(ids.has(peer.id), type === 'left', `${type} told twice`)
    if (type === 'joined') ids.add(peer.id)
    else ids.delete(peer.id)
  })
}

function sees(node: Overlay, everybody: readonly string[]): boolean {
  const others = everybody.filter((id) => id !== node.self.id).sort()
  return others.join() === idsOf(node.peers()).sort().join()
}

function idsOf(peers: readonly { id: string }[]): string[] {
  return peers.map((peer) => peer.id)
}

export function randomKey(): IndexKey {
  return keyOfDigest(digestOf(randomBytes(32)))
}

/** Waits for a condition; the deadline is generous because only its being met counts. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 90_000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`gave up waiting: ${what}`)
    await sleep(20)
  }
}
