import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Socket, connect } from 'node:net'
import { afterEach, describe, it } from 'node:test'

import { Listeners } from '../../src/daemon/listeners.ts'
import { type Routes, createApp } from '../../src/http/app.ts'
import { OpenRequests } from '../../src/http/open-requests.ts'
import { type PeerListenerOptions, peerRoutes } from '../../src/http/peer-listener.ts'
import { StrangerConnections, type StrangerConnectionsOptions } from '../../src/http/stranger-connections.ts'
import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import { eventually } from '../support/poll.ts'
import { recordedLog } from '../support/recorded-log.ts'
import { TestMember } from '../support/test-member.ts'

const SHORT = { firstByte: 100, head: 200 }
/** Longer than any test. */
const LONG = { firstByte: 120_000, head: 240_000 }
const NO_BODY = new Uint8Array()

interface Client {
  readonly socket: Socket
  text: string
  isClosed: boolean
}

/** A node and a member that knows its incarnation, so that the first request is in step. */
async function meet(secrets?: readonly string[]) {
  const [self, member] = [await TestMember.create(secrets), await TestMember.create(secrets)]
  member.authentication.members.introduce(self.id, self.authentication.local.recordText, '127.0.0.1')
  return { self, member }
}

const closed = await meet()
/** Without a secret everybody can be a member: all remain strangers. */
const open = await meet([])

