// No repository, index or peer has a manifest served under a wrong media type elsewhere.
import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import { PEER } from '../../../src/delivery/access/audience.ts'
import { asTagged } from '../../../src/delivery/manifests/delivered-manifest.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { MEDIA_TYPES, UNKNOWN_MEDIA_TYPE } from '../../../src/oci/manifest.ts'
import type { ManifestOrigin } from '../../../src/store/cache-store.ts'
import { DeliveryNodes } from '../../support/delivery-nodes.ts'
import { makeImage } from '../../support/image-maker.ts'

const signal = new AbortController().signal
const good = { registry: 'docker.io', name: 'good/app' }
const evil = { registry: 'docker.io', name: 'evil/x' }
const bytesOf = (document: object) => Buffer.from(JSON.stringify(document))
const image = makeImage({ layers: [{ size: 1000, seed: 'wrong types' }] })
const stated = JSON.parse(Buffer.from(image.manifest.bytes).toString('utf8')) as Record<string, unknown>
const { mediaType: _type, ...unstated } = stated
const IMAGE = bytesOf(unstated)
const STATED = bytesOf(stated)
const SCHEMA_1 = bytesOf({ schemaVersion: 1, name: 'x/y', fsLayers: [] })

describe('the media type of a manifest', () => {
  let all: DeliveryNodes

  beforeEach(() => {
    all = new DeliveryNodes()
  })

  const publish = (bytes: Buffer, mediaType: string) => {
    const descriptor = { digest: digestOf(bytes), size: bytes.length, mediaType }
    all.upstream.content.set(descriptor.digest, { descriptor, bytes, date: 1000, anonymous: true })
    return descriptor.digest
  }
  /** A node whose only peer says this. */
  const beside = (bytes: Buffer, mediaType: string | undefined, believesPeers: boolean) => {
    const kept: ManifestOrigin[] = []
    const node = all.add({
      believesPeers,
      index: { find: async () => [{ id: 'liar', address: 'liar:7951' }], disprove: () => {} },
      peers: { getManifest: async () => ({ bytes, mediaType, access: 'public' }) },
      policy: { mirrored: 'all', fallback: 'none' },
      cache: { putManifest: async (_, origin) => void kept.push(origin) },
    })
    return { node, kept }
  }

  it('is not what the registry of another repository says', async () => {
    const node = all.add()
    const digest = publish(IMAGE, 'application/x-foo')
    const own = await node.manifests.get(evil, digest, signal)
    assert.equal(own.descriptor.mediaType, 'application/x-foo')
    node.rights.verifiedCame(good, digest, { from: 'upstream', anonymous: true })
    const found = await node.manifests.getLocal(good, digest, { kind: 'node', caller: undefined }, signal)
    assert.equal(found?.descriptor.mediaType, MEDIA_TYPES.ociManifest)
    assert.equal(found.isRegistrys, false)
  })

  it('is not told to peers as the word of the registry where another repository gave it', async () => {
    for (const [believesPeers, type] of [
      [true, UNKNOWN_MEDIA_TYPE],
      [false, 'application/x-foo'],
    ] as const) {
      const node = all.add({ believesPeers })
      const digest = publish(SCHEMA_1, 'application/x-foo')
      await node.manifests.get(evil, digest, signal)
      node.rights.verifiedCame(good, digest, { from: 'upstream', anonymous: true })
      const typeFor = async (repository: typeof good) =>
        (await node.manifests.getLocal(repository, digest, PEER, signal))?.descriptor.mediaType
      assert.equal(await typeFor(good), type)
      assert.equal(await typeFor(evil), 'application/x-foo')
    }
  })

  it('is kept as a hint where a peer of a cluster without a secret tells it', async () => {
    const { node, kept } = beside(SCHEMA_1, 'application/x-foo', false)
    const digest = digestOf(SCHEMA_1)
    for (let round = 0; round < 2; round += 1) {
      const found = await node.manifests.get(good, digest, signal)
      assert.equal(found.descriptor.mediaType, 'application/x-foo')
      assert.equal(found.isRegistrys, false)
    }
    assert.deepEqual(
      kept.map(({ isHint }) => isHint),
      [true],
    )
  })

  it('is what a peer of a cluster with a secret tells where the bytes tell nothing, and is not if it tells nothing', async () => {
    for (const [told, type, isRegistrys] of [
      [MEDIA_TYPES.dockerSchema1Signed, MEDIA_TYPES.dockerSchema1Signed, true],
      [UNKNOWN_MEDIA_TYPE, MEDIA_TYPES.dockerSchema1, false],
      [undefined, MEDIA_TYPES.dockerSchema1, false],
    ] as const) {
      const { node, kept } = beside(SCHEMA_1, told, true)
      for (let round = 0; round < 2; round += 1) {
        const found = await node.manifests.get(good, digestOf(SCHEMA_1), signal)
        assert.deepEqual([found.descriptor.mediaType, found.isRegistrys], [type, isRegistrys])
      }
      assert.equal(kept[0]?.isHint, !isRegistrys)
    }
  })

  it('is never what a peer says against the bytes, secret or not', async () => {
    for (const believesPeers of [true, false])
      for (const bytes of [STATED, IMAGE])
        for (const lie of [MEDIA_TYPES.ociIndex, 'application/vnd.oci.image.index.v1+JSON', 'application/x-foo']) {
          const { node, kept } = beside(bytes, lie, believesPeers)
          for (let round = 0; round < 2; round += 1) {
            const { descriptor } = await node.manifests.get(good, digestOf(bytes), signal)
            assert.equal(descriptor.mediaType, MEDIA_TYPES.ociManifest)
          }
          assert.deepEqual(
            kept.map(({ isHint }) => isHint),
            [true],
          )
        }
  })

  it('is what the tag says only where the upstream said it, else a hint', async () => {
    const descriptor = { digest: digestOf(STATED), size: STATED.length, mediaType: MEDIA_TYPES.ociManifest }
    const manifest = { descriptor, bytes: STATED, isRegistrys: false, source: 'peer', access: 'public' } as const
    const tag = { descriptor: { ...descriptor, mediaType: MEDIA_TYPES.ociIndex } }
    const typeBy = (source: 'peer' | 'local' | 'upstream') =>
      asTagged(manifest, { ...tag, source }).descriptor.mediaType
    assert.equal(typeBy('peer'), MEDIA_TYPES.ociManifest)
    assert.equal(typeBy('local'), MEDIA_TYPES.ociManifest)
    assert.equal(typeBy('upstream'), MEDIA_TYPES.ociIndex)
  })
})
