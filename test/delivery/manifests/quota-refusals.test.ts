import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import { UpstreamError } from '../../../src/upstream/upstream.ts'
import { type DeliveryNode, DeliveryNodes } from '../../support/delivery-nodes.ts'
import { makeImage } from '../../support/image-maker.ts'

const signal = new AbortController().signal
const app = { registry: 'docker.io', name: 'library/app' }
const { manifest } = makeImage({ layers: [{ size: 1000, seed: 'refused' }] })
const { digest } = manifest.descriptor
const limit = {
  registry: 'docker.io',
  host: 'hub',
  source: '10.0.0.1',
  limit: 100,
  remaining: 0,
  windowSeconds: 3600,
  asOf: 0,
}

describe('a node whose quota is used up', () => {
  let all: DeliveryNodes
  beforeEach(() => {
    all = new DeliveryNodes()
    all.upstream.content.set(digest, { ...manifest, date: 1000, anonymous: true })
  })

  const usedUp = {
    getManifest: async () => {
      throw new UpstreamError('limited', 'the quota is used up', { limit })
    },
  }
  const get = (node: DeliveryNode) => node.manifests.get(app, digest, signal)

  it('speaks for those that are counted with it, or do not know', async () => {
    const first = all.add({ upstream: usedUp })
    await assert.rejects(get(first), /the quota is used up/)
    for (const countedAs of [undefined, () => [], () => ['10.0.0.1'], () => ['ann', '10.0.0.1']]) {
      await assert.rejects(get(all.add({ countedAs })), /the quota is used up/)
    }
    assert.equal(all.upstream.count('GET'), 0)
  })

  it('does not speak for those that are counted as somebody else', async () => {
    await assert.rejects(get(all.add({ upstream: usedUp })), /the quota is used up/)
    const found = await get(all.add({ countedAs: () => ['10.0.0.2'] }))
    assert.deepEqual(found.bytes, manifest.bytes)
    assert.equal(all.upstream.count('GET'), 1)
  })

  it('takes it from a holder that its coordinator did not know', async () => {
    const holder = all.add()
    await get(holder)
    // It serves, and the swarm alone takes it for gone.
    all.swarm.kill(holder.peer.id)
    const node = all.add({ upstream: usedUp, index: { find: async () => [holder.peer], disprove: () => {} } })
    assert.equal((await get(node)).source, 'peer')
  })
})
