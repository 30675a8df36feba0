// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes, for what is wrong with a request itself.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { makeImage } from '../support/image-maker.ts'
import { type PullEndpoint, REPOSITORY, errorCodeOf, startPullEndpoint } from '../support/pull-endpoint.ts'

const DIGEST = digestOf(Buffer.from('hello world'))

describe('requests that are no pulls', () => {
  let endpoint: PullEndpoint
  before(async () => {
    endpoint = await startPullEndpoint()
    await endpoint.hub.publish(REPOSITORY, '1', makeImage({ layers: [{ size: 100, seed: 'errors' }] }))
  })
  after(() => endpoint[Symbol.asyncDispose]())

  it('find the endpoint that says which API this is', async () => {
    for (const path of ['/v2/', '/v2'])
      for (const method of ['GET', 'HEAD']) assert.equal((await endpoint.get(path, { method })).status, 200)
  })

  it('are refused in the words of the specification', async () => {
    for (const [path, status, codes] of [
      [`${REPOSITORY}/manifests/sha256:totallywrong`, 400, ['DIGEST_INVALID']],
      [`${REPOSITORY}/blobs/sha256:totallywrong`, 400, ['DIGEST_INVALID']],
      [`${REPOSITORY}/blobs/md5:d41d8cd98f00b204e9800998ecf8427e`, 400, ['DIGEST_INVALID']],
      [`${REPOSITORY}/manifests/.INVALID_MANIFEST_NAME`, 404, ['MANIFEST_UNKNOWN']],
      ['library/Upper/manifests/1', 400, ['NAME_INVALID']],
      ['library/none/manifests/1', 404, ['NAME_UNKNOWN', 'MANIFEST_UNKNOWN']],
      [`library/none/blobs/${DIGEST}`, 404, ['NAME_UNKNOWN', 'BLOB_UNKNOWN']],
    ] as const) {
      const response = await endpoint.get(`/v2/${path}`)
      assert.equal(response.status, status, path)
      assert.match(response.headers.get('content-type') ?? '', /^application\/json\b/)
      assert.ok((codes as readonly string[]).includes((await errorCodeOf(response)) ?? ''), path)
    }
  })

  it('are refused by 405 and UNSUPPORTED if they would change something', async () => {
    const body = Buffer.from('{}')
    for (const [method, path] of [
      ['PUT', 'manifests/1'],
      ['PUT', `manifests/${DIGEST}`],
      ['DELETE', 'manifests/1'],
      ['DELETE', `blobs/${DIGEST}`],
      ['PATCH', `blobs/${DIGEST}`],
      ['POST', 'tags/list'],
    ] as const) {
      const response = await endpoint.ask(path, { method, ...(method === 'DELETE' ? {} : { body }) })
      assert.equal(response.status, 405, `${method} ${path}`)
      assert.equal(response.headers.get('allow'), 'GET, HEAD')
      assert.equal(await errorCodeOf(response), 'UNSUPPORTED')
    }
    // The endpoints of pushes do not exist.
    for (const path of [
      'blobs/uploads/',
      `blobs/uploads/?digest=${DIGEST}`,
      `blobs/uploads/?mount=${DIGEST}&from=a/b`,
    ]) {
      const response = await endpoint.ask(path, { method: 'POST', body })
      assert.ok([404, 405].includes(response.status), `${path}: ${response.status}`)
      await errorCodeOf(response)
    }
  })
})
