import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../../src/oci/digest.ts'
import type { RegistryClient } from '../../../src/upstream/registry/registry-client.ts'
import { readProxies } from '../../../src/upstream/registry/proxies.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { OddServer, type RegistryClientOptions, RegistryClients } from '../../support/registry-clients.ts'
import { makeTestCertificate } from '../../support/test-certificate.ts'

const signal = new AbortController().signal
const app = { registry: 'docker.io', name: 'library/app' }
const bytes = Buffer.from('{"schemaVersion":2}')
const digest = digestOf(bytes)

describe('a kept connection', () => {
  const clients = new RegistryClients()
  let server: OddServer
  /** What happens to each request but the first on its connection; true if it is answered all the same. */
  let again: (socket: Socket) => boolean
  let ended = 0
  /** How many requests were the first on their connection. */
  let first = 0

  const isUsed = new WeakSet<Socket>()
  const answer: OddServer['answer'] = (request: IncomingMessage, response) => {
    const { socket } = request
    if (isUsed.has(socket)) {
      if (!again(socket)) {
        ended += 1
        return
      }
    } else first += 1
    isUsed.add(socket)
    response.writeHead(200, { 'content-type': 'a/b', 'content-length': bytes.length, 'docker-content-digest': digest })
    response.end(request.method === 'HEAD' ? undefined : bytes)
  }

  beforeEach(async () => {
    ;[ended, first] = [0, 0]
    server = await OddServer.start(answer)
  })
  afterEach(async () => {
    await clients.close()
    await server[Symbol.asyncDispose]()
  })

  const get = async (client: RegistryClient) =>
    Buffer.from((await client.getManifest(app, digest, { signal }))?.bytes ?? [])
  /** The first GET leaves a connection behind. */
  const connected = async (options: RegistryClientOptions = {}) => {
    const { client } = await clients.create({ endpoints: [server.url], ...options })
    assert.deepEqual(await get(client), bytes)
    // The client takes a connection for idle some turns later.
    await pause(20)
    return client
  }

  for (const [how, end] of [
    ['is closed', (socket: Socket) => void socket.end()],
    ['is reset', (socket: Socket) => void socket.resetAndDestroy()],
  ] as const) {
    it(`that ${how} without a byte of an answer is replaced by a new one, once`, async () => {
      again = (socket) => {
        end(socket)
        return false
      }
      const client = await connected()
      assert.deepEqual(await get(client), bytes)
      assert.deepEqual([first, ended], [2, 1])
      // What a new connection was opened for does not leave it behind.
      assert.equal((await client.headManifest(app, '1', { signal }))?.descriptor.digest, digest)
      assert.deepEqual([first, ended], [3, 1])
    })
  }

  it('to a token server, to which an identity token goes by POST, is replaced as well', async () => {
    await using auth = await OddServer.start((request, response) => {
      if (isUsed.has(request.socket)) {
        ended += 1
        return void request.socket.destroy()
      }
      isUsed.add(request.socket)
      response.end('{"access_token":"of-ann"}')
    })
    server.answer = (request, response) => {
      if (request.headers.authorization === 'Bearer of-ann') return answer(request, response)
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${auth.url}/token"` }).end()
    }
    again = () => true
    const client = await connected({ credential: { username: '', identityToken: 'of a login' } })
    const other = await client.headManifest({ ...app, name: 'library/other' }, '1', { signal })
    assert.equal(other?.descriptor.digest, digest)
    assert.equal(ended, 1)
    assert.deepEqual(auth.seen, Array<string>(3).fill('POST /token -'))
  })

  it('to a proxy, or with TLS, is replaced as well', async (context) => {
    again = (socket) => {
      socket.destroy()
      return false
    }
    // The server answers as a proxy: the path is a URL then.
    const proxied = { endpoints: ['http://registry.test'], proxyFor: readProxies({ HTTP_PROXY: server.url }) }
    assert.deepEqual(await get(await connected(proxied)), bytes)
    assert.deepEqual([first, ended], [2, 1])

    await using certificate = await makeTestCertificate(['IP:127.0.0.1'])
    if (certificate === undefined) return context.skip('no openssl')
    const secure = createServer(certificate.tls, answer)
    await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = secure.address() as AddressInfo
      const authorities = new Map([['docker.io', certificate.certFile]])
      assert.deepEqual(await get(await connected({ endpoints: [`https://127.0.0.1:${port}`], authorities })), bytes)
      assert.deepEqual([first, ended], [4, 2])
    } finally {
      secure.closeAllConnections()
      secure.close()
    }
  })

  it('that ends after a byte of an answer is a failure', async () => {
    again = (socket) => {
      socket.end('HTTP/1.1 200')
      return false
    }
    const client = await connected()
    await assert.rejects(get(client), isUpstreamError('unreachable'))
    assert.deepEqual([first, ended], [1, 1])
  })

  it('is not the reason where a new one ends as well', async () => {
    again = (socket) => {
      server.answer = (request) => request.socket.destroy()
      socket.destroy()
      return false
    }
    const client = await connected()
    await assert.rejects(get(client), isUpstreamError('unreachable'))
    // The first, the second on its connection, and the second on a new one.
    assert.equal(server.seen.length, 3)
    await assert.rejects(get(client), isUpstreamError('unreachable'))
    assert.equal(server.seen.length, 4)
  })
})
