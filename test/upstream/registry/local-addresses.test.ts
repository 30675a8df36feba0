import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../../src/oci/digest.ts'
import { isLocalAddress } from '../../../src/oci/local-registry.ts'
import type { Repository } from '../../../src/oci/reference.ts'
import { AddressClient } from '../../../src/upstream/registry/address-client.ts'
import { Addresses } from '../../../src/upstream/registry/addresses.ts'
import { Authorization } from '../../../src/upstream/registry/authorization.ts'
import type { Network } from '../../../src/upstream/registry/connections.ts'
import { createHttpClient } from '../../../src/upstream/registry/http-client.ts'
import { readProxies } from '../../../src/upstream/registry/proxies.ts'
import { reachAddresses } from '../../../src/upstream/registry/reach.ts'
import { RegistryClient } from '../../../src/upstream/registry/registry-client.ts'
import { RegistrySession } from '../../../src/upstream/registry/registry-session.ts'
import { TokenCache } from '../../../src/upstream/registry/token-cache.ts'
import { UpstreamError } from '../../../src/upstream/upstream.ts'
import { startConnectProxy } from '../../support/connect-proxy.ts'
import { TokenRealms } from '../../../src/upstream/registry/token-realms.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { OddServer, readAll } from '../../support/registry-clients.ts'

const signal = new AbortController().signal
const bytes = Buffer.from('the bytes of a blob')
const digest = digestOf(bytes)
/** Loopback addresses that the fake network takes for one of the Internet, of a private network, and of this machine. */
const [PUBLIC, PRIVATE, LOCAL] = ['127.0.0.1', '127.0.0.2', '127.0.0.3']
const REGISTRY = 'registry.test'
const app: Repository = { registry: REGISTRY, name: 'app' }
const refusedAs = (host: string) =>
  isUpstreamError(
    'failed',
    new RegExp(`^${RegExp.escape(host)} is not contacted for registry\\.test: .*--upstream registry\\.test=<url>`),
  )

