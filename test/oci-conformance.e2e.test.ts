import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { z } from 'zod'

import { digestOf } from '../src/oci/digest.ts'
import { conformanceTests } from './support/go-conformance.ts'
import { createHub } from './support/hub/create-hub.ts'
import type { Hub } from './support/hub/hub.ts'
import { type Content, type Image, makeImage } from './support/image-maker.ts'
import { NaboProcess } from './support/nabo-process.ts'
import { execute } from './support/netns/commands.ts'

const REPOSITORY = 'library/conformance'
const TAG = 'tagtest0'

const published = await conformanceTests()

describe('the pull half of the distribution specification', () => {
  let hub: Hub
  let nabo: NaboProcess
  let url: string
  let directory: string
  let image: Image

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-conformance-'))
    hub = await createHub()
    image = makeImage({ layers: [{ size: 100_000, seed: 'conformance' }] })
    await hub.publish(REPOSITORY, TAG, image)
    const listeners = ['--mirror-addr', '--peer-addr', '--router-addr', '--admin-addr'].flatMap((flag) => [
      flag,
      '127.0.0.1:0',
    ])
    const store = ['--store', 'directory', '--cache-dir', join(directory, 'cache')]
    const network = ['--advertise-addr', '127.0.0.1', '--upstream', `docker.io=${hub.registryUrl}`]
    nabo = new NaboProcess({ flags: [...listeners, ...store, ...network], cwd: directory, fetch: localFetch })
    await nabo.ready()
    url = `http://${(await nabo.listening()).mirror[0]}`
  })
  after(async () => {
    await nabo?.stop()
    await hub?.close()
    await rm(directory, { recursive: true, force: true })
  })

  it('passes the published conformance tests', { skip: 'skip' in published ? published.skip : false }, async () => {
    assert.ok('binary' in published)
    const env = {
      ...process.env,
      OCI_ROOT_URL: url,
      OCI_NAMESPACE: REPOSITORY,
      OCI_TEST_PULL: '1',
      OCI_TAG_NAME: TAG,
      OCI_MANIFEST_DIGEST: image.manifest.descriptor.digest,
      OCI_BLOB_DIGEST: image.config.descriptor.digest,
      OCI_HIDE_SKIPPED_WORKFLOWS: '1',
      OCI_REPORT_DIR: directory,
    }
    const { code, stdout } = await execute('env', ['-C', directory, published.binary], { env })
    assert.equal(code, 0, stdout)
  })

  it('has the endpoint that says so', async () => {
    assert.equal((await fetch(`${url}/v2/`)).status, 200)
  })

  for (const reference of ['digest', 'tag'] as const) {
    it(`gives a manifest by ${reference}`, async () => {
      await gives('manifests', image.manifest, reference === 'tag' ? TAG : image.manifest.descriptor.digest)
    })
  }

  it('gives a config and a layer', async () => {
    for (const blob of image.blobs) await gives('blobs', blob, blob.descriptor.digest)
  })

  it('answers 404 for what does not exist', async () => {
    const nothing = digestOf(Buffer.from('hello world'))
    const paths = [`blobs/${nothing}`, `manifests/${nothing}`, 'manifests/none', 'manifests/.INVALID_MANIFEST_NAME']
    for (const path of paths) {
      for (const method of ['HEAD', 'GET']) {
        assert.equal((await ask(path, { method })).status, 404, `${method} ${path}`)
      }
    }
  })

  it('answers 400 or 404 for a wrong digest, in the words of the specification', async () => {
    for (const method of ['GET', 'PUT']) {
      const response = await ask('manifests/sha256:totallywrong', {
        method,
        body: method === 'PUT' ? 'nonsense' : null,
      })
      assert.ok([400, 404].includes(response.status), `${method}: ${response.status}`)
      const { errors } = errorsSchema.parse(await response.json())
      assert.ok(['DIGEST_INVALID', 'MANIFEST_UNKNOWN', 'UNSUPPORTED'].includes(errors[0]?.code ?? ''))
    }
  })

  it('gives ranges of a blob', async () => {
    const { bytes, descriptor } = image.layers[0] ?? assert.fail()
    const ranges = {
      'bytes=5-9': [5, 10],
      'bytes=99-': [99, bytes.length],
      'bytes=-7': [bytes.length - 7, bytes.length],
    } as const
    for (const [range, [start, end]] of Object.entries(ranges)) {
      const response = await ask(`blobs/${descriptor.digest}`, { headers: { range } })
      assert.equal(response.status, 206, range)
      assert.equal(response.headers.get('content-range'), `bytes ${start}-${end - 1}/${bytes.length}`)
      assert.deepEqual(Buffer.from(await response.bytes()), bytes.subarray(start, end))
    }
    const past = await ask(`blobs/${descriptor.digest}`, { headers: { range: `bytes=${bytes.length}-` } })
    assert.equal(past.status, 416)
    await past.body?.cancel()
  })

  it('lists tags and referrers', async () => {
    assert.deepEqual(await (await ask('tags/list')).json(), { name: REPOSITORY, tags: [TAG] })
    const referrers = await ask(`referrers/${image.manifest.descriptor.digest}`)
    assert.partialDeepStrictEqual(await referrers.json(), { schemaVersion: 2, manifests: [] })
  })

  async function gives(kind: 'manifests' | 'blobs', { descriptor, bytes }: Content, reference: string): Promise<void> {
    for (const method of ['HEAD', 'GET']) {
      const response = await ask(`${kind}/${reference}`, { method, headers: { accept: descriptor.mediaType } })
      assert.equal(response.status, 200, method)
      assert.equal(response.headers.get('docker-content-digest'), descriptor.digest)
      assert.equal(response.headers.get('content-length'), String(descriptor.size))
      if (kind === 'manifests') assert.equal(response.headers.get('content-type'), descriptor.mediaType)
      assert.deepEqual(Buffer.from(await response.bytes()), method === 'GET' ? Buffer.from(bytes) : Buffer.alloc(0))
    }
  }

  function ask(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${url}/v2/${REPOSITORY}/${path}`, init)
  }
})

const errorsSchema = z.object({ errors: z.array(z.object({ code: z.string() })) })

async function localFetch(url: string) {
  const response = await fetch(url)
  return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.bytes() }
}
