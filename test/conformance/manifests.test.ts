// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/manifest.ts'
import { type Content, type Image, makeImage } from '../support/image-maker.ts'
import { type PullEndpoint, REPOSITORY, errorCodeOf, startPullEndpoint } from '../support/pull-endpoint.ts'

describe('pulling manifests', () => {
  let endpoint: PullEndpoint
  let image: Image
  let docker: Image

  before(async () => {
    endpoint = await startPullEndpoint()
    image = makeImage({ layers: [{ size: 1000, seed: 'manifests' }], multiArch: true })
    docker = makeImage({ layers: [{ size: 1000, seed: 'docker' }], mediaTypes: 'docker' })
    await endpoint.hub.publish(REPOSITORY, 'index', image)
    await endpoint.hub.publish(REPOSITORY, 'docker', docker)
  })
  after(() => endpoint[Symbol.asyncDispose]())

  const gives = async (reference: string, { descriptor, bytes }: Content, accept?: string) => {
    for (const method of ['HEAD', 'GET', 'HEAD']) {
      const headers: Record<string, string> = accept === undefined ? {} : { accept }
      const response = await endpoint.ask(`manifests/${reference}`, { method, headers })
      assert.equal(response.status, 200, `${method} ${reference}`)
      assert.equal(response.headers.get('docker-content-digest'), descriptor.digest)
      assert.equal(response.headers.get('content-type'), descriptor.mediaType)
      assert.equal(response.headers.get('content-length'), String(descriptor.size))
      assert.deepEqual(Buffer.from(await response.bytes()), Buffer.from(method === 'GET' ? bytes : []))
    }
  }

  it('works by tag and by digest, HEAD and GET, for indexes and manifests, with the type that the registry sent', async () => {
    for (const [tag, { root, manifests }] of [
      ['index', image],
      ['docker', docker],
    ] as const) {
      await gives(tag, root, root.descriptor.mediaType)
      for (const content of manifests) await gives(content.descriptor.digest, content, content.descriptor.mediaType)
    }
  })

  it('takes Accept in every form, by several headers, with parameters and wildcards, and does without', async () => {
    const type = image.root.descriptor.mediaType
    for (const accept of [`text/html, ${type};q=0.5`, '*/*', 'application/*', type.toUpperCase()])
      await gives('index', image.root, accept)
    await gives('index', image.root)
    await gives(image.manifest.descriptor.digest, image.manifest, 'text/html')
  })

  it('never gives a tag in a type that the client does not accept', async () => {
    for (const method of ['HEAD', 'GET']) {
      const response = await endpoint.ask('manifests/index', { method, headers: { accept: MEDIA_TYPES.ociManifest } })
      assert.equal(response.status, 404)
      if (method === 'GET') assert.equal(await errorCodeOf(response), 'MANIFEST_UNKNOWN')
    }
  })

  it('answers 404 with MANIFEST_UNKNOWN for what does not exist', async () => {
    for (const reference of ['none', digestOf(Buffer.from('none')), digestOf(Buffer.from('none'), 'sha512')]) {
      assert.equal((await endpoint.ask(`manifests/${reference}`, { method: 'HEAD' })).status, 404)
      const response = await endpoint.ask(`manifests/${reference}`)
      assert.equal(response.status, 404, reference)
      assert.equal(await errorCodeOf(response), 'MANIFEST_UNKNOWN')
    }
  })
})
