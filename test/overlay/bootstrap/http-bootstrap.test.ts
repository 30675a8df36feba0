import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { afterEach, describe, it } from 'node:test'

import * as fc from 'fast-check'

import { HttpBootstrap, parseAddressList } from '../../../src/overlay/bootstrap/http-bootstrap.ts'

describe('http bootstrap', () => {
  let server: Server | undefined
  afterEach(async () => {
    server?.closeAllConnections()
    await new Promise((resolve) => server?.close(resolve) ?? resolve(undefined))
    server = undefined
  })

  async function source(listener: RequestListener): Promise<HttpBootstrap> {
    server = createServer(listener).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    assert.ok(address !== null && typeof address === 'object')
    return new HttpBootstrap({ url: `http://127.0.0.1:${address.port}/peers` })
  }

  const options = () => ({ signal: AbortSignal.timeout(30_000) })

  it('reads a JSON array', async () => {
    const http = await source((_request, response) => response.end('["10.0.0.1", "[fd00::2]:99", "nonsense!"]'))
    assert.deepEqual(await http.candidates(options()), [
      { type: 'host', host: '10.0.0.1', port: 7952 },
      { type: 'host', host: 'fd00::2', port: 99 },
    ])
  })

  it('reads one address a line', async () => {
    const http = await source((_request, response) => response.end('10.0.0.1:80\r\n\n/ip4/10.0.0.2/tcp/7952\n'))
    const [first, second] = await http.candidates(options())
    assert.deepEqual(first, { type: 'host', host: '10.0.0.1', port: 80 })
    assert.equal(second?.type === 'multiaddr' && second.multiaddr.toString(), '/ip4/10.0.0.2/tcp/7952')
  })

  it('says what the server answered when it refuses', async () => {
    const http = await source((_request, response) => response.writeHead(503).end())
    await assert.rejects(http.candidates(options()), /answers 503/)
  })

  it('does not read without end', async () => {
    const http = await source((_request, response) => {
      const timer = setInterval(() => response.write('10.0.0.1\n'.repeat(10_000)), 1)
      response.on('close', () => clearInterval(timer))
    })
    await assert.rejects(http.candidates(options()), /more than \d+ bytes/)
  })

  it('gives up on a server that says nothing', async () => {
    const http = await source(() => undefined)
    await assert.rejects(http.candidates(options()), { name: 'TimeoutError' })
  })

  it('takes no list for anything but addresses', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(!text.trimStart().startsWith('['))
        for (const target of parseAddressList(text)) assert.ok(target.type === 'multiaddr' || target.port > 0)
      }),
    )
    assert.throws(() => parseAddressList('[1, 2]'))
    assert.throws(() => parseAddressList('[broken'))
  })
})
