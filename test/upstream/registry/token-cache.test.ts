import assert from 'node:assert/strict'
import { describe, it, mock } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'

import type { HttpClient, HttpRequest, HttpResponse } from '../../../src/upstream/registry/http-client.ts'
import { TokenCache } from '../../../src/upstream/registry/token-cache.ts'
import type { TokenRequest } from '../../../src/upstream/registry/token-request.ts'
import { UpstreamError } from '../../../src/upstream/upstream.ts'

const signal = new AbortController().signal
const asked: TokenRequest = {
  registry: 'r.example',
  realm: new URL('https://r.example/token?account=x'),
  service: 'r',
  scope: 'repository:a:pull',
  credential: undefined,
}

/** A token server that says what it is told to, when it is told to. */
class FakeRealm implements HttpClient {
  readonly requests: { url: URL; asked: HttpRequest; answer: (status: number, body: unknown) => void }[] = []
  #automatic: ((count: number) => unknown) | undefined

  answerAll(body: (count: number) => unknown): this {
    this.#automatic = body
    return this
  }

  request(url: URL, asked: HttpRequest): Promise<HttpResponse> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>()
    asked.signal.addEventListener('abort', () => reject(asked.signal.reason as Error))
    const answer = (status: number, body: unknown) => {
      async function* bytes() {
        yield Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
      }
      resolve({ status, url, header: () => undefined, body: bytes() as never })
    }
    this.requests.push({ url, asked, answer })
    if (this.#automatic !== undefined) answer(200, this.#automatic(this.requests.length))
    return promise
  }

  async close(): Promise<void> {}
}

describe('tokens', () => {
  it('are asked for with service, scope and the realm’s own parameters', async () => {
    const realm = new FakeRealm().answerAll(() => ({ token: 't' }))
    assert.equal(await new TokenCache(realm).get(asked, { signal }), 't')
    const { url, asked: sent } = realm.requests[0] ?? assert.fail()
    assert.deepEqual(Object.fromEntries(url.searchParams), { account: 'x', service: 'r', scope: 'repository:a:pull' })
    assert.deepEqual(sent.headers, {})
  })

  it('are fetched once for all who wait', async () => {
    const realm = new FakeRealm()
    const cache = new TokenCache(realm)
    const waiting = Array.from({ length: 5 }, () => cache.get(asked, { signal }))
    realm.requests[0]?.answer(200, { access_token: 'one' })
    assert.deepEqual(await Promise.all(waiting), Array(5).fill('one'))
    assert.equal(realm.requests.length, 1)
  })

  it('are one per scope, service and credential', async () => {
    const realm = new FakeRealm().answerAll((count) => ({ token: `t${count}` }))
    const cache = new TokenCache(realm)
    const ann = { username: 'ann', password: 'pw' }
    const all = [asked, { ...asked, scope: 'b' }, { ...asked, service: undefined }, { ...asked, credential: ann }]
    const tokens = []
    for (const request of [...all, ...all]) tokens.push(await cache.get(request, { signal }))
    assert.deepEqual(tokens, ['t1', 't2', 't3', 't4', 't1', 't2', 't3', 't4'])
    assert.equal(realm.requests[3]?.asked.headers['authorization'], `Basic ${Buffer.from('ann:pw').toString('base64')}`)
  })

  it('are kept until shortly before they expire; without a time, for a minute at most', async () => {
    for (const [answer, keptFor, goneAfter] of [
      [{ expires_in: 300 }, 289_000, 290_000],
      [{ expires_in: 4 }, 1_900, 2_000],
      [{}, 49_000, 50_000],
      [{ expires_in: 0 }, 49_000, 50_000],
      [{ expires_in: null }, 49_000, 50_000],
      [{ expires_in: '300' }, 49_000, 50_000],
    ] as const) {
      let now = 1000
      const realm = new FakeRealm().answerAll((count) => ({ token: `t${count}`, ...answer }))
      const cache = new TokenCache(realm, () => now)
      await cache.get(asked, { signal })
      now += keptFor
      assert.equal(await cache.get(asked, { signal }), 't1', JSON.stringify(answer))
      now += goneAfter - keptFor
      assert.equal(await cache.get(asked, { signal }), 't2', JSON.stringify(answer))
    }
  })

  it('are kept neither longer nor shorter when the wall clock is set', async () => {
    mock.timers.enable({ apis: ['Date'], now: Date.now() })
    try {
      const realm = new FakeRealm().answerAll((count) => ({ token: `t${count}`, expires_in: count === 1 ? 0.02 : 300 }))
      const cache = new TokenCache(realm)
      assert.equal(await cache.get(asked, { signal }), 't1')
      mock.timers.setTime(Date.now() - 3_600_000)
      await pause(15)
      assert.equal(await cache.get(asked, { signal }), 't2')
      mock.timers.setTime(Date.now() + 7_200_000)
      assert.equal(await cache.get(asked, { signal }), 't2')
    } finally {
      mock.timers.reset()
    }
  })

  it('are one per registry: what one may reach, another may not', async () => {
    const realm = new FakeRealm()
    const cache = new TokenCache(realm)
    const asking = [cache.get(asked, { signal }), cache.get({ ...asked, registry: 'other.example' }, { signal })]
    for (const [number, request] of realm.requests.entries()) request.answer(200, { token: `t${number}` })
    assert.deepEqual(await Promise.all(asking), ['t0', 't1'])
    assert.equal(await cache.get(asked, { signal }), 't0')
  })

  it('that were rejected are not given again', async () => {
    const realm = new FakeRealm().answerAll((count) => ({ token: `t${count}` }))
    const cache = new TokenCache(realm)
    cache.reject(await cache.get(asked, { signal }))
    assert.equal(await cache.get(asked, { signal }), 't2')
    cache.reject('t1')
    assert.equal(await cache.get(asked, { signal }), 't2')
  })

  it('that cannot be had say why', async () => {
    for (const [status, body, reason] of [
      [401, {}, 'denied'],
      [403, 'no', 'denied'],
      [429, '', 'limited'],
      [500, {}, 'failed'],
      [200, {}, 'failed'],
      [200, { token: '' }, 'failed'],
      [200, { token: 7 }, 'failed'],
      [200, 'not json', 'failed'],
      [200, 'null', 'failed'],
      [200, 'x'.repeat(70_000), 'invalid'],
    ] as const) {
      const realm = new FakeRealm()
      const cache = new TokenCache(realm)
      const waiting = [cache.get(asked, { signal }), cache.get(asked, { signal })]
      realm.requests[0]?.answer(status, body)
      for (const one of waiting) {
        await assert.rejects(one, (error) => error instanceof UpstreamError && error.reason === reason)
      }
      assert.equal(realm.requests.length, 1)
    }
  })

  it('are asked for again, once, when the first who asked has gone', async () => {
    const realm = new FakeRealm()
    const cache = new TokenCache(realm)
    const first = new AbortController()
    const leaving = cache.get(asked, { signal: first.signal })
    const staying = [cache.get(asked, { signal }), cache.get(asked, { signal })]
    first.abort(new Error('gone'))
    await assert.rejects(leaving, /gone/)
    while (realm.requests.length < 2) await Promise.resolve()
    realm.requests[1]?.answer(200, { token: 'second' })
    assert.deepEqual(await Promise.all(staying), ['second', 'second'])
    assert.equal(realm.requests.length, 2)
  })
})