describe('a registry that no --upstream names', () => {
  let local: OddServer
  let remote: OddServer
  let outside: OddServer
  let location: string
  /** What each name resolves to. */
  let names: Record<string, string[]>
  let closers: (() => Promise<void>)[]
  const network: Network = {
    lookup: (hostname, options, callback) => {
      const addresses = (names[hostname] ?? ['192.0.2.1']).map((address) => ({ address, family: 4 }))
      if (options.all === true) callback(null, addresses)
      else callback(null, addresses[0]?.address ?? '', 4)
    },
    isPrivate: (address) => address !== PUBLIC,
    isLocal: (address) => address !== PUBLIC && address !== PRIVATE && isLocalAddress(address),
  }
  const blob: OddServer['answer'] = (_, response) =>
    response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
  const redirect: OddServer['answer'] = (request, response) => {
    if (request.url?.startsWith('/v2/') === true) response.writeHead(307, { location }).end()
    else blob(request, response)
  }

  beforeEach(async () => {
    closers = []
    local = await OddServer.start(blob, LOCAL)
    remote = await OddServer.start(redirect, PRIVATE)
    outside = await OddServer.start(redirect, PUBLIC)
    names = { 'local.test': [LOCAL], 'remote.test': [PRIVATE], 'outside.test': [PUBLIC] }
  })
  afterEach(async () => {
    for (const close of closers) await close()
    for (const server of [local, remote, outside]) await server[Symbol.asyncDispose]()
  })

  async function create(url: string | undefined, { isNamed = false, proxy }: { isNamed?: boolean; proxy?: URL } = {}) {
    const http = createHttpClient({
      headerTimeout: 2000,
      idleTimeout: 2000,
      network,
      isNamed: () => isNamed,
      ...(proxy === undefined ? {} : { proxyFor: readProxies({ HTTP_PROXY: proxy.href }) }),
    })
    closers.push(() => http.close())
    const authorization = new Authorization({ tokens: new TokenCache(http) })
    const client = new AddressClient({ http, authorization, findCredential: async () => undefined, observe: () => {} })
    const addresses = new Addresses(new Map(url === undefined ? [] : [[REGISTRY, [new URL(url)]]]))
    return { client: new RegistryClient(new RegistrySession(addresses, client)), addresses, http }
  }
  async function pull(url: string, options: { isNamed?: boolean; proxy?: URL } = {}) {
    const { client } = await create(url, options)
    const found = await client.getBlob(app, digest, { signal, start: 0 })
    return found && readAll(found.body)
  }

  it('is not contacted at an address of this machine or its link, whatever it is called', async () => {
    for (const host of [
      ...[LOCAL, 'local.test', 'localhost', 'registry.localhost', '127.3', '0.0.0.0', '169.254.169.254'],
      ...['[::1]', '[::]', '[fe80::1]', '[::ffff:7f00:3]', '2130706435', '0x7f.3'],
    ]) {
      const url = `http://${host}:${local.port}`
      await assert.rejects(pull(url), refusedAs(new URL(url).host), host)
    }
    assert.deepEqual(local.seen, [])
  })

  it('is refused in the same way under its own name', async () => {
    const { client } = await create(undefined)
    for (const registry of [`${LOCAL}:${local.port}`, `localhost:${local.port}`, `local.test:${local.port}`]) {
      const asking = client.headManifest({ registry, name: 'app' }, '1', { signal })
      await assert.rejects(asking, isUpstreamError('failed', new RegExp(`--upstream ${RegExp.escape(registry)}=<url>`)))
    }
    assert.deepEqual(local.seen, [])
  })

  it('gets the same error for an open port as for a closed one', async () => {
    const open = await OddServer.start(blob, LOCAL)
    const errorOf = (url: string) =>
      pull(url).then(
        () => assert.fail(),
        (error: unknown) => {
          assert.ok(error instanceof UpstreamError && error.cause instanceof Error)
          const { message, reason, status, retryAfter, cause } = error
          return { message, reason, status, retryAfter, cause: [cause.name, cause.message] }
        },
      )
    const urls = [open.url, `http://local.test:${open.port}`]
    const whenOpen = await Promise.all(urls.map(errorOf))
    await open[Symbol.asyncDispose]()
    assert.deepEqual(await Promise.all(urls.map(errorOf)), whenOpen)
    assert.deepEqual(open.seen, [])
  })

  it('is contacted in a private network, and sent on within it, but not to this machine', async () => {
    location = `http://remote.test:${remote.port}/blob`
    assert.deepEqual(await pull(remote.url), bytes)
    assert.deepEqual(await pull(`http://remote.test:${remote.port}`), bytes)
    for (const host of [LOCAL, 'local.test', 'localhost', '169.254.169.254']) {
      location = `http://${host}:${local.port}/blob`
      await assert.rejects(pull(remote.url), refusedAs(`${host}:${local.port}`), host)
    }
    assert.deepEqual(local.seen, [])
  })

  it('is judged by the address that is connected to, not by one that was resolved before', async () => {
    names['turning.test'] = [PRIVATE]
    const { client } = await create(`http://turning.test:${remote.port}`)
    const get = () => client.getBlob(app, digest, { signal, start: 0 })
    remote.answer = (_, response) =>
      response.writeHead(200, { 'content-length': bytes.length, connection: 'close' }).end(bytes)
    assert.deepEqual(await readAll((await get())?.body ?? assert.fail()), bytes)
    names['turning.test'] = [LOCAL]
    await assert.rejects(get(), refusedAs(`turning.test:${remote.port}`))
  })

  it('is asked at those of its addresses that are not local', async () => {
    names['both.test'] = [LOCAL, PRIVATE]
    await using twin = await OddServer.start(blob, LOCAL, remote.port)
    remote.answer = blob
    assert.deepEqual(await pull(`http://both.test:${remote.port}`), bytes)
    assert.deepEqual(twin.seen, [])
  })

  it('cannot name a token realm on this machine', async () => {
    for (const host of [LOCAL, 'local.test']) {
      remote.answer = (_, response) =>
        response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${host}:${local.port}/token"` }).end()
      await assert.rejects(pull(remote.url), refusedAs(`${host}:${local.port}`))
    }
    assert.deepEqual(local.seen, [])
  })

  it('of the Internet is kept out of all private networks, as any other', async () => {
    for (const target of [local, remote]) {
      location = `${target.url}/blob`
      await assert.rejects(pull(outside.url), isUpstreamError('failed', /a public registry sent to .* private address/))
      assert.deepEqual(target.seen, [])
    }
    location = `${outside.url}/blob`
    assert.deepEqual(await pull(outside.url), bytes)
  })

  it('is not ill because its address was refused', async () => {
    const { client, addresses } = await create(local.url)
    for (let count = 0; count < 10; count += 1)
      await assert.rejects(client.headBlob(app, digest, { signal }), refusedAs(new URL(local.url).host))
    assert.equal(addresses.views()[0]?.state, 'closed')
  })

  it('does not use a connection that was opened for a registry that is named', async () => {
    const url = `http://local.test:${local.port}`
    const isNamed = (registry: string) => registry === 'named.test'
    const http = createHttpClient({
      ...{ headerTimeout: 2000, idleTimeout: 2000, network },
      isNamed,
    })
    closers.push(() => http.close())
    const get = (registry: string) => http.request(new URL(url), { registry, method: 'HEAD', headers: {}, signal })
    await (await get('named.test')).body.dump()
    await assert.rejects(get(REGISTRY), refusedAs(new URL(url).host))
    assert.equal(local.seen.length, 1)
  })

  it('is refused by its literal address alone through a proxy, which resolves the names', async () => {
    await using proxy = await startConnectProxy()
    outside.answer = blob
    assert.deepEqual(await pull(`http://local.test:${outside.port}`, { proxy: proxy.url }), bytes)
    for (const host of ['169.254.169.254', 'localhost', LOCAL, '[fe80::1]']) {
      const url = `http://${host}:${local.port}`
      await assert.rejects(pull(url, { proxy: proxy.url }), refusedAs(new URL(url).host), host)
    }
    assert.equal(proxy.seen.length, 1)
  })

  it('says why when its addresses are looked at', async () => {
    const { http, addresses } = await create(local.url)
    const [looked] = await reachAddresses(http, addresses.of(REGISTRY), { signal, realms: new TokenRealms([]) })
    assert.match(looked?.failure ?? '', /is not contacted for registry\.test/)
  })

  it('becomes one that may be anywhere once it is named', async () => {
    location = `http://local.test:${local.port}/blob`
    local.answer = redirect
    assert.deepEqual(await pull(local.url, { isNamed: true }), bytes)
    assert.deepEqual(await pull(remote.url, { isNamed: true }), bytes)
    assert.deepEqual(await pull(`http://local.test:${local.port}`, { isNamed: true }), bytes)
  })
})
