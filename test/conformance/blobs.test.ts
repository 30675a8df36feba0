// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-blobs
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { readMultipart } from '../support/multipart.ts'
import { eventually } from '../support/poll.ts'
import { type PullEndpoint, REPOSITORY, errorCodeOf, startPullEndpoint } from '../support/pull-endpoint.ts'

describe('pulling blobs', () => {
  let endpoint: PullEndpoint
  let image: Image

  before(async () => {
    endpoint = await startPullEndpoint()
    image = makeImage({ layers: [{ size: 100_000, seed: 'blobs' }] })
    await endpoint.hub.publish(REPOSITORY, '1', image)
  })
  after(() => endpoint[Symbol.asyncDispose]())

  /** Runs a check before and after the blobs are in the store. */
  const coldAndWarm = async (check: () => Promise<void>) => {
    await check()
    for (const { descriptor } of image.blobs) await (await endpoint.ask(`blobs/${descriptor.digest}`)).bytes()
    await eventually('the blobs are in the store', async () => (await endpoint.status()).blobs >= image.blobs.length)
    await check()
  }

  it('gives ranges, 416 past the end, and all to HEAD', async () => {
    const { bytes, descriptor } = image.layers[0] ?? assert.fail()
    const size = bytes.length
    await coldAndWarm(async () => {
      for (const [range, start, end] of [
        ['bytes=5-9', 5, 10],
        ['bytes=99-', 99, size],
        ['bytes=-7', size - 7, size],
        [`bytes=0-${size}`, 0, size],
      ] as const) {
        const response = await endpoint.ask(`blobs/${descriptor.digest}`, { headers: { range } })
        assert.equal(response.status, 206, range)
        assert.equal(response.headers.get('content-range'), `bytes ${start}-${end - 1}/${size}`)
        assert.equal(response.headers.get('content-length'), String(end - start))
        assert.deepEqual(Buffer.from(await response.bytes()), Buffer.from(bytes.subarray(start, end)))
      }
      const several = await endpoint.ask(`blobs/${descriptor.digest}`, { headers: { range: 'bytes=0-1,70000-70009' } })
      assert.equal(several.status, 206)
      const parts = readMultipart(several.headers.get('content-type'), await several.bytes())
      assert.deepEqual(
        parts.map(({ range }) => range),
        [`bytes 0-1/${size}`, `bytes 70000-70009/${size}`],
      )
      const past = await endpoint.ask(`blobs/${descriptor.digest}`, { headers: { range: `bytes=${size}-` } })
      assert.equal(past.status, 416)
      assert.equal(past.headers.get('content-range'), `bytes */${size}`)
      await past.bytes()
      const head = await endpoint.ask(`blobs/${descriptor.digest}`, { method: 'HEAD', headers: { range: 'bytes=0-1' } })
      assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(size)])
    })
  })

  it('gives configs and layers by GET and HEAD', async () => {
    for (const { bytes, descriptor } of image.blobs)
      for (const method of ['HEAD', 'GET']) {
        const response = await endpoint.ask(`blobs/${descriptor.digest}`, { method })
        assert.equal(response.status, 200)
        assert.equal(response.headers.get('docker-content-digest'), descriptor.digest)
        assert.equal(response.headers.get('content-length'), String(bytes.length))
        assert.deepEqual(Buffer.from(await response.bytes()), Buffer.from(method === 'GET' ? bytes : []))
      }
  })

  it('answers 404 with BLOB_UNKNOWN for what does not exist', async () => {
    const path = `blobs/${digestOf(Buffer.from('none'))}`
    assert.equal((await endpoint.ask(path, { method: 'HEAD' })).status, 404)
    for (const headers of [{}, { range: 'bytes=0-1' }, { range: 'bytes=0-1,3-4' }]) {
      const response = await endpoint.ask(path, { headers })
      assert.equal(response.status, 404)
      assert.equal(await errorCodeOf(response), 'BLOB_UNKNOWN')
    }
  })
})
