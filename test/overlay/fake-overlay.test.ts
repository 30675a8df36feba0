import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { FakeCluster } from '../support/fake-overlay.ts'
import { type OverlayLab, overlaySuite } from './overlay-suite.ts'

async function fakeLab(): Promise<OverlayLab> {
  const cluster = new FakeCluster()
  return {
    async grow(count) {
      const nodes = Array.from({ length: count }, () => cluster.overlay())
      await Promise.all(nodes.map((node) => node.start()))
      return nodes
    },
    async victim() {
      const node = cluster.overlay()
      await node.start()
      return { id: node.self.id, kill: async () => node.kill() }
    },
    async [Symbol.asyncDispose]() {},
  }
}

for (const size of [3, 10, 30]) overlaySuite('fake overlay', size, fakeLab)

describe('fake cluster', () => {
  it('parts and heals', async () => {
    const cluster = new FakeCluster()
    const nodes = [cluster.overlay(), cluster.overlay(), cluster.overlay()]
    for (const node of nodes) await node.start()
    cluster.partition(nodes.slice(0, 1))
    assert.deepEqual(
      nodes.map((node) => node.peers().length),
      [0, 1, 1],
    )
    cluster.heal()
    assert.deepEqual(
      nodes.map((node) => node.peers().length),
      [2, 2, 2],
    )
  })
})
