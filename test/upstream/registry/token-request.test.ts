import assert from 'node:assert/strict'
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, afterEach, before, describe, it } from 'node:test'

import type { Credential } from '../../../src/upstream/registry/credential.ts'
import { type HttpClient, createHttpClient } from '../../../src/upstream/registry/http-client.ts'
import { TokenCache } from '../../../src/upstream/registry/token-cache.ts'
import { type TokenRequest, requestToken } from '../../../src/upstream/registry/token-request.ts'
import { UpstreamError } from '../../../src/upstream/upstream.ts'

const signal = new AbortController().signal
const refresh = { identityToken: 'refresh+&=/ token', username: '' }
const base64 = (text: string) => Buffer.from(text).toString('base64')

interface Asked {
  readonly method: string
  readonly url: string
  readonly type: string | undefined
  readonly authorization: string | undefined
  readonly body: string
}

describe('a token for an identity token', () => {
  let http: HttpClient
  let server: Server
  let asked: Asked[] = []
  let answer: (asked: Asked, res: ServerResponse) => void

  before(async () => {
    http = createHttpClient({ headerTimeout: 10_000, idleTimeout: 10_000 })
    server = createServer((req: IncomingMessage, res) => {
      const chunks: Buffer[] = []
      req.on('data', (chunk: Buffer) => chunks.push(chunk))
      req.on('end', () => {
        const { authorization, 'content-type': type } = req.headers
        const body = Buffer.concat(chunks).toString('utf8')
        const one = { method: req.method ?? '', url: req.url ?? '', type, authorization, body }
        asked.push(one)
        answer(one, res)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  after(async () => {
    await http.close()
    await new Promise((resolve) => server.close(resolve))
  })
  afterEach(() => {
    asked = []
  })

  const requestOf = (credential: TokenRequest['credential'] = refresh): TokenRequest => ({
    registry: 'r.example',
    realm: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/token`),
    service: 'r',
    scope: 'repository:a/b:pull',
    credential,
  })
  const send = (status: number, body: unknown, headers: Record<string, string> = {}) => {
    answer = (_, res) => res.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body))
  }

  it('is asked for by POST, with nothing of it in the URL or a header', async () => {
    send(200, { access_token: 't', expires_in: 100, refresh_token: 'another' })
    assert.deepEqual(await requestToken(http, requestOf(), { signal }), { value: 't', life: 100_000 })
    const [{ method, url, type, authorization, body } = assert.fail()] = asked
    assert.deepEqual({ method, url, authorization }, { method: 'POST', url: '/token', authorization: undefined })
    assert.equal(type, 'application/x-www-form-urlencoded')
    assert.deepEqual(Object.fromEntries(new URLSearchParams(body)), {
      grant_type: 'refresh_token',
      refresh_token: refresh.identityToken,
      client_id: 'nabo',
      service: 'r',
      scope: 'repository:a/b:pull',
    })
  })

  it('is asked for by GET where there is no POST', async () => {
    for (const status of [404, 405]) {
      for (const username of ['', 'ann']) {
        asked = []
        answer = ({ method }, res) =>
          res.writeHead(method === 'POST' ? status : 200).end(JSON.stringify(method === 'POST' ? {} : { token: 't' }))
        assert.equal((await requestToken(http, requestOf({ ...refresh, username }), { signal })).value, 't')
        assert.deepEqual(
          asked.map(({ method, authorization }) => [method, authorization]),
          [
            ['POST', undefined],
            ['GET', `Basic ${base64(`${username}:${refresh.identityToken}`)}`],
          ],
        )
      }
    }
  })

  it('is not sent on: a redirect of a POST is its answer', async () => {
    for (const status of [301, 307, 308]) {
      asked = []
      send(status, '', { location: '/elsewhere' })
      await assert.rejects(
        requestToken(http, requestOf(), { signal }),
        (error) => error instanceof UpstreamError && error.reason === 'failed',
      )
      assert.equal(asked.length, 1)
    }
  })

  it('that cannot be had says why, without what the realm wrote', async () => {
    for (const [status, body, reason] of [
      [400, { error: 'invalid_grant', error_description: refresh.identityToken }, 'denied'],
      [400, { error: 'invalid_request' }, 'failed'],
      [401, refresh.identityToken, 'denied'],
      [403, refresh.identityToken, 'denied'],
      [429, refresh.identityToken, 'limited'],
      [500, refresh.identityToken, 'failed'],
      [200, refresh.identityToken, 'failed'],
      [200, { access_token: 'two\nlines' }, 'failed'],
    ] as const) {
      send(status, body)
      await assert.rejects(requestToken(http, requestOf(), { signal }), (error) => {
        assert.ok(error instanceof UpstreamError)
        assert.equal(error.reason, reason, JSON.stringify(body))
        assert.ok(!`${error.stack} ${String(error.cause)}`.includes('refresh+'))
        return true
      })
    }
  })

  it('is kept for whoever has the same credential', async () => {
    answer = (_, res) => res.end(JSON.stringify({ access_token: `t${asked.length}` }))
    const cache = new TokenCache(http)
    const credentials: Exclude<Credential, { registryToken: string }>[] = [
      refresh,
      { ...refresh, identityToken: 'other' },
      { username: '', password: refresh.identityToken },
    ]
    for (const credential of [...credentials, ...credentials]) {
      await cache.get(requestOf({ ...credential }), { signal })
    }
    assert.equal(asked.length, 3)
  })
})
