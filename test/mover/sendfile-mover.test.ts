import assert from 'node:assert/strict'
import { once } from 'node:events'
import { truncateSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import {
  Agent,
  createServer,
  get,
  type IncomingMessage,
  type RequestOptions,
  type Server,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import * as fc from 'fast-check'

import { Bandwidth } from '../../src/mover/bandwidth.ts'
import { loadSendfile, type Sendfile } from '../../src/mover/sendfile.ts'
import { type FileMover, sendfileMover } from '../../src/mover/sendfile-mover.ts'
import type { ByteSpan } from '../../src/oci/range.ts'
import { FileBlob, openFile } from '../../src/store/file-blob.ts'
import { noise } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'

const calls = await loadSendfile().catch((error: Error) => error)
const skip = calls instanceof Error ? calls.message : false

/** Counts what went by sendfile, and may be told what the calls answer instead. */
class Watched implements Sendfile {
  sent = 0
  asked = 0
  warm: ((position: number) => boolean) | undefined
  most = Infinity

  send(socket: number, file: number, position: number, count: number): number {
    assert.ok(!(calls instanceof Error))
    this.asked += 1
    const sent = calls.send(socket, file, position, Math.min(count, this.most))
    this.sent += Math.max(0, sent)
    return sent
  }

  isWarm(file: number, position: number): boolean {
    assert.ok(!(calls instanceof Error))
    return this.warm?.(position) ?? calls.isWarm(file, position)
  }
}

describe('sending a file by sendfile', { skip }, () => {
  const size = 3 * 1024 * 1024 + 12_345
  const bytes = noise('sendfile', size)
  let directory: string
  let path: string
  let server: Server | undefined

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-sendfile-'))
    path = join(directory, 'blob')
    await writeFile(path, bytes)
  })
  after(() => rm(directory, { recursive: true, force: true }))
  afterEach(() => {
    server?.closeAllConnections()
    server?.close()
    server = undefined
  })

  async function openBlob(name = path): Promise<FileBlob> {
    const opened = (await openFile(name)) ?? assert.fail('it is there')
    return new FileBlob(opened.handle, opened.size)
  }

  /** Answers `/START-END` with these bytes of the file; what a transfer threw is in `failures`. */
  async function serve(
    mover: FileMover,
    options: {
      file?: () => Promise<FileBlob>
      bandwidth?: Bandwidth
      before?: (response: ServerResponse) => void
    } = {},
  ) {
    const failures: Error[] = []
    const state = { failures, done: 0, url: '', port: 0 }
    const answer = async (request: IncomingMessage, response: ServerResponse) => {
      const [start = 0, end = 0] = (request.url ?? '').slice(1).split('-').map(Number)
      const gone = new AbortController()
      response.once('close', () => gone.abort(new Error('the client has gone')))
      response.on('error', () => {})
      const file = await (options.file ?? openBlob)()
      const share = options.bandwidth?.share(gone.signal)
      try {
        options.before?.(response)
        if (!response.headersSent) response.writeHead(200, { 'content-length': end - start }).flushHeaders()
        await mover(file, { start, end }, response, share)
        response.end()
      } catch (error) {
        failures.push(error as Error)
        response.destroy()
      } finally {
        share?.close()
        await file.close()
        state.done += 1
      }
    }
    const created = createServer((request, response) => void answer(request, response))
    server = created
    created.listen(0, '127.0.0.1')
    await once(created, 'listening')
    state.port = (created.address() as AddressInfo).port
    state.url = `http://127.0.0.1:${state.port}`
    return state
  }

  function ask(url: string, options: RequestOptions = {}): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => get(url, options, resolve).once('error', reject))
  }

  async function take(url: string, options: RequestOptions = {}): Promise<Buffer> {
    const chunks: Buffer[] = []
    for await (const chunk of (await ask(url, options)) as AsyncIterable<Buffer>) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  const part = ({ start, end }: ByteSpan) => bytes.subarray(start, end)

  it('gives exactly the bytes of any span, with any mixture of what the system answers, on kept connections', async () => {
    const watched = new Watched()
    const { url, failures } = await serve(sendfileMover(watched))
    const agent = new Agent({ keepAlive: true, maxSockets: 2 })
    const spans = fc
      .tuple(fc.nat(size - 1), fc.nat(size))
      .map(([start, length]) => ({ start, end: Math.min(size, start + length) }))
    const answers = fc.record({ most: fc.constantFrom(1000, 65_536, 300_000, Infinity), cold: fc.nat(4) })
    try {
      await fc.assert(
        fc.asyncProperty(spans, answers, async (span, { most, cold }) => {
          // `most` at a time, as of a socket that fills up; every so often a disk must be waited for.
          const least = span.end - span.start > 100_000 ? 65_536 : 0
          watched.most = Math.max(most, least)
          watched.warm = cold === 0 ? undefined : (position) => position % (cold + 1) !== 0
          assert.ok((await take(`${url}/${span.start}-${span.end}`, { agent })).equals(part(span)))
        }),
        { numRuns: 60 },
      )
    } finally {
      agent.destroy()
    }
    assert.deepEqual(failures, [])
    assert.ok(watched.sent > 0)
  })

  it('lets most bytes go past this process', async () => {
    const watched = new Watched()
    const { url } = await serve(sendfileMover(watched))
    for (let i = 0; i < 5; i += 1) assert.ok((await take(`${url}/0-${size}`)).equals(bytes))
    assert.ok(watched.sent > 0)
  })

  it('counts the bytes that the stream does not see', async () => {
    const watched = new Watched()
    const direct = { count: 0 }
    const mover: FileMover = (file, span, target, share) => sendfileMover(watched)(file, span, target, share, direct)
    const { url } = await serve(mover)
    assert.ok((await take(`${url}/0-${size}`)).equals(bytes))
    assert.equal(direct.count, watched.sent)
    assert.ok(direct.count > 0)
  })

  it('waits for a client that takes nothing, and for many at once', async () => {
    const { url, failures, done } = await serve(sendfileMover(new Watched()))
    assert.equal(done, 0)
    const slow = await Promise.all(Array.from({ length: 24 }, (_, i) => ask(`${url}/${i}-${size}`, { agent: false })))
    // While they hold still, others are served.
    assert.ok((await take(`${url}/1-${size}`)).equals(bytes.subarray(1)))
    const all = await Promise.all(
      slow.map(async (response) => {
        const chunks: Buffer[] = []
        for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
        return Buffer.concat(chunks)
      }),
    )
    for (const [i, taken] of all.entries()) assert.ok(taken.equals(bytes.subarray(i)))
    assert.deepEqual(failures, [])
  })

  it('ends when the client goes, wherever it is, and harms nobody else', async () => {
    const state = await serve(sendfileMover(new Watched()))
    const leaving = Array.from({ length: 20 }, async (_, i) => {
      const response = await ask(`${state.url}/0-${size}`, { agent: false })
      response.on('error', () => {})
      let taken = 0
      for await (const chunk of response as AsyncIterable<Buffer>) {
        taken += chunk.length
        if (taken > i * 50_000) break
      }
      response.destroy()
    })
    const staying = Array.from({ length: 8 }, () => take(`${state.url}/0-${size}`, { agent: false }))
    for (const taken of await Promise.all(staying)) assert.ok(taken.equals(bytes))
    await Promise.all(leaving)
    await eventually('all transfers have ended', () => state.done === 28)
  })

  it('says that the file ended early', async () => {
    const short = join(directory, 'short')
    await writeFile(short, bytes)
    const watched = new Watched()
    watched.warm = (position) => {
      if (position > size / 2) truncateSync(short, 1000)
      return true
    }
    const state = await serve(sendfileMover(watched), { file: () => openBlob(short) })
    await assert.rejects(take(`${state.url}/0-${size}`, { agent: false }))
    await eventually('it has ended', () => state.done === 1)
    assert.match(state.failures[0]?.message ?? '', /the file ended at byte/)
  })

  it('sends nothing of a file that was closed meanwhile', async () => {
    const watched = new Watched()
    let opened: FileBlob | undefined
    watched.warm = (position) => {
      if (position > size / 2) void opened?.close()
      return true
    }
    const state = await serve(sendfileMover(watched), { file: async () => (opened = await openBlob()) })
    await assert.rejects(take(`${state.url}/0-${size}`, { agent: false }))
    await eventually('it has ended', () => state.done === 1)
    assert.equal(state.failures.length, 1)
  })

  it('keeps to its share of the bandwidth', async () => {
    const watched = new Watched()
    const granted: number[] = []
    const clock = {
      now: () => performance.now(),
      after: (ms: number, call: () => void) => {
        const timer = setTimeout(call, ms)
        return () => clearTimeout(timer)
      },
    }
    const bandwidth = new Bandwidth(64 * 1024 * 1024, clock)
    const { url } = await serve(
      (file, span, target, share) => {
        const counted = share && {
          take: async (wanted: number) => {
            const count = await share.take(wanted)
            granted.push(count)
            return count
          },
          close: () => share.close(),
        }
        return sendfileMover(watched)(file, span, target, counted)
      },
      { bandwidth },
    )
    const taken = await Promise.all([take(`${url}/0-${size}`), take(`${url}/5-${size}`)])
    assert.ok(taken[0]?.equals(bytes) && taken[1]?.equals(bytes.subarray(5)))
    assert.equal(
      granted.reduce((sum, count) => sum + count, 0),
      2 * size - 5,
    )
    assert.ok(watched.sent > 0)
  })

  it('does not touch what is encrypted, chunked, in the queue behind another answer, or no answer at all', async () => {
    const watched = new Watched()
    const mover = sendfileMover(watched)
    const file = await openBlob()
    const through = new Transform({ transform: (chunk: Buffer, _, done) => done(null, Buffer.from(chunk)) })
    const moved = mover(file, { start: 0, end: size }, through).then(() => through.end())
    const chunks: Buffer[] = []
    for await (const chunk of through as AsyncIterable<Buffer>) chunks.push(chunk)
    await moved
    await file.close()
    assert.ok(Buffer.concat(chunks).equals(bytes))
    const chunked = await serve(mover, { before: (response) => response.writeHead(200).flushHeaders() })
    assert.ok((await take(`${chunked.url}/0-${size}`)).equals(bytes))
    server?.close()
    const encrypted = await serve(mover, {
      before: (response) => Object.defineProperty(response.socket, 'encrypted', { value: true }),
    })
    assert.ok((await take(`${encrypted.url}/0-${size}`)).equals(bytes))
    assert.equal(watched.asked, 0)
  })

  it('answers pipelined requests in order', async () => {
    const { port } = await serve(sendfileMover(new Watched()))
    const spans = [
      { start: 0, end: 1_000_000 },
      { start: 5, end: 6 },
      { start: 700_000, end: size },
    ]
    const socket = connect(port, '127.0.0.1')
    const last = spans.length - 1
    for (const [i, { start, end }] of spans.entries())
      socket.write(`GET /${start}-${end} HTTP/1.1\r\nhost: x\r\n${i === last ? 'connection: close\r\n' : ''}\r\n`)
    const chunks: Buffer[] = []
    for await (const chunk of socket.pipe(new Transform({ transform: (chunk, _, done) => done(null, chunk) })))
      chunks.push(chunk as Buffer)
    let rest = Buffer.concat(chunks)
    for (const span of spans) {
      const body = rest.indexOf('\r\n\r\n') + 4
      assert.ok(rest.subarray(body, body + span.end - span.start).equals(part(span)))
      rest = rest.subarray(body + span.end - span.start)
    }
    assert.equal(rest.length, 0)
  })

  it('shows the socket’s timeout that it is not idle', async () => {
    const touched: number[] = []
    // Little at a time, for longer than a second: all of it finds an empty socket.
    const share = {
      take: async (wanted: number) => {
        await sleep(300)
        return Math.min(wanted, 1000)
      },
      close: () => {},
    }
    const mover: FileMover = (file, span, target) => sendfileMover(new Watched())(file, span, target, share)
    const { url } = await serve(mover, {
      before: (response) => {
        const { socket } = response
        assert.ok(socket)
        socket.setTimeout(60_000)
        const setTimeout = socket.setTimeout.bind(socket)
        socket.setTimeout = (ms) => {
          touched.push(ms)
          return setTimeout(ms)
        }
      },
    })
    assert.ok((await take(`${url}/0-6000`, { agent: false })).equals(bytes.subarray(0, 6000)))
    assert.ok(touched.includes(60_000))
  })
})
