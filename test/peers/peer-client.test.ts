import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { errors } from 'undici'

import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import type { HttpRequests } from '../../src/http-client/http-requests.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseOciRequest } from '../../src/oci/request.ts'
import type { Peer } from '../../src/overlay/overlay.ts'
import { PeerClient } from '../../src/peers/peer-client.ts'
import { PeerError } from '../../src/peers/peer-transport.ts'

const signal = new AbortController().signal
const repository = { registry: 'ghcr.io', name: 'org/app' }
const bytes = Buffer.from('the bytes of a blob')
const digest = digestOf(bytes)

const isPeerError = (reason: string) => (error: unknown) => {
  assert.ok(error instanceof PeerError, String(error))
  assert.equal(error.reason, reason, error.message)
  return true
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

describe('a peer client', () => {
  let server: Server
  let peer: Peer
  let client: PeerClient
  let answer: (request: IncomingMessage, response: ServerResponse) => void
  let requests: IncomingMessage[]

  beforeEach(async () => {
    requests = []
    server = createServer((request, response) => {
      requests.push(request)
      answer(request, response)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    peer = { id: 'peer', address: `127.0.0.1:${(server.address() as AddressInfo).port}` }
    client = new PeerClient({ idleTimeout: 10_000 })
  })
  afterEach(async () => {
    await client.close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  const getBlob = (start = 0) => client.getBlob(peer, repository, digest, { start, signal })

  it('tells through whom a blob comes', async () => {
    answer = (_, response) => response.setHeader('nabo-path', 'root, 12D3-x,peer').end(bytes)
    const blob = await getBlob()
    assert.deepEqual(blob?.path, ['root', '12D3-x', 'peer'])
    blob?.cancel()
    answer = (_, response) => response.end(bytes)
    const complete = await getBlob()
    assert.deepEqual(complete?.path, [])
    complete?.cancel()
    for (const path of ['', 'a,,b', 'a b', 'a,'.repeat(32) + 'a', 'x'.repeat(200)]) {
      answer = (_, response) => response.setHeader('nabo-path', path).end(bytes)
      await assert.rejects(getBlob(), isPeerError('invalid'), path)
    }
  })

  it('reads why a peer shows content: public, imported, or unknown for all else', async () => {
    for (const [said, access] of [
      ['public', 'public'],
      ['imported', 'imported'],
      ['unknown', 'unknown'],
      ['personal', 'unknown'],
      [undefined, 'unknown'],
    ] as const) {
      answer = (_, response) => {
        if (said !== undefined) response.setHeader('nabo-access', said)
        response.end(bytes)
      }
      const blob = await getBlob()
      blob?.cancel()
      const manifest = await client.getManifest(peer, repository, digest, { signal })
      assert.deepEqual([blob?.access, manifest?.access], [access, access])
    }
  })

  it('waits for a header as long as it is told', async () => {
    answer = () => {}
    const options = { start: 0, headerTimeout: 50, signal }
    await assert.rejects(client.getBlob(peer, repository, digest, options), isPeerError('slow'))
  })

  it('names its content, and sends no proof without an identity', async () => {
    answer = (_, response) => response.end(bytes)
    await client.getManifest(peer, repository, digest, { signal, verified: true })
    const { url = '', headers } = requests[0] ?? assert.fail()
    assert.deepEqual(parseOciRequest(url), { type: 'manifest', repository, reference: { type: 'digest', digest } })
    assert.equal(headers.authorization, undefined)
    assert.equal(headers['nabo-verified'], undefined)
  })

  it('opens a blob, from a byte on if it is told to', async () => {
    answer = (request, response) => {
      const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
      const range = { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }
      response.writeHead(start === 0 ? 200 : 206, {
        'content-length': bytes.length - start,
        ...(start === 0 ? {} : range),
      })
      response.end(bytes.subarray(start))
    }
    for (const start of [0, 4]) {
      const blob = await getBlob(start)
      assert.equal(blob?.size, bytes.length)
      assert.deepEqual(await readAll(blob.body), bytes.subarray(start))
    }
  })

  it('opens a piece of a blob', async () => {
    const size = bytes.length
    answer = (request, response) => {
      const [, start = 0, last = 0] = (/^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []).map(Number)
      const end = Math.min(last + 1, size)
      response.writeHead(206, {
        'content-length': end - start,
        'content-range': `bytes ${start}-${end - 1}/${size}`,
      })
      response.end(bytes.subarray(start, end))
    }
    for (const [start, end] of [
      [0, 4],
      [4, 5],
      [7, size],
      [7, size + 100],
    ] as const) {
      const blob = await client.getBlob(peer, repository, digest, { start, end, signal })
      assert.equal(blob?.size, size)
      assert.deepEqual(await readAll(blob.body), bytes.subarray(start, end))
    }
    // One that takes no notice of the range, or gives another one.
    for (const range of [undefined, `bytes 0-8/${size}`, `bytes 0-2/${size}`]) {
      answer = (_, response) => {
        if (range === undefined) response.end(bytes)
        else response.writeHead(206, { 'content-range': range }).end()
      }
      await assert.rejects(
        client.getBlob(peer, repository, digest, { start: 0, end: 4, signal }),
        isPeerError('invalid'),
      )
    }
  })

  it('tells what is not there from what may not be seen', async () => {
    answer = (_, response) => response.writeHead(404, { 'nabo-absent': '1' }).end('{}')
    const tag = { ...repository, tag: '1' }
    const asks = [
      () => getBlob(),
      () => client.headBlob(peer, repository, digest, { signal }),
      () => client.getManifest(peer, repository, digest, { signal }),
      () => client.resolveTag(peer, tag, { signal }),
    ]
    for (const ask of asks) assert.equal(await ask(), undefined)
    answer = (_, response) => response.writeHead(404).end('{}')
    for (const ask of asks) await assert.rejects(ask, isPeerError('refused'))
  })

  it('does not wait for the rest of an answer that says all at its beginning', async () => {
    const closed = Promise.withResolvers<void>()
    answer = (_, response) => {
      response.on('close', closed.resolve)
      response.writeHead(404, { 'nabo-absent': '1', 'content-length': 16_000 }).write('x')
    }
    assert.equal(await getBlob(), undefined)
    await closed.promise
  })

  it('tells a peer that is busy from one that refuses', async () => {
    answer = (_, response) => response.writeHead(503, { 'nabo-busy': '1' }).end('{}')
    await assert.rejects(getBlob(), isPeerError('busy'))
    for (const status of [403, 500, 503, 307]) {
      answer = (_, response) => response.writeHead(status, { location: '/elsewhere' }).end('x'.repeat(100_000))
      await assert.rejects(getBlob(), isPeerError('refused'))
    }
  })

  it('does not take a blob whose size or range is not what was asked for', async () => {
    for (const [start, status, headers] of [
      [0, 200, {}],
      [4, 200, { 'content-length': String(bytes.length) }],
      [4, 206, {}],
      [4, 206, { 'content-range': 'bytes 0-18/19' }],
      [4, 206, { 'content-range': 'bytes 4-10/19' }],
      [4, 206, { 'content-range': 'bytes 4-18/*' }],
      [4, 206, { 'content-range': 'bytes 4-18/18' }],
      [0, 206, { 'content-range': 'bytes 4-18/19' }],
      [4, 206, { 'content-range': `bytes 4-${'9'.repeat(20)}/${'9'.repeat(21)}` }],
    ] as const) {
      answer = (_, response) => {
        response.writeHead(status, headers)
        if (!('content-length' in headers)) response.write('x')
        response.end()
      }
      await assert.rejects(getBlob(start), isPeerError('invalid'), JSON.stringify(headers))
    }
  })

  it('does not take a body that is shorter than it was said to be', async () => {
    answer = (_, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('short')
      setImmediate(() => response.destroy())
    }
    const blob = await getBlob()
    await assert.rejects(readAll(blob?.body ?? assert.fail()))
    await assert.rejects(client.getManifest(peer, repository, digest, { signal }), isPeerError('unreachable'))
  })

  it('reads no more than it has to', async () => {
    const named = { registry: 'docker.io', host: 'hub', source: 'ann' }
    const quota = { ...named, limit: 1, remaining: 1, windowSeconds: 1, asOf: Date.now() }
    answer = (_, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      }
      response.on('drain', more)
      more()
    }
    await assert.rejects(client.getManifest(peer, repository, digest, { signal }), isPeerError('invalid'))
    await assert.rejects(client.call(peer, NODE_PROTOCOL.quota, quota, { signal }), isPeerError('invalid'))
  })

  it('does not take a tag without all that belongs to it', async () => {
    const good = {
      'docker-content-digest': digest,
      'content-type': 'a/b',
      'content-length': '7',
      'nabo-as-of': '2024-01-01T00:00:00Z',
    }
    const tag = { ...repository, tag: '1' }
    answer = (_, response) => response.writeHead(200, good).end()
    assert.deepEqual(await client.resolveTag(peer, tag, { signal }), {
      descriptor: { digest, size: 7, mediaType: 'a/b' },
      asOf: Date.parse('2024-01-01'),
      access: 'unknown',
    })
    answer = (_, response) => response.writeHead(200, { ...good, 'nabo-access': 'imported' }).end()
    assert.equal((await client.resolveTag(peer, tag, { signal }))?.access, 'imported')
    for (const change of [
      { 'docker-content-digest': 'x' },
      { 'nabo-as-of': 'never' },
      { 'content-type': 'text/html' },
      { 'content-type': `a/${'b'.repeat(200)}` },
    ]) {
      answer = (_, response) => response.writeHead(200, { ...good, ...change }).end()
      await assert.rejects(client.resolveTag(peer, tag, { signal }), isPeerError('invalid'))
    }
    answer = (_, response) => response.end()
    await assert.rejects(client.resolveTag(peer, tag, { signal }), isPeerError('invalid'))
  })

  it('asks a peer that let a connection time out for nothing for a while, and one that is slow for blobs only', async () => {
    answer = (_, response) => response.end(bytes)
    const askAfter = async (failure: Error) => {
      const requests = { send: () => Promise.reject(failure) } as unknown as HttpRequests
      const failing = new PeerClient({ idleTimeout: 10_000, requests })
      const head = () => failing.headBlob(peer, repository, digest, { signal })
      await assert.rejects(head(), isPeerError('unreachable'))
      await assert.rejects(head(), /did not answer a moment ago/)
      try {
        const blob = await failing.getBlob(peer, repository, digest, { start: 0, signal })
        return await readAll(blob?.body ?? assert.fail())
      } finally {
        await failing.close()
      }
    }
    await assert.rejects(askAfter(new errors.ConnectTimeoutError()), /did not answer a moment ago/)
    assert.deepEqual(await askAfter(new errors.HeadersTimeoutError()), bytes)
    assert.equal(requests.length, 1)
  })

  it('says that a dead peer cannot be reached', async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    await assert.rejects(getBlob(), isPeerError('unreachable'))
    await assert.rejects(
      client.getBlob({ id: 'x', address: 'no address' }, repository, digest, { start: 0, signal }),
      isPeerError('unreachable'),
    )
  })

  it('says that a peer which speaks something else cannot be reached', async () => {
    const stranger = createTcpServer((socket) => {
      socket.on('error', () => {})
      socket.resume()
      socket.end('SSH-2.0-OpenSSH_9.2\r\n')
    })
    await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve))
    try {
      const address = `127.0.0.1:${(stranger.address() as AddressInfo).port}`
      await assert.rejects(
        client.headBlob({ id: 'x', address }, repository, digest, { signal }),
        isPeerError('unreachable'),
      )
    } finally {
      await new Promise((resolve) => stranger.close(resolve))
    }
  })

  it('ends when its caller does, before the answer and inside it', async () => {
    const controller = new AbortController()
    answer = () => controller.abort(new Error('gone'))
    await assert.rejects(client.getBlob(peer, repository, digest, { start: 0, signal: controller.signal }), /gone/)

    const second = new AbortController()
    const closed = Promise.withResolvers<void>()
    answer = (_, response) => {
      response.on('close', closed.resolve)
      response.writeHead(200, { 'content-length': 1000 }).write('x')
    }
    const blob = await client.getBlob(peer, repository, digest, { start: 0, signal: second.signal })
    second.abort(new Error('gone'))
    await assert.rejects(readAll(blob?.body ?? assert.fail()))
    await closed.promise
  })

  it('lets go of a transfer that is cancelled', async () => {
    const closed = Promise.withResolvers<void>()
    answer = (_, response) => {
      response.on('close', closed.resolve)
      response.writeHead(200, { 'content-length': 1000 }).write('x')
    }
    const blob = await getBlob()
    blob?.cancel()
    blob?.cancel()
    await closed.promise
  })
})
