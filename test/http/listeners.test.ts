import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Server } from 'node:http'
import { type AddressInfo, type Socket, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, it } from 'node:test'

import { Listeners } from '../../src/daemon/listeners.ts'
import { type Routes, createApp } from '../../src/http/app.ts'
import type { FinishedExchange } from '../../src/http/exchange.ts'
import { OpenRequests } from '../../src/http/open-requests.ts'
import { createListener } from '../support/http-listener.ts'
import { eventually } from '../support/poll.ts'

/** A body that never ends, on a reply that Fastify has given up. */
const routes: Routes = (app) => {
  app.get('/quick', async () => 'quick')
  app.get('/slow', async ({ exchange }) => {
    await new Promise((resolve) => exchange.signal.addEventListener('abort', resolve, { once: true }))
    throw new Error('the client has gone')
  })
}

describe('any listener', () => {
  const servers: Server[] = []
  const sockets: Socket[] = []
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy()
    for (const server of servers.splice(0)) {
      server.close()
      server.closeAllConnections()
    }
  })

  async function serve() {
    const finished: FinishedExchange[] = []
    const server = await createListener(routes, { finished: (exchange) => void finished.push(exchange) })
    servers.push(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return { finished, port: (server.address() as AddressInfo).port }
  }

  async function dial(port: number, text: string) {
    const socket = connect(port, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', () => {})
    const said = { text: '' }
    socket.on('data', (chunk: Buffer) => (said.text += chunk.toString()))
    await once(socket, 'connect')
    socket.write(text)
    return { socket, said }
  }

  it('reads no body of a request that it does not serve', async () => {
    const { port } = await serve()
    for (const request of [
      'POST /x HTTP/1.1\r\nContent-Length: 1048576',
      'POST /x HTTP/1.1\r\nContent-Length: 3000000',
      'PUT /quick HTTP/1.1\r\nContent-Type: ;;;\r\nContent-Length: 10',
      'QUERY /quick HTTP/1.1\r\nContent-Length: 10',
      'POST /x HTTP/1.1\r\nTransfer-Encoding: chunked',
    ]) {
      const { socket, said } = await dial(port, `${request}\r\nHost: localhost\r\n\r\nx`)
      await eventually(`it is refused at once: ${request}`, () => said.text !== '')
      assert.match(said.text, /^HTTP\/1\.1 405 /, request)
      socket.destroy()
    }
  })

  it('notes each request once, pipelined ones of a client that goes too', async () => {
    const { port, finished } = await serve()
    const { socket } = await dial(port, 'GET /slow HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3))
    await sleep(100)
    socket.destroy()
    await eventually('all have ended', () => finished.length >= 3)
    await sleep(50)
    assert.deepEqual(
      finished.map(({ outcome }) => outcome),
      ['client-gone', 'client-gone', 'client-gone'],
    )
    await dial(port, 'GET /quick HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2))
    await eventually('these too', () => finished.length === 5)
    assert.deepEqual(
      finished.slice(3).map(({ outcome, status }) => [outcome, status]),
      [
        ['done', 200],
        ['done', 200],
      ],
    )
  })

  it('answers requests that came before it was ready, and drops those of clients that have gone', async () => {
    const open = new OpenRequests()
    const listeners = new Listeners(open)
    const finished: FinishedExchange[] = []
    const port = await listeners.open('metrics', [{ host: '127.0.0.1', port: 0 }])
    try {
      const patient = await dial(port, 'GET /quick HTTP/1.1\r\nHost: x\r\n\r\n')
      const gone = await dial(port, 'GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
      const garbage = await dial(port, 'GET /quick HTTP/1.1\r\nHost: x\r\n\r\nnot HTTP\r\n\r\n')
      await sleep(100)
      gone.socket.destroy()
      await eventually('it is cut off', () => garbage.socket.closed)
      assert.equal(garbage.said.text, '', 'an error would be taken for the answer to the request before it')
      const app = await createApp(routes, {
        open,
        log: { error: () => {} },
        finished: (one) => void finished.push(one),
      })
      listeners.serve({ mirror: app, peer: app, admin: app, metrics: app, operator: app })
      await eventually('it is answered', () => /^HTTP\/1\.1 200 .*quick/s.test(patient.said.text))
      await eventually('all are noted', () => finished.length === 3)
      assert.deepEqual(finished.map(({ outcome }) => outcome).toSorted(), ['client-gone', 'client-gone', 'done'])
    } finally {
      await listeners.close()
    }
  })
})
