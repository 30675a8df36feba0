import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { BufferPool } from '../../../src/mover/buffer-pool.ts'
import { AnswerHeadError } from '../../../src/peers/blobs/answer-head.ts'
import { SlowAnswerError } from '../../../src/peers/blobs/peer-connection.ts'
import { PeerConnections } from '../../../src/peers/blobs/peer-connections.ts'
import { eventually } from '../../support/poll.ts'

const bytes = randomBytes(1_000_003)
const signal = new AbortController().signal

/** Answers each request on a connection with the next of `answers`: what is written, or what is done with the socket. */
type Answer = string | Buffer | readonly (string | Buffer)[] | ((socket: Socket) => void)

const headOf = (length: number, ...lines: string[]) =>
  ['HTTP/1.1 200 OK', `content-length: ${length}`, ...lines, '', ''].join('\r\n')
const whole = (body: Buffer) => Buffer.concat([Buffer.from(headOf(body.length)), body])

describe('connections to peers', () => {
  let server: Server
  let sockets: Socket[]
  let requests: string[]
  let answers: Answer[]
  let buffers: BufferPool
  let connections: PeerConnections
  let address: string

  beforeEach(async () => {
    sockets = []
    requests = []
    answers = []
    server = createServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => {})
      let text = ''
      socket.on('data', (data) => {
        text += data.toString('latin1')
        for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
          requests.push(text.slice(0, end))
          text = text.slice(end + 4)
          reply(socket, answers.shift() ?? assert.fail('nothing more was to be asked'))
        }
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    address = `127.0.0.1:${(server.address() as AddressInfo).port}`
    buffers = new BufferPool({ bufferBytes: 128 * 1024 })
    connections = new PeerConnections({ connectTimeout: 1000, idleTimeout: 10_000, buffers })
  })
  afterEach(async () => {
    connections.close()
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })

  const get = (options: { headerTimeout?: number; signal?: AbortSignal; target?: string } = {}) =>
    connections.get(
      { address, target: '/v2/x', headers: { range: 'bytes=0-' }, headerTimeout: 5000, ...options },
      { signal: options.signal ?? signal },
    )

  it('ask, and read what was answered', async () => {
    answers = [whole(bytes)]
    const { status, headers, body } = await get()
    assert.equal(status, 200)
    assert.equal(headers.get('content-length'), String(bytes.length))
    assert.deepEqual(await readAll(body), bytes)
    assert.deepEqual(requests, [`GET /v2/x HTTP/1.1\r\nhost: ${address}\r\nrange: bytes=0-`])
  })

  it('read an answer in whatever parts it comes', async () => {
    const body = bytes.subarray(0, 300_000)
    const answer = whole(body)
    const cuts = Array.from({ length: 40 }, (_, i) => (i < 20 ? i * 3 : i * 7_001))
    const parts = cuts.map((cut, i) => answer.subarray(cut, cuts[i + 1]))
    answers = [parts, parts, parts]
    for (let i = 0; i < 3; i++) assert.deepEqual(await readAll((await get()).body), body)
    assert.equal(sockets.length, 1)
  })

  it('read many sizes on one connection, with buffers that are given back at once', async () => {
    const sizes = [0, 1, 3000, 4096, 65_535, 65_536, 131_071, 131_072, 131_073, 500_000]
    answers = sizes.map((size) => whole(bytes.subarray(0, size)))
    for (const size of sizes) {
      const { body } = await get()
      const parts: Buffer[] = []
      for await (const chunk of body) {
        parts.push(Buffer.from(chunk))
        buffers.giveBack(chunk.fill(0))
      }
      assert.deepEqual(Buffer.concat(parts), bytes.subarray(0, size), `${size} bytes`)
    }
    assert.equal(sockets.length, 1)
  })

  it('keep what a reader keeps', async () => {
    answers = [whole(bytes), whole(bytes)]
    const first = await readChunks((await get()).body)
    const second = await readChunks((await get()).body)
    assert.deepEqual(Buffer.concat(first), bytes)
    assert.deepEqual(Buffer.concat(second), bytes)
  })

  it('open another one while one is in use, and take a kept one again', async () => {
    answers = [whole(bytes), whole(bytes), whole(bytes)]
    const [one, two] = [await get(), await get()]
    assert.equal(sockets.length, 2)
    await Promise.all([readAll(one.body), readAll(two.body)])
    await readAll((await get()).body)
    assert.equal(sockets.length, 2)
  })

  it('ask again on a new one when a kept one has ended meanwhile', async () => {
    for (const leave of [(socket: Socket) => socket.destroy(), (socket: Socket) => socket.resetAndDestroy()]) {
      answers = [whole(bytes), leave, whole(bytes)]
      await readAll((await get()).body)
      assert.deepEqual(await readAll((await get()).body), bytes)
      connections.close()
      connections = new PeerConnections({ connectTimeout: 1000, idleTimeout: 10_000, buffers })
    }
    assert.equal(requests.length, 6)
  })

  it('do not ask again when a new one ends, or an answer has begun', async () => {
    answers = [(socket) => socket.destroy()]
    await assert.rejects(get())
    answers = [
      whole(bytes),
      (socket) => {
        socket.write('HTTP/1.1 2', () => socket.destroy())
      },
    ]
    await readAll((await get()).body)
    await assert.rejects(get())
    assert.equal(requests.length, 3)
  })

  it('leave one that its peer does not keep', async () => {
    const text = headOf(2, 'connection: close')
    answers = [`${text}ab`, `${text}ab`]
    for (let i = 0; i < 2; i++) assert.equal(String(await readAll((await get()).body)), 'ab')
    assert.equal(sockets.length, 2)
    await eventually('both have ended', () => sockets.every(({ readableEnded, closed }) => readableEnded || closed))
  })

  it('hold a peer back that sends faster than somebody reads', async () => {
    const large = Buffer.alloc(64 * 1024 * 1024)
    let flushed = false
    answers = [
      (socket) => {
        socket.write(headOf(large.length))
        socket.write(large, () => (flushed = true))
      },
    ]
    const { body } = await get()
    const { value } = await body.next()
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal(flushed, false)
    let length = value?.length ?? 0
    for await (const chunk of body) length += chunk.length
    assert.equal(length, large.length)
  })

  it('give what came before an answer broke off, and then the error', async () => {
    answers = [
      (socket) => {
        socket.write(headOf(1000))
        socket.write(bytes.subarray(0, 500), () => socket.destroy())
      },
    ]
    const { body } = await get()
    let length = 0
    await assert.rejects(async () => {
      for await (const chunk of body) length += chunk.length
    })
    assert.equal(length, 500)
    await assert.rejects(body.next())
  })

  it('refuse an answer that is none, is longer than it says, or has no end', async () => {
    const endless = ['HTTP/1.1 200 OK\r\n', ...Array.from({ length: 50 }, (_, i) => `x-${i}: ${'y'.repeat(1000)}\r\n`)]
    for (const answer of ['SSH-2.0-OpenSSH_9.2\r\n\r\n', `${headOf(2)}abc`, endless]) {
      answers = [answer]
      await assert.rejects(get(), AnswerHeadError)
    }
    await eventually('all have ended', () => sockets.every(({ closed }) => closed))
  })

  it('show an answer of unknown length, whose body cannot be read', async () => {
    answers = ['HTTP/1.1 404 Not Found\r\nnabo-absent: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n']
    const { status, headers, body } = await get()
    assert.equal(status, 404)
    assert.equal(headers.get('nabo-absent'), '1')
    await assert.rejects(readAll(body))
    await eventually('it has ended', () => sockets[0]?.closed)
  })

  it('do not take what nobody asked for', async () => {
    answers = [`${headOf(2)}ab`, `${headOf(2)}cd`]
    await readAll((await get()).body)
    sockets[0]?.write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx')
    await eventually('it has ended', () => sockets[0]?.closed)
    assert.equal(String(await readAll((await get()).body)), 'cd')
  })

  it('wait no longer than they are told, before an answer and inside it', async () => {
    answers = [() => {}]
    await assert.rejects(get({ headerTimeout: 50 }), SlowAnswerError)
    connections.close()
    connections = new PeerConnections({ connectTimeout: 1000, idleTimeout: 50, buffers })
    answers = [`${headOf(3)}ab`]
    const { body } = await get()
    await assert.rejects(readAll(body), /nothing came for 50 ms/)
    await eventually('all have ended', () => sockets.every(({ closed }) => closed))
  })

  it('end with their caller, before an answer and inside it', async () => {
    const early = new AbortController()
    answers = [() => early.abort(new Error('gone'))]
    await assert.rejects(get({ signal: early.signal }), /gone/)
    const late = new AbortController()
    answers = [`${headOf(3)}ab`]
    const { body } = await get({ signal: late.signal })
    late.abort(new Error('gone'))
    await assert.rejects(readAll(body), /gone/)
    await eventually('all have ended', () => sockets.every(({ closed }) => closed))
    await assert.rejects(get({ signal: late.signal }), /gone/)
  })

  it('take a connection again whose answer was read to the end before its caller ended', async () => {
    const controller = new AbortController()
    answers = [whole(bytes), whole(bytes)]
    await readAll((await get({ signal: controller.signal })).body)
    controller.abort(new Error('gone'))
    assert.deepEqual(await readAll((await get()).body), bytes)
    assert.equal(sockets.length, 1)
  })

  it('end a transfer that is not wanted any more', async () => {
    answers = [`${headOf(3)}ab`, `${headOf(3)}ab`]
    const first = await get()
    first.body.destroy()
    first.body.destroy()
    await assert.rejects(first.body.next())
    for await (const _ of (await get()).body) break
    await eventually('both have ended', () => sockets.length === 2 && sockets.every(({ closed }) => closed))
  })

  it('do not pass for read what was destroyed when all of it had come', async () => {
    answers = [(socket) => socket.write(whole(bytes.subarray(0, 1000)))]
    const { body } = await get()
    await eventually('all has come', () => body.missing === 0)
    body.destroy()
    await assert.rejects(body.next(), /not wanted/)
  })

  it('hold a peer back that sends byte by byte', async () => {
    const parts = Array.from({ length: 3000 }, () => 'x')
    answers = [[headOf(parts.length), ...parts]]
    const { body } = await get()
    let length = 0
    for await (const chunk of body) length += chunk.length
    assert.equal(length, parts.length)
  })

  it('write no request that would be two', async () => {
    await assert.rejects(get({ target: '/x HTTP/1.1\r\nhost: y\r\n\r\nGET /z' }))
    await assert.rejects(
      connections.get({ address, target: '/', headers: { a: 'b\r\nc: d' }, headerTimeout: 1000 }, { signal }),
    )
    assert.equal(sockets.length, 0)
  })

  it('reject at once when they were closed, and end what was under way', async () => {
    answers = [() => {}, `${headOf(3)}ab`]
    const waiting = assert.rejects(get())
    await eventually('it was asked', () => requests.length === 1)
    const { body } = await get()
    connections.close()
    await waiting
    await assert.rejects(readAll(body))
    await assert.rejects(get(), /closed/)
  })
})

function reply(socket: Socket, answer: Answer): void {
  if (typeof answer === 'function') return answer(socket)
  const parts = typeof answer === 'string' || Buffer.isBuffer(answer) ? [answer] : answer
  // Each part in a packet of its own.
  socket.setNoDelay()
  const [first, ...others] = parts
  if (first === undefined) return
  socket.write(first, () => setImmediate(reply, socket, others))
}

async function readChunks(body: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  return await Array.fromAsync(body)
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await readChunks(body))
}