/** The head of a request with its proof. */
function provenHead(method: string, target: string, { self, member } = closed, body: Uint8Array = NO_BODY): string {
  const { headers = {} } = member.authentication.signer.sign(self.id, { method, target, headers: {}, body }) ?? {}
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${target} HTTP/1.1\r\nHost: x\r\n${lines.join('')}`
}

const provenGet = (target = '/v2/') => `${provenHead('GET', target)}\r\n`

describe('a peer listener among strangers', () => {
  const sockets: Socket[] = []
  let listeners: Listeners | undefined

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    await listeners?.close()
    listeners = undefined
  })

  /** A peer listener with a secret, or with other routes. */
  async function serve({
    hasSecret = true,
    ...options
  }: Partial<StrangerConnectionsOptions> & { routes?: Routes; hasSecret?: boolean } = {}) {
    const log = recordedLog()
    const strangers = new StrangerConnections({ log, ...options })
    const requests = new OpenRequests()
    listeners = new Listeners(requests, { peer: strangers })
    const port = await listeners.open('peer', [{ host: '127.0.0.1', port: 0 }])
    const routes =
      options.routes ??
      peerRoutes({
        hasSecret,
        verifier: (hasSecret ? closed : open).self.authentication.verifier,
        strangers,
      } as unknown as PeerListenerOptions)
    const app = await createApp(routes, { open: requests, log, finished: () => {} })
    listeners.serve({ mirror: app, peer: app, admin: app, metrics: app, operator: app })
    return { strangers, port, log }
  }

  async function dial(port: number, localAddress = '127.0.0.1'): Promise<Client> {
    const socket = connect({ port, host: '127.0.0.1', localAddress })
    sockets.push(socket)
    const client: Client = { socket, text: '', isClosed: false }
    socket.on('error', () => {})
    socket.on('close', () => (client.isClosed = true))
    socket.on('data', (chunk: Buffer) => (client.text += chunk.toString('latin1')))
    await once(socket, 'connect')
    return client
  }

  const dialMany = (port: number, count: number, localAddress?: string) =>
    Promise.all(Array.from({ length: count }, () => dial(port, localAddress)))
  const stillOpen = (clients: readonly { isClosed: boolean }[]) => clients.filter(({ isClosed }) => !isClosed).length

  it('answers a member while 1,500 idle connections are opened from twelve addresses', async () => {
    const { strangers, port, log } = await serve({ patience: LONG })
    const clients: Client[] = []
    for (let n = 1; n <= 12; n += 1) clients.push(...(await dialMany(port, 125, `127.0.0.${n}`)))
    await eventually('the total limit holds', () => stillOpen(clients) === 1024)
    for (const address of ['127.0.0.1', '127.0.0.77']) {
      const member = await dial(port, address)
      member.socket.write(provenGet())
      await eventually(`the member at ${address} is answered`, () => member.text.startsWith('HTTP/1.1 200 '))
    }
    assert.ok(strangers.size <= 1024)
    assert.equal(strangers.refused.full, 0)
    assert.equal(log.lines.filter((line) => line.startsWith('warn all addresses')).length, 1)
  })

  it('closes the oldest idle connection of an address that has too many', async () => {
    const { strangers, port } = await serve({ patience: LONG, limits: { perAddress: 4, total: 100 } })
    const other = await dial(port, '127.0.0.2')
    const clients: Client[] = []
    for (let n = 0; n < 10; n += 1) clients.push(await dial(port))
    await eventually('six are closed', () => stillOpen(clients) === 4)
    assert.deepEqual(clients.map(({ isClosed }) => isClosed).lastIndexOf(true), 5, 'the newest are open')
    assert.equal(other.isClosed, false)
    assert.equal(strangers.refused.address, 6)
  })

  it('closes connections that send nothing, or no whole head', async () => {
    const { strangers, port } = await serve({ patience: SHORT })
    const silent = await dialMany(port, 5)
    const slow = await dialMany(port, 5)
    for (const { socket } of slow) socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n')
    await eventually('all are closed', () => stillOpen([...silent, ...slow]) === 0)
    assert.equal(strangers.refused.silent, 10)
    assert.equal(strangers.size, 0)
  })

  it('keeps the connection of a refused request for a short time, and says so', async () => {
    const { strangers, port } = await serve({ patience: { firstByte: 1000, head: 2000 } })
    const client = await dial(port)
    client.socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')
    await eventually('it is closed', () => client.isClosed)
    assert.match(client.text, /^HTTP\/1\.1 403 .*keep-alive: timeout=1\r\n/s)
    assert.equal(strangers.refused.silent, 0, 'it has sent a request')
  })

  it('limits no connection on which a request has proved membership', async () => {
    const { strangers, port } = await serve({ patience: SHORT, limits: { perAddress: 2, total: 2 } })
    const members: Client[] = []
    for (let n = 0; n < 5; n += 1) {
      const member = await dial(port)
      member.socket.write(provenGet())
      await eventually('it is answered', () => member.text.startsWith('HTTP/1.1 200 '))
      assert.doesNotMatch(member.text, /keep-alive: timeout=0/i)
      members.push(member)
    }
    const silent = await dialMany(port, 5)
    await eventually('strangers are closed', () => stillOpen(silent) === 0)
    for (const member of members) {
      member.text = ''
      member.socket.write(provenGet())
      await eventually('the same connection is answered again', () => member.text.startsWith('HTTP/1.1 200 '))
    }
    assert.equal(strangers.size, 0)
  })

  it('cuts no answer under way, of a stranger neither, and refuses new connections while all are busy', async () => {
    const release = Promise.withResolvers<void>()
    const routes: Routes = (app) => {
      app.get('/blob', async ({ exchange }) => {
        exchange.reply.hijack()
        exchange.response.writeHead(200, { 'content-length': 10 })
        exchange.response.write('first')
        await release.promise
        exchange.response.end('-last')
      })
    }
    const { strangers, port } = await serve({ routes, patience: SHORT, limits: { perAddress: 3, total: 3 } })
    const readers = await dialMany(port, 3)
    for (const { socket } of readers) socket.write('GET /blob HTTP/1.1\r\nHost: x\r\n\r\n')
    await eventually('all are sent', () => readers.every(({ text }) => text.endsWith('first')))
    const refused = [...(await dialMany(port, 3)), ...(await dialMany(port, 3, '127.0.0.2'))]
    await eventually('the others are refused', () => stillOpen(refused) === 0)
    assert.match(strangers.whyClosedToMembers() ?? '', /the peer listener refuses connections/)
    // Several times the patience with strangers.
    for (let n = 0; n < 5; n += 1) {
      const late = await dial(port)
      await eventually('a late one is refused', () => late.isClosed)
      await new Promise((resolve) => setTimeout(resolve, SHORT.head))
    }
    release.resolve()
    await eventually('all are whole', () => readers.every(({ text }) => text.endsWith('first-last')))
    await eventually('then they are closed', () => stillOpen(readers) === 0)
  })

  it('ends a connection with too many requests open, and serves none of those beyond the limit', async () => {
    let served = 0
    const routes: Routes = (app) => {
      app.addHook('onRequest', () => {
        served += 1
        return new Promise<void>(() => {})
      })
    }
    const { port } = await serve({ patience: LONG, routes })
    const stranger = await dial(port)
    stranger.socket.write('GET / HTTP/1.1\r\n\r\n'.repeat(3_000))
    await eventually('it is closed', () => stranger.isClosed)
    assert.equal(served, 8)
  })

  it('does not let strangers that read no answer keep members out', async () => {
    let answers = 0
    const routes: Routes = (app) => {
      app.get('/*', (_request, reply) => {
        answers += 1
        return reply.send(Buffer.alloc(32 * 2 ** 20))
      })
    }
    const { port } = await serve({ patience: LONG, limits: { perAddress: 2, total: 2 }, routes })
    const stalled = await dialMany(port, 2)
    for (const { socket } of stalled) {
      socket.pause()
      socket.write('GET / HTTP/1.1\r\n\r\n')
    }
    await eventually('both are answered', () => answers === 2)
    const next = await dial(port)
    next.socket.write('GET / HTTP/1.1\r\n\r\n')
    await eventually('a newcomer is answered', () => next.text.startsWith('HTTP/1.1 200 '))
  })

  it('stops reading a refused request, whatever its length, and closes the connection', async () => {
    const { port } = await serve({ patience: LONG })
    const refused = [
      ['POST /nabo/v1/announce HTTP/1.1\r\nContent-Length: 1073741824', 403],
      ['POST /nabo/v1/announce HTTP/1.1\r\nTransfer-Encoding: chunked', 403],
      [`POST ${NODE_PROTOCOL.join.path} HTTP/1.1\r\nAuthorization: x\r\nContent-Length: 1073741824`, 403],
      ['POST /elsewhere HTTP/1.1\r\nContent-Length: 1073741824', 403],
    ] as const
    for (const [head, status] of refused) {
      const client = await dial(port)
      client.socket.write(`${head}\r\nHost: x\r\n\r\n`)
      await eventually(`it is closed: ${head}`, () => client.isClosed)
      assert.match(client.text, new RegExp(`^HTTP/1\\.1 ${status} .*connection: close\r\n`, 'is'), head)
    }
  })

  it('reads no more bytes of bodies at a time than strangers may send together', async () => {
    const { strangers, port } = await serve({ patience: LONG, maxBodyBytes: 1000, hasSecret: false })
    const post = (length: string) => `${provenHead('POST', NODE_PROTOCOL.announce.path, open)}${length}\r\n\r\n`
    const first = await dial(port)
    first.socket.write(post('Content-Length: 600'))
    for (const length of ['Content-Length: 600', 'Transfer-Encoding: chunked']) {
      const refused = await dial(port)
      refused.socket.write(post(length))
      await eventually('it is refused', () => refused.isClosed)
      assert.match(refused.text, /^HTTP\/1\.1 503 .*connection: close\r\n/is)
    }
    assert.equal(strangers.refused.bytes, 2)
    first.socket.write('x'.repeat(600))
    await eventually('the first one is answered', () => first.text.startsWith('HTTP/1.1 403 '))
    const next = await dial(port)
    next.socket.write(`${post('Content-Length: 600')}${'x'.repeat(600)}`)
    await eventually('there is room again', () => next.text.startsWith('HTTP/1.1 403 '))
  })

  it('reads no more bytes of bodies at a time than members of one address, and of all, may send', async () => {
    const { port } = await serve({ patience: LONG, memberBodies: { perAddress: 1000, total: 1500 } })
    const post = () =>
      `${provenHead('POST', NODE_PROTOCOL.announce.path)}Content-Length: 600\r\nExpect: 100-continue\r\n\r\n`
    const begin = async (address: string) => {
      const member = await dial(port, address)
      member.socket.write(post())
      await eventually('it may send its body', () => member.text.startsWith('HTTP/1.1 100 '))
      return member
    }
    const refused = async (address: string) => {
      const member = await dial(port, address)
      member.socket.write(post())
      await eventually('it is refused', () => member.isClosed)
      assert.match(member.text, /HTTP\/1\.1 503 .*nabo-proof/is)
    }
    const first = await begin('127.0.0.1')
    await refused('127.0.0.1')
    await begin('127.0.0.2')
    await refused('127.0.0.3')
    first.socket.write('x'.repeat(600))
    await eventually('the first one is answered', () => first.text.includes('HTTP/1.1 403 '))
    const next = await begin('127.0.0.1')
    next.socket.write('x'.repeat(600))
    await eventually('there is room again', () => next.text.includes('HTTP/1.1 403 '))
  })

  it('tells a client with a long body why it is refused', async () => {
    const { port } = await serve({ patience: LONG })
    const url = `http://127.0.0.1:${port}${NODE_PROTOCOL.announce.path}`
    const response = await fetch(url, { method: 'POST', body: new Uint8Array(2 ** 20) })
    assert.equal(response.status, 403)
    assert.match(await response.text(), /no proof of membership/)
  })

  it('refuses a head of more than 16 KiB', async () => {
    const { port } = await serve({ patience: LONG })
    const client = await dial(port)
    client.socket.write(`GET /v2/ HTTP/1.1\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`)
    await eventually('it is refused', () => client.text.startsWith('HTTP/1.1 431 '))
  })
})
