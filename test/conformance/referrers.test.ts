// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { z } from 'zod'

import { digestHex, digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/manifest.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { type PullEndpoint, REPOSITORY, errorCodeOf, startPullEndpoint } from '../support/pull-endpoint.ts'

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.literal(MEDIA_TYPES.ociIndex),
  manifests: z.array(
    z.object({ mediaType: z.string(), digest: z.string(), size: z.number(), artifactType: z.string() }),
  ),
})

describe('listing referrers', () => {
  let endpoint: PullEndpoint
  let subject: Image
  let referrer: Image

  before(async () => {
    endpoint = await startPullEndpoint()
    subject = makeImage({ layers: [{ size: 100, seed: 'subject' }] })
    referrer = makeImage({ layers: [{ size: 100, seed: 'referrer' }], subject: subject.manifest.descriptor })
    await endpoint.hub.publish(REPOSITORY, 'subject', subject)
    await endpoint.hub.publish(REPOSITORY, 'referrer', referrer)
  })
  after(() => endpoint[Symbol.asyncDispose]())
  afterEach(() => endpoint.hub.setFaults({ registry: {} }))

  const list = async (digest: string, query = '') => {
    const response = await endpoint.ask(`referrers/${digest}${query}`)
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('content-type'), MEDIA_TYPES.ociIndex)
    const { manifests } = indexSchema.parse(await response.json())
    return { manifests, filters: response.headers.get('oci-filters-applied') }
  }

  it('gives an index of what refers to a manifest, empty if nothing does or the manifest does not exist', async () => {
    const { manifests, filters } = await list(subject.manifest.descriptor.digest)
    assert.deepEqual(
      manifests.map(({ digest }) => digest),
      [referrer.manifest.descriptor.digest],
    )
    assert.equal(filters, null)
    for (const digest of [referrer.manifest.descriptor.digest, digestOf(Buffer.from('none'))])
      assert.deepEqual((await list(digest)).manifests, [])
  })

  it('filters by artifactType, and says so', async () => {
    const { digest } = subject.manifest.descriptor
    const { artifactType } = (await list(digest)).manifests[0] ?? assert.fail()
    for (const [type, count] of [
      [artifactType, 1],
      ['application/vnd.example+type', 0],
    ] as const) {
      const { manifests, filters } = await list(digest, `?artifactType=${encodeURIComponent(type)}`)
      assert.equal(manifests.length, count)
      assert.equal(filters, 'artifactType')
    }
  })

  it('answers 400 to a malformed digest', async () => {
    const response = await endpoint.ask('referrers/sha256:totallywrong')
    assert.equal(response.status, 400)
    assert.equal(await errorCodeOf(response), 'DIGEST_INVALID')
  })

  it('answers 404 where the registry has no such API; the referrers tag schema then works as for every tag', async () => {
    await endpoint.hub.setFaults({ registry: { path: /\/referrers\//, status: 404 } })
    const { digest } = subject.manifest.descriptor
    const response = await endpoint.ask(`referrers/${digest}`)
    assert.equal(response.status, 404)
    await errorCodeOf(response)
    const tag = `sha256-${digestHex(digest)}`
    assert.equal((await endpoint.ask(`manifests/${tag}`)).status, 404)
    const other = makeImage({ layers: [{ size: 100, seed: 'fallback' }], multiArch: true })
    await endpoint.hub.publish('library/fallback', tag, other)
    const index = await endpoint.ask(`manifests/${tag}`, { repository: 'library/fallback' })
    assert.equal(index.headers.get('content-type'), MEDIA_TYPES.ociIndex)
    assert.equal(digestOf(await index.bytes()), other.root.descriptor.digest)
  })
})
