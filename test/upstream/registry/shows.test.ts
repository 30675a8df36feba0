import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../../src/oci/digest.ts'
import type { Repository } from '../../../src/oci/reference.ts'
import type { UpstreamQuestion } from '../../../src/upstream/upstream.ts'
import { createHub } from '../../support/hub/create-hub.ts'
import type { Hub } from '../../support/hub/hub.ts'
import { type Image, makeImage } from '../../support/image-maker.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { OddServer, type RegistryClientOptions, RegistryClients } from '../../support/registry-clients.ts'

const signal = new AbortController().signal
const app: Repository = { registry: 'docker.io', name: 'library/app' }
const hidden: Repository = { registry: 'docker.io', name: 'org/hidden' }
const ann = { username: 'ann', password: 'secret' }
const digest = digestOf(Buffer.from('what is asked for'))
const other = digestOf(Buffer.from('something else'))
const clients = new RegistryClients()
const BY_TAG: UpstreamQuestion = { kind: 'manifests', reference: '1' }
const BY_DIGEST: UpstreamQuestion = { kind: 'manifests', reference: digest }
const BLOB: UpstreamQuestion = { kind: 'blobs', reference: digest }

describe('what Docker Hub shows', () => {
  let hub: Hub
  let image: Image

  before(async () => {
    image = makeImage({ layers: [{ size: 1000, seed: 'shows' }] })
    hub = await createHub({
      users: [{ name: 'ann', password: 'secret', mayPull: ['org/hidden'] }],
      privateRepositories: ['org/hidden'],
    })
    await hub.publish('app', '1', image)
    await hub.publish('org/hidden', '1', image)
  })
  after(() => hub.close())
  beforeEach(() => hub.reset())
  afterEach(() => clients.close())

  const clientOf = async (options: RegistryClientOptions = {}) =>
    (await clients.create({ endpoints: [hub.registryUrl], ...options })).client

  it('is a manifest by tag or digest, or a blob, for one HEAD that costs nothing', async () => {
    const client = await clientOf()
    const manifest = image.manifest.descriptor.digest
    const layer = image.layers[0]?.descriptor.digest ?? assert.fail()
    for (const [kind, reference, named] of [
      ['manifests', '1', manifest],
      ['manifests', manifest, manifest],
      ['blobs', layer, layer],
    ] as const) {
      const shown = await client.shows(app, { kind, reference }, { signal })
      assert.deepEqual(shown, { anonymous: true, digest: named })
    }
    const { manifestGets, manifestHeads } = await hub.counters()
    assert.deepEqual({ manifestGets, manifestHeads }, { manifestGets: 0, manifestHeads: 2 })
    const asked = (await hub.requests()).filter(({ origin }) => origin !== 'auth')
    assert.deepEqual(new Set(asked.map(({ method }) => method)), new Set(['HEAD']))
  })

  it('depends on who asks', async () => {
    const [poor, rich] = [await clientOf(), await clientOf({ credential: ann })]
    const question = { kind: 'manifests', reference: image.manifest.descriptor.digest } as const
    assert.equal((await rich.shows(hidden, question, { signal }))?.anonymous, false)
    assert.equal((await poor.shows(hidden, question, { signal, as: ann }))?.anonymous, false)
    await assert.rejects(poor.shows(hidden, question, { signal }), isUpstreamError('denied'))
    await assert.rejects(rich.shows(hidden, question, { signal, as: 'anonymous' }), isUpstreamError('denied'))
  })

  it('is not what does not exist', async () => {
    const client = await clientOf()
    for (const kind of ['manifests', 'blobs'] as const) {
      assert.equal(await client.shows(app, { kind, reference: other }, { signal }), undefined)
    }
    assert.equal(await client.shows(app, { kind: 'manifests', reference: 'none' }, { signal }), undefined)
  })

  it('is not known when the registry fails', async () => {
    for (const [fault, reason] of [
      [{ registry: { down: true } }, 'unreachable'],
      [{ registry: { status: 500 } }, 'failed'],
      [{ registry: {}, limited: 'abuse' }, 'limited'],
    ] as const) {
      await hub.setFaults(fault)
      const client = await clientOf({ timeout: 300 })
      await assert.rejects(client.shows(app, BY_TAG, { signal }), isUpstreamError(reason), JSON.stringify(fault))
    }
  })
})

describe('what a registry shows', () => {
  let server: OddServer
  beforeEach(async () => {
    server = await OddServer.start()
  })
  afterEach(async () => {
    await clients.close()
    await server[Symbol.asyncDispose]()
  })

  async function shows(question: UpstreamQuestion, headers: Record<string, string>) {
    server.seen.length = 0
    server.answer = (_, response) => response.writeHead(200, headers).end()
    const { client } = await clients.create({ endpoints: [server.url] })
    try {
      return await client.shows(app, question, { signal })
    } finally {
      assert.deepEqual(server.seen, [`HEAD /v2/library/app/${question.kind}/${question.reference} -`])
    }
  }

  it('needs no length, digest or type', async () => {
    assert.deepEqual(await shows(BY_TAG, {}), { anonymous: true })
    for (const question of [BY_DIGEST, BLOB]) assert.deepEqual(await shows(question, {}), { anonymous: true, digest })
    assert.deepEqual(await shows(BY_TAG, { 'docker-content-digest': 'no digest' }), { anonymous: true })
    assert.deepEqual(await shows(BY_TAG, { 'docker-content-digest': other }), { anonymous: true, digest: other })
    assert.deepEqual(await shows(BLOB, { 'docker-content-digest': digest, 'content-type': 'text/plain' }), {
      anonymous: true,
      digest,
    })
  })

  it('is not a page', async () => {
    for (const [question, type] of [
      [BY_TAG, 'text/html; charset=utf-8'],
      [BY_DIGEST, 'TEXT/HTML'],
      [BY_DIGEST, 'text/plain'],
      [BLOB, 'text/html'],
      [BLOB, 'Text/HTML;charset=utf-8'],
    ] as const) {
      const asking = shows(question, { 'content-type': type, 'docker-content-digest': digest })
      await assert.rejects(asking, isUpstreamError('invalid', /a page of type text\/\w+/i), type)
    }
  })

  it('is not something else than was asked for', async () => {
    for (const question of [BY_DIGEST, BLOB]) {
      const asking = shows(question, { 'docker-content-digest': other })
      await assert.rejects(asking, isUpstreamError('invalid', /is not sha256:/))
    }
  })

  it('can be asked for with the media types of a client', async () => {
    let accept: string | undefined
    server.answer = (request, response) => {
      ;({ accept } = request.headers)
      response.end()
    }
    const { client } = await clients.create({ endpoints: [server.url] })
    await client.shows(app, BY_TAG, { signal, accept: ['a/b', 'c/d'] })
    assert.equal(accept, 'a/b, c/d')
  })
})

describe('a blob', () => {
  let server: OddServer
  beforeEach(async () => {
    server = await OddServer.start((request, response) => {
      if (request.url?.includes('hidden') === true && request.headers.authorization === undefined)
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
      else response.writeHead(200, { 'content-length': 3 }).end('abc')
    })
  })
  afterEach(async () => {
    await clients.close()
    await server[Symbol.asyncDispose]()
  })

  it('says whether it was had without credentials', async () => {
    const { client } = await clients.create({ endpoints: [server.url], credential: ann })
    for (const [repository, anonymous] of [
      [app, true],
      [hidden, false],
    ] as const) {
      const blob = await client.getBlob(repository, digest, { signal, start: 0 })
      blob?.cancel()
      assert.equal(blob?.anonymous, anonymous)
    }
  })
})
