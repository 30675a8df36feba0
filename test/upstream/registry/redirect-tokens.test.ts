import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../../src/oci/digest.ts'
import type { Repository } from '../../../src/oci/reference.ts'
import type { Credential } from '../../../src/upstream/registry/credential.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { OddServer, RegistryClients, readAll } from '../../support/registry-clients.ts'

const signal = new AbortController().signal
const app: Repository = { registry: 'docker.io', name: 'library/app' }
const bytes = Buffer.from('{"schemaVersion":2}')
const digest = digestOf(bytes)
const clients = new RegistryClients()
const ann = { username: 'ann', password: 'secret' }

const show: OddServer['answer'] = (request, response) => {
  response.writeHead(200, { 'content-type': 'a/b', 'content-length': bytes.length, 'docker-content-digest': digest })
  response.end(request.method === 'HEAD' ? undefined : bytes)
}

describe('a registry that sends on to another one', () => {
  let first: OddServer
  let second: OddServer
  /** The tokens that the second one takes, and what it says to all others. */
  let valid: string
  let refuse: Record<string, string>
  let tokens = 0

  beforeEach(async () => {
    ;[valid, tokens] = ['t1', 0]
    second = await OddServer.start((request, response) => {
      if (request.url?.startsWith('/token') === true) {
        tokens += 1
        response.end(JSON.stringify({ token: `t${tokens}` }))
      } else if (request.headers.authorization === `Bearer ${valid}`) show(request, response)
      else response.writeHead(401, refuse).end()
    }, '127.0.0.2')
    refuse = { 'www-authenticate': `Bearer realm="${second.url}/token",service="s"` }
    first = await OddServer.start((request, response) =>
      response.writeHead(307, { location: `${second.url}${request.url?.replace('library/', 'elsewhere/')}` }).end(),
    )
  })
  afterEach(async () => {
    await clients.close()
    await first[Symbol.asyncDispose]()
    await second[Symbol.asyncDispose]()
  })

  const create = async (credential?: Credential) =>
    (await clients.create({ endpoints: [first.url], ...(credential === undefined ? {} : { credential }) })).client

  it('is followed with a token that anybody gets there, for the name there, asked for once', async () => {
    const client = await create()
    for (const _ of [1, 2]) {
      const found = await client.headManifest(app, '1', { signal })
      assert.deepEqual([found?.descriptor.digest, found?.anonymous], [digest, true])
    }
    const blob = await client.getBlob(app, digest, { signal, start: 0 })
    assert.deepEqual(blob && (await readAll(blob.body)), bytes)
    const asked = second.seen.filter((line) => line.includes('/token'))
    assert.deepEqual(asked, ['GET /token?service=s&scope=repository%3Aelsewhere%2Fapp%3Apull -'])
    // One more than the requests: the first one was refused.
    assert.deepEqual([first.seen.length, second.seen.length - asked.length], [4, 4])
    assert.ok(first.seen.every((line) => line.endsWith(' -')))
  })

  it('gets another token there when one ends, with or without a challenge', async () => {
    const client = await create()
    assert.equal((await client.headManifest(app, '1', { signal }))?.descriptor.digest, digest)
    for (const [count, later] of [
      [2, refuse],
      [3, {}],
    ] as const) {
      ;[valid, refuse] = [`t${count}`, later]
      assert.equal((await client.headManifest(app, '1', { signal }))?.descriptor.digest, digest)
      assert.equal(tokens, count)
    }
  })

  it('never has its credentials or its tokens sent there', async () => {
    const redirect = first.answer
    for (const [challenge, credential] of [
      ['Basic realm="r"', ann],
      [`Bearer realm="${first.url}/token"`, ann],
      [`Bearer realm="${first.url}/token"`, { registryToken: 'given' }],
    ] as const) {
      first.answer = (request, response) => {
        if (request.url?.startsWith('/token') === true) response.end(JSON.stringify({ token: 'of-the-first' }))
        else if (request.headers.authorization === undefined)
          response.writeHead(401, { 'www-authenticate': challenge }).end()
        else redirect(request, response)
      }
      second.seen.length = 0
      ;[valid, tokens] = ['t1', 0]
      const found = await (await create(credential)).headManifest(app, '1', { signal })
      assert.deepEqual([found?.descriptor.digest, found?.anonymous], [digest, false])
      assert.ok(first.seen.some((line) => !line.endsWith(' -')))
      assert.ok(
        second.seen.every((line) => / (?:-|Bearer t1)$/.test(line)),
        second.seen.join('\n'),
      )
    }
  })

  it('has not refused anybody when the other one does', async () => {
    valid = 'none'
    const message = new RegExp(`sends on to ${new URL(second.url).host}, where Nabo sends no credentials`)
    for (const credential of [undefined, ann]) {
      const client = await create(credential)
      await assert.rejects(client.headManifest(app, '1', { signal }), isUpstreamError('failed', message))
    }
    const show = second.answer
    second.answer = (request, response) =>
      request.url?.startsWith('/token') === true ? response.writeHead(403).end() : show(request, response)
    await assert.rejects((await create()).headManifest(app, '1', { signal }), isUpstreamError('failed', message))
  })

  it('may send on to a storage service, whose refusals are about the link', async () => {
    for (const challenge of ['Bearer authorization_uri="https://login.example/"', 'Basic realm="r"', 'Bearer', '']) {
      refuse = { 'www-authenticate': challenge }
      second.seen.length = 0
      await assert.rejects(
        (await create()).headManifest(app, '1', { signal }),
        isUpstreamError('failed', /answered 401/),
      )
      assert.equal(second.seen.length, 2)
      assert.equal(tokens, 0)
    }
  })

  it('may send on again', async () => {
    await using third = await OddServer.start((request, response) => {
      if (request.url?.startsWith('/token') === true) response.end(JSON.stringify({ token: 'of-the-third' }))
      else if (request.headers.authorization === 'Bearer of-the-third') show(request, response)
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="${third.url}/token"` }).end()
    }, '127.0.0.3')
    const answer = second.answer
    second.answer = (request, response) => {
      if (request.headers.authorization === 'Bearer t1')
        response.writeHead(302, { location: `${third.url}${request.url}` }).end()
      else answer(request, response)
    }
    assert.equal((await (await create()).headManifest(app, '1', { signal }))?.descriptor.digest, digest)
    assert.ok(
      third.seen.every((line) => / (?:-|Bearer of-the-third)$/.test(line)),
      third.seen.join('\n'),
    )
  })
})
