// https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#sha-512: the second registered algorithm, for manifests and blobs.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { digestOf, matchesDigest } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/manifest.ts'
import { type Content, type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { type PullEndpoint, REPOSITORY, errorCodeOf, startPullEndpoint } from '../support/pull-endpoint.ts'

const contentOf = (mediaType: string, bytes: Uint8Array): Content => ({
  bytes,
  descriptor: { mediaType, digest: digestOf(bytes, 'sha512'), size: bytes.length },
})

describe('content with sha512 digests', () => {
  let endpoint: PullEndpoint
  let manifest: Content
  let blobs: readonly Content[]

  before(async () => {
    endpoint = await startPullEndpoint()
    const made = makeImage({ layers: [{ size: 50_000, seed: 'sha512' }] })
    blobs = made.blobs.map(({ bytes, descriptor }) => contentOf(descriptor.mediaType, bytes))
    const descriptors = blobs.map(({ descriptor }) => descriptor)
    const config = descriptors.find(({ mediaType }) => mediaType.includes('config'))
    const layers = descriptors.filter((descriptor) => descriptor !== config)
    const document = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers }
    manifest = contentOf(MEDIA_TYPES.ociManifest, Buffer.from(JSON.stringify(document)))
    const image: Image = { ...made, root: manifest, manifest, manifests: [manifest], blobs }
    await endpoint.hub.publish(REPOSITORY, 'sha512', image)
  })
  after(() => endpoint[Symbol.asyncDispose]())

  it('is pulled by tag and by digest, from the registry and then from the store', async () => {
    for (const round of ['cold', 'warm']) {
      for (const [path, { descriptor }] of [
        ['manifests/sha512', manifest],
        [`manifests/${manifest.descriptor.digest}`, manifest],
        ...blobs.map((blob) => [`blobs/${blob.descriptor.digest}`, blob] as const),
      ] as const)
        for (const method of ['HEAD', 'GET']) {
          const response = await endpoint.ask(path, { method, headers: { accept: MEDIA_TYPES.ociManifest } })
          assert.equal(response.status, 200, `${round} ${method} ${path}`)
          assert.equal(response.headers.get('docker-content-digest'), descriptor.digest)
          assert.equal(response.headers.get('content-length'), String(descriptor.size))
          const bytes = await response.bytes()
          if (method === 'GET') assert.ok(matchesDigest(bytes, descriptor.digest))
        }
      const held = async () => (await endpoint.status()).blobs === 1 + blobs.length
      await eventually('all is in the store', held)
    }
    const { blobGets, manifestGets } = await endpoint.hub.counters()
    assert.deepEqual({ blobGets, manifestGets }, { blobGets: blobs.length, manifestGets: 1 })
  })

  it('has referrers, and is refused if the digest is too short', async () => {
    assert.equal((await endpoint.ask(`referrers/${manifest.descriptor.digest}`)).status, 200)
    const response = await endpoint.ask(`blobs/${manifest.descriptor.digest.slice(0, -1)}`)
    assert.equal(response.status, 400)
    assert.equal(await errorCodeOf(response), 'DIGEST_INVALID')
  })
})
