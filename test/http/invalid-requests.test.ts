import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, type Socket, connect } from 'node:net'
import { describe, it } from 'node:test'

import { OpenRequests } from '../../src/http/open-requests.ts'
import { refuseInvalidRequests } from '../../src/http/invalid-requests.ts'

describe('a client that sends no request in time', () => {
  /** What the server says when it has waited for too long. */
  async function answerTo(sent: string): Promise<string> {
    await using server = createServer(() => assert.fail('it is no request'))
    refuseInvalidRequests(server, new OpenRequests())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    let text = ''
    client.on('data', (chunk) => (text += chunk.toString()))
    const closed = once(client, 'close')
    const [socket] = await accepted
    if (sent !== '') {
      client.write(sent)
      while (socket.bytesRead === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    server.emit('clientError', Object.assign(new Error('timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket)
    await closed
    return text
  }

  it('is never told 408, which containerd would repeat at once', async () => {
    assert.match(await answerTo('GET /v2/ HTTP/1.1\r\n'), /^HTTP\/1\.1 400 .*the request did not come in time/s)
  })

  it('is told nothing if it only keeps a connection ready', async () => {
    assert.equal(await answerTo(''), '')
  })
})

describe('a client whose head is too long', () => {
  async function answerTo(method: string): Promise<string> {
    await using server = createServer({ maxHeaderSize: 1024 }, () => assert.fail('it is no request'))
    refuseInvalidRequests(server, new OpenRequests())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    let text = ''
    client.on('data', (chunk) => (text += chunk.toString()))
    client.write(`${method} /v2/ HTTP/1.1\r\nX: ${'a'.repeat(2000)}\r\n\r\n`)
    await once(client, 'close')
    return text
  }

  it('is told so, and without a body if it asked with HEAD', async () => {
    assert.match(await answerTo('GET'), /^HTTP\/1\.1 431 .*\r\n\r\n\{.*too long/s)
    assert.match(await answerTo('HEAD'), /^HTTP\/1\.1 431 .*\r\n\r\n$/s)
  })
})
