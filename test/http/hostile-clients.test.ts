import assert from 'node:assert/strict'
import { readdir, readlink, writeFile, mkdtemp, rm } from 'node:fs/promises'
import { METHODS } from 'node:http'
import { type Socket, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import * as fc from 'fast-check'

import { digestOf } from '../../src/oci/digest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'

const D = `sha256:${'0'.repeat(64)}`

interface RawAnswer {
  readonly status: number
  readonly headers: string
  readonly body: string
}

/** Opens a connection to a listener. */
async function dial(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  return socket
}

/** Sends bytes as they are and reads until the listener closes. */
async function raw(url: string, request: string | Buffer): Promise<RawAnswer[]> {
  const socket = await dial(url)
  const chunks: Buffer[] = []
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  const timer = setTimeout(() => socket.destroy(), 15_000)
  socket.write(request)
  await closed
  clearTimeout(timer)
  return parseAnswers(Buffer.concat(chunks).toString('latin1'))
}

function parseAnswers(text: string): RawAnswer[] {
  const answers: RawAnswer[] = []
  for (let rest = text; rest !== '';) {
    const end = rest.indexOf('\r\n\r\n')
    const headers = rest.slice(0, end)
    const match = /^HTTP\/1\.1 (\d{3})/.exec(headers)
    assert.ok(end > 0 && match !== null, `not HTTP: ${JSON.stringify(rest.slice(0, 200))}`)
    const length = Number(/^content-length: (\d+)$/im.exec(headers)?.[1] ?? 0)
    answers.push({ status: Number(match[1]), headers, body: rest.slice(end + 4, end + 4 + length) })
    rest = rest.slice(end + 4 + length)
  }
  return answers
}

/** An error as clients expect it, that says nothing about this machine. */
function assertOciError(answer: RawAnswer | undefined, what: string): void {
  assert.ok(answer !== undefined, what)
  assert.ok(answer.status >= 400 && answer.status < 500 && answer.status !== 429, `${what}: ${answer.status}`)
  assert.match(answer.headers, /content-type: application\/json/i, what)
  const { errors } = JSON.parse(answer.body) as { errors: { code: string; message: string }[] }
  assert.match(errors[0]?.code ?? '', /^[A-Z_]+$/, what)
  assert.ok((errors[0]?.message ?? '').length > 0)
  assert.doesNotMatch(answer.body, /node_modules|\.ts\b|\s+at .*:\d+|\/(?:work|home|root|tmp|usr|var|src)\//, what)
}

const get = (path: string, ...headers: string[]) =>
  [`GET ${path} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...headers].join('\r\n') + '\r\n\r\n'

describe('a mirror listener among hostile clients', () => {
  let hub: Hub
  let image: Image
  let nabo: TestDaemon
  let blobPath: string

  before(async () => {
    image = makeImage({
      layers: [
        { size: 30_000_000, seed: 'hostile' },
        { size: 1000, seed: 'small' },
      ],
    })
    hub = await createHub({ tokens: false })
    await hub.publish('app', '1', image)
    nabo = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`])
    blobPath = `/v2/library/app/blobs/${image.layers[0]?.descriptor.digest}`
  })
  after(async () => {
    await nabo.stop()
    await hub.close()
  })

  const isAlive = async () => assert.equal((await fetch(`${nabo.mirror}/v2/`)).status, 200)
  const ask = async (request: string | Buffer) => (await raw(nabo.mirror, request))[0]

  it('only lets them read', async () => {
    for (const method of METHODS.filter((method) => method !== 'GET' && method !== 'HEAD')) {
      const answer = await ask(`${method} /v2/app/manifests/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
      assertOciError(answer, method)
      assert.equal(answer?.status, 405, method)
    }
    assertOciError(
      await ask('POST /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc'),
      'body',
    )
    await isAlive()
  })

  it('answers what is no HTTP with an error', async () => {
    for (const [text, status] of [
      ['hello\r\n\r\n', 400],
      ['GET\r\n\r\n', 400],
      ['BREW / HTTP/1.1\r\n\r\n', 400],
      ['GET / HTTP/9.9\r\n\r\n', 400],
      ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
      ['\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc', 400],
      ['GET /v2/ HTTP/1.1\r\nno colon here\r\n\r\n', 400],
      ['GET /v2/ HTTP/1.1\r\nX: a\u0000b\r\n\r\n', 400],
      ['GET /v2/x HTTP/1.1\r\nContent-Length: -1\r\n\r\n', 400],
      ['GET /v2/x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
      [`GET /v2/${'a'.repeat(100_000)} HTTP/1.1\r\n\r\n`, 431],
      [`GET /v2/ HTTP/1.1\r\nX: ${'a'.repeat(100_000)}\r\n\r\n`, 431],
      [`GET /v2/ HTTP/1.1\r\n${'X: y\r\n'.repeat(20_000)}\r\n`, 431],
      ['CONNECT registry:443 HTTP/1.1\r\nHost: localhost\r\n\r\n', 405],
    ] as const) {
      const what = JSON.stringify(text.slice(0, 60))
      const answer = await ask(Buffer.from(text, 'latin1'))
      assertOciError(answer, what)
      assert.equal(answer?.status, status, what)
    }
    await isAlive()
  })

  it('answers what is unusual but right', async () => {
    assert.equal((await ask('GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n'))?.status, 200)
    assert.equal((await ask('GET /v2/ HTTP/1.0\r\n\r\n'))?.status, 200)
    assert.equal((await ask(get('/v2/', 'Expect: a miracle')))?.status, 200)
    assert.equal((await ask(get('/v2/', 'Upgrade: websocket', 'Connection: upgrade, close')))?.status, 200)
  })

  it('refuses any path that means nothing', async () => {
    for (const path of [
      '/',
      '*',
      '/etc/passwd',
      '/v2/_catalog',
      '/v2/%',
      '/v2/%ff/manifests/1',
      '/v2/%00/manifests/1',
      '/v2/..%2f..%2fetc/manifests/passwd',
      '/v2/%252e%252e/manifests/1',
      '/../../v2/../etc/passwd',
      '//v2//app//manifests//1',
      'http://evil/v2/app/manifests/1',
      '/v2/app/blobs/uploads/',
      `/v2/App/blobs/${D}`,
      `/v2/app/blobs/${D}/..`,
      '/v2/app/manifests/1?ns=evil%0d%0aX-Y:%20z',
      '/v2/app/manifests/1?ns[]=x&ns=',
      `/v2/${'a/'.repeat(3000)}manifests/1`,
      '/v2/app/manifests/1#fragment',
    ]) {
      assertOciError(await ask(get(path)), path)
    }
    await isAlive()
  })

  it('answers any printable path with an error of 4xx', async () => {
    await hub.setFaults({ registry: { status: 404 } })
    const piece = fc.oneof(
      fc.constantFrom(
        'v2',
        'library',
        'app',
        'manifests',
        'blobs',
        'tags',
        'list',
        'referrers',
        '1',
        D,
        '..',
        '%2e',
        '%00',
      ),
      fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 12 }),
    )
    const path = fc.tuple(fc.constantFrom('/', '/v2/', '/v2/app/'), fc.array(piece, { maxLength: 5 }))
    await fc.assert(
      fc.asyncProperty(path, async ([start, pieces]) => {
        const text = start + pieces.join('/')
        fc.pre(!/^\/v2\/?(?:\?.*)?$/.test(text))
        assertOciError(await ask(get(text)), text)
      }),
      { numRuns: 200 },
    )
    await hub.reset()
    await isAlive()
  })

  it('takes nonsense in Range, Accept and other headers as if it were not there', async () => {
    const small = image.layers[1] ?? assert.fail()
    const path = `/v2/library/app/blobs/${small.descriptor.digest}`
    for (const header of [
      'Range: bytes=9-1',
      'Range: pages=1-2',
      `Range: ${'9'.repeat(1000)}`,
      'Range: bytes=abc-',
      'If-None-Match: *',
      `Accept: ${',;=/'.repeat(1000)}`,
      'Accept-Encoding: gzip',
      'Authorization: Bearer nonsense',
    ]) {
      const answer = await ask(get(path, header))
      assert.equal(answer?.status, 200, header)
      assert.equal(answer.body.length, small.bytes.length, header)
    }
    for (const header of [`Range: bytes=${'9'.repeat(300)}-`, 'Range: bytes=-0']) {
      const answer = await ask(get(path, header))
      assertOciError(answer, header)
      assert.equal(answer?.status, 416)
    }
  })

  it('answers pipelined requests in their order', async () => {
    const first = `GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n`
    const answers = await raw(nabo.mirror, first + first + get('/v2/nothing'))
    assert.deepEqual(
      answers.map((answer) => answer.status),
      [200, 200, 404],
    )
  })

  it('never mixes an error into a body that is on its way', async () => {
    const socket = await dial(nabo.mirror)
    const chunks: Buffer[] = []
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('data', (chunk: Buffer) => {
      if (chunks.length === 0) socket.write('this is no request\r\n\r\n')
      chunks.push(chunk)
    })
    socket.write(`GET ${blobPath} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    await closed
    const got = Buffer.concat(chunks)
    const body = got.subarray(got.indexOf('\r\n\r\n') + 4)
    assert.ok(body.equals(Buffer.from(image.layers[0]?.bytes ?? []).subarray(0, body.length)))
  })

  it('is no upstream of its own', async () => {
    assertOciError(await ask(get('/v2/library/app/manifests/1', 'User-Agent: nabo')), 'itself')
    const looped = await runDaemon(['--upstream', `docker.io=${nabo.mirror}`])
    try {
      const response = await fetch(`${looped.mirror}/v2/library/app/manifests/1`)
      assert.equal(response.status, 404)
      await response.arrayBuffer()
    } finally {
      await looped.stop()
    }
  })

  it('releases everything when clients leave in the middle of a body', async () => {
    const warm = await fetch(`${nabo.mirror}${blobPath}`)
    assert.equal(digestOf(new Uint8Array(await warm.arrayBuffer())), image.layers[0]?.descriptor.digest)
    await eventually('the blob is in the cache', async () => (await nabo.status()).blobs > 0)
    const before = await openBlobs()
    const clients = await Promise.all(Array.from({ length: 20 }, () => dial(nabo.mirror)))
    for (const [i, socket] of clients.entries()) {
      socket.write(`GET ${blobPath} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
      // Some are gone before the first byte, some after it.
      if (i % 2 === 0) socket.destroy()
      else socket.once('data', () => socket.destroy())
    }
    await eventually('all files are closed', async () => (await openBlobs()) <= before)
    await isAlive()
  })

  it('releases everything when clients leave a blob that is still coming', async () => {
    const slow = makeImage({ layers: [{ size: 1_000_000, seed: 'slow' }] })
    await hub.publish('slow', '1', slow)
    await hub.setFaults({ cdn: { bytesPerSecond: 1_000_000 } })
    const before = await openBlobs()
    const path = `/v2/library/slow/blobs/${slow.layers[0]?.descriptor.digest}`
    const clients = await Promise.all(Array.from({ length: 20 }, () => dial(nabo.mirror)))
    for (const [i, socket] of clients.entries()) {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
      if (i % 2 === 0) socket.destroy()
      else socket.once('data', () => socket.destroy())
    }
    await hub.setFaults({ cdn: {} })
    const whole = await fetch(`${nabo.mirror}${path}`)
    assert.equal(digestOf(new Uint8Array(await whole.arrayBuffer())), slow.layers[0]?.descriptor.digest)
    await eventually('all files are closed', async () => (await openBlobs()) <= before)
    await hub.reset()
  })

  it('serves others while one never reads', async () => {
    const lazy = await dial(nabo.mirror)
    lazy.pause()
    lazy.write(`GET ${blobPath} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    const others = await Promise.all(
      Array.from({ length: 3 }, async () => (await fetch(`${nabo.mirror}${blobPath}`)).arrayBuffer()),
    )
    for (const body of others) assert.equal(digestOf(new Uint8Array(body)), image.layers[0]?.descriptor.digest)
    const held = await openBlobs()
    lazy.destroy()
    await eventually('its file is closed', async () => (await openBlobs()) < held)
  })

  it('logs each request once, without a stack', async () => {
    for (const line of nabo.lines) assert.doesNotMatch(JSON.stringify(line), /\\n\s+at |node_modules/)
    assert.ok(!nabo.lines.some((line) => line['msg'] === 'a request failed unexpectedly'))
  })
})

describe('a mirror listener with a token', () => {
  it('serves only who sends it', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-token-'))
    await writeFile(join(directory, 'token'), 'a long enough token\n')
    const nabo = await runDaemon(['--mirror-token-file', join(directory, 'token'), '--fallback', 'none'])
    try {
      const statusWith = async (...headers: string[]) => (await raw(nabo.mirror, get('/v2/', ...headers)))[0]?.status
      assert.equal(await statusWith('Nabo-Token: a long enough token'), 200)
      assert.equal(await statusWith('nabo-token:a long enough token'), 200)
      for (const headers of [
        [],
        ['Nabo-Token: '],
        ['Nabo-Token: a long enough toke'],
        ['Nabo-Token: A LONG ENOUGH TOKEN'],
        ['Nabo-Token: a long enough token', 'Nabo-Token: another'],
        [`Nabo-Token: ${'x'.repeat(10_000)}`],
        ['Authorization: Bearer a long enough token'],
      ]) {
        assert.equal(await statusWith(...headers), 403, headers.join())
      }
      assert.equal((await fetch(`${nabo.admin}/livez`)).status, 200)
      assert.ok(!JSON.stringify(nabo.lines).includes('long enough'))
    } finally {
      await nabo.stop()
      await rm(directory, { recursive: true, force: true })
    }
  })
})

/** How many files of content stores this process has open. */
async function openBlobs(): Promise<number> {
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  )
  return links.filter((link) => /\/nabo-daemon-[^/]*\/.*(?:sha256|ingest|blobs)/.test(link)).length
}
