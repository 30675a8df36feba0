import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, type Socket, createServer as createRawServer } from 'node:net'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'

import { digestOf } from '../../../src/oci/digest.ts'
import type { Repository } from '../../../src/oci/reference.ts'
import { UpstreamError } from '../../../src/upstream/upstream.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { OddServer, RegistryClients, readAll } from '../../support/registry-clients.ts'

const signal = new AbortController().signal
const app: Repository = { registry: 'docker.io', name: 'library/app' }
const ann = { username: 'ann', password: 'secret' }
const clients = new RegistryClients()
const bytes = Buffer.from('the bytes of a blob')
const digest = digestOf(bytes)

describe('a registry that misbehaves', () => {
  let server: OddServer

  beforeEach(async () => {
    server = await OddServer.start()
  })
  afterEach(async () => {
    await clients.close()
    await server[Symbol.asyncDispose]()
  })

  it('and sends for a token to a foreign domain gets no credentials, but an anonymous token from there', async () => {
    await using foreign = await OddServer.start(undefined, '127.0.0.2')
    foreign.answer = (_, response) => response.end(JSON.stringify({ token: 'anonymous' }))
    server.answer = (request, response) => {
      if (request.headers.authorization === 'Bearer anonymous') {
        response.writeHead(200, { 'content-type': 'a/b', 'docker-content-digest': digest, 'content-length': 5 }).end()
      } else response.writeHead(401, { 'www-authenticate': `Bearer realm="${foreign.url}/token",service="s"` }).end()
    }
    for (const credential of [ann, { username: 'ann', identityToken: 'secret' }]) {
      const { client } = await clients.create({ endpoints: [server.url], credential })
      assert.equal((await client.headManifest(app, '1', { signal }))?.anonymous, true)
      assert.equal((await client.headManifest(app, '1', { signal, as: ann }))?.anonymous, true)
    }
    // Each client asked once, and kept the token for whoever else may not show a credential there.
    assert.equal(foreign.seen.length, 2)
    assert.ok(
      foreign.seen.every((line) => /^GET .* -$/.test(line)),
      foreign.seen.join('\n'),
    )
  })

  it('and whose token realm says nonsense is left', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    for (const [status, text] of [
      [200, '<html>'],
      [200, '{"token":7}'],
      [200, '[]'],
      [200, ''],
      [418, '{}'],
    ] as const) {
      server.answer = (request, response) => {
        if (request.url?.startsWith('/token') === true) response.writeHead(status).end(text)
        else response.writeHead(401, { 'www-authenticate': `Bearer realm="${server.url}/token"` }).end('<html>')
      }
      await assert.rejects(client.headManifest(app, '1', { signal }), isUpstreamError('failed', /sent no token/), text)
    }
    // Without a place to ask for a token the registry has said nothing about the image.
    for (const [challenge, reason] of [
      ['Bearer realm="file:///etc/passwd"', 'failed'],
      ['Bearer', 'failed'],
      ['Negotiate', 'denied'],
      [undefined, 'denied'],
    ] as const) {
      server.answer = (_, response) =>
        response.writeHead(401, challenge === undefined ? {} : { 'www-authenticate': challenge }).end('no JSON')
      const { client } = await clients.create({ endpoints: [server.url] })
      await assert.rejects(client.headManifest(app, '1', { signal }), isUpstreamError(reason), challenge)
    }
  })

  it('and once named no usable place for a token is asked again by the next request', async () => {
    for (const challenge of [
      'Bearer',
      'Bearer realm="captive"',
      'Bearer realm="file:///etc/passwd"',
      `Bearer realm="${server.url}/login"`,
      'Bearer realm="http://127.0.0.1:1/token"',
    ]) {
      const { client } = await clients.create({ endpoints: [server.url] })
      server.answer = ({ url }, response) => {
        if (url === undefined || url.startsWith('/login')) response.end('<html>')
        else response.writeHead(401, { 'www-authenticate': challenge }).end()
      }
      for (let round = 0; round < 2; round += 1) {
        server.seen.length = 0
        await assert.rejects(client.headManifest(app, '1', { signal }), UpstreamError, challenge)
        assert.equal(server.seen.filter((line) => line.includes('/v2/')).length, 1, challenge)
      }
      server.answer = (_, response) =>
        response.writeHead(200, { 'content-type': 'a/b', 'docker-content-digest': digest, 'content-length': 5 }).end()
      assert.equal((await client.headManifest(app, '1', { signal }))?.anonymous, true, challenge)
    }
  })

  it('and refuses a client whose credentials Nabo keeps back has not refused that client', async () => {
    await using foreign = await OddServer.start(undefined, '127.0.0.2')
    server.answer = (_, response) =>
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${foreign.url}/token",service="s"` }).end()
    for (const tokenStatus of [200, 403]) {
      foreign.answer = (_, response) => response.writeHead(tokenStatus).end(JSON.stringify({ token: 'anonymous' }))
      const { client } = await clients.create({ endpoints: [server.url] })
      await assert.rejects(
        client.headManifest(app, '1', { signal, as: ann }),
        isUpstreamError(
          'failed',
          /the credentials were not sent, since .* which is not in its domain \(--token-realm .* allows it\); without them/,
        ),
      )
      await assert.rejects(client.headManifest(app, '1', { signal, as: 'anonymous' }), isUpstreamError('denied'))
    }
  })

  it('and sends a page where a manifest should be is not believed', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    for (const headers of [{ 'docker-content-digest': digest, 'content-length': 5 }, {}]) {
      server.answer = (_, response) =>
        response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', ...headers }).end('<html')
      await assert.rejects(
        client.headManifest(app, '1', { signal }),
        isUpstreamError('invalid', /a page of type text\/html/),
      )
      await assert.rejects(client.getManifest(app, '1', { signal }), isUpstreamError('invalid'))
    }
  })

  it('and sends a wrong manifest is not believed', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    server.answer = (_, response) => response.writeHead(200, { 'content-type': 'a/b' }).end('{}')
    await assert.rejects(client.getManifest(app, digest, { signal }), isUpstreamError('invalid', /is not sha256:/))
    server.answer = (_, response) => response.writeHead(200, { 'docker-content-digest': digest }).end('{}')
    await assert.rejects(client.getManifest(app, '1', { signal }), isUpstreamError('invalid', /is not sha256:/))
    server.answer = (_, response) => response.end(Buffer.alloc(5_000_000))
    await assert.rejects(client.getManifest(app, '1', { signal }), isUpstreamError('invalid', /more than/))
    server.answer = (_, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('{')
      setImmediate(() => response.destroy())
    }
    await assert.rejects(client.getManifest(app, '1', { signal }), isUpstreamError('unreachable', /broke off/))
  })

  it('and says little in a HEAD is asked by GET', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    const manifest = Buffer.from('{"schemaVersion":2,"layers":[]}')
    server.answer = (_, response) => response.writeHead(200, { 'content-type': 'a/b; charset=x' }).end(manifest)
    const found = await client.headManifest(app, '1', { signal })
    assert.deepEqual(found?.descriptor, { digest: digestOf(manifest), size: manifest.length, mediaType: 'a/b' })
    assert.deepEqual(
      server.seen.map((line) => line.split(' ')[0]),
      ['HEAD', 'GET'],
    )
  })

  it('and does not say how long a blob is is not asked for one', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    server.answer = (_, response) => response.writeHead(200).end()
    await assert.rejects(client.headBlob(app, digest, { signal }), isUpstreamError('unsized', /does not say the size/))
    server.answer = (request, response) => {
      if (request.method === 'GET') response.write('chunked')
      response.end()
    }
    await assert.rejects(client.getBlob(app, digest, { signal, start: 0 }), isUpstreamError('unsized'))
  })

  it('and does not say how long a blob is has the size that the manifest states, if its body ends there', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    const sized = { signal, start: 0, statedSize: bytes.length }
    const answers: OddServer['answer'][] = [
      (_, response) => {
        for (const byte of bytes) response.write(Buffer.of(byte))
        response.end()
      },
      // As HTTP/1.0: the connection's end is that of the body.
      (_, response) => {
        Object.assign(response, { useChunkedEncodingByDefault: false, shouldKeepAlive: false })
        response.write(bytes)
        response.end()
      },
    ]
    for (const answer of answers) {
      server.answer = answer
      server.seen.length = 0
      const whole = await client.getBlob(app, digest, sized)
      assert.deepEqual(await readAll(whole?.body ?? assert.fail()), bytes)
      // The whole of it comes, of which a part is asked for.
      for (const [start, end] of [
        [5, undefined],
        [5, 9],
        [0, 3],
        [5, 500],
        [bytes.length - 1, undefined],
      ] as const) {
        const part = await client.getBlob(app, digest, { ...sized, start, end })
        assert.equal(part?.size, bytes.length)
        assert.deepEqual(await readAll(part.body), bytes.subarray(start, end))
      }
      assert.ok(
        server.seen.every((line) => line.startsWith('GET ')),
        'no HEAD is needed',
      )
      const tooShort = await client.getBlob(app, digest, { ...sized, statedSize: bytes.length - 1 })
      const got: number[] = []
      await assert.rejects(
        async () => {
          for await (const chunk of tooShort?.body ?? assert.fail()) got.push(...chunk)
        },
        isUpstreamError('invalid', /more bytes than the manifest states/),
      )
      assert.ok(got.length < bytes.length - 1, 'it does not look complete')
      const tooLong = await client.getBlob(app, digest, { ...sized, statedSize: bytes.length + 1 })
      assert.equal((await readAll(tooLong?.body ?? assert.fail())).length < bytes.length + 1, true)
    }
    server.answer = (_, response) =>
      response.writeHead(206, { 'content-range': `bytes 5-${bytes.length - 1}/*` }).end(bytes.subarray(5))
    const rest = await client.getBlob(app, digest, { ...sized, start: 5 })
    assert.deepEqual(await readAll(rest?.body ?? assert.fail()), bytes.subarray(5))
    server.answer = (_, response) => response.writeHead(200).end()
    assert.equal(await client.headBlob(app, digest, sized), bytes.length)
  })

  it('and knows no Range still goes on where it should', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    server.answer = (_, response) => response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    const blob = await client.getBlob(app, digest, { signal, start: 10 })
    assert.equal(blob?.size, bytes.length)
    assert.deepEqual(await readAll(blob.body), bytes.subarray(10))
  })

  it('and sends another range than was asked for is refused', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    for (const contentRange of ['bytes 0-18/19', 'bytes 5-10/19', 'bytes 5-18/*', 'bytes */19', undefined]) {
      server.answer = (_, response) =>
        response.writeHead(206, contentRange === undefined ? {} : { 'content-range': contentRange }).end('x')
      await assert.rejects(client.getBlob(app, digest, { signal, start: 5 }), isUpstreamError('invalid'), contentRange)
    }
  })

  it('and redirects in circles, or to nowhere, is left', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    for (const [location, why] of [
      [`${server.url}/again`, /more than 5 times/],
      ['http://[', /to nowhere/],
      ['file:///etc/passwd', /redirected/],
      [undefined, /to nowhere/],
    ] as const) {
      server.answer = (_, response) => response.writeHead(307, location === undefined ? {} : { location }).end()
      await assert.rejects(client.getBlob(app, digest, { signal, start: 0 }), isUpstreamError('failed', why))
    }
  })

  it('and wants a password gets it, when there is one', async () => {
    server.answer = (request, response) => {
      if (request.headers.authorization === undefined)
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
      else response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    }
    const rich = await clients.create({ endpoints: [server.url], credential: ann })
    assert.equal((await rich.client.getBlob(app, digest, { signal, start: 0 }))?.size, bytes.length)
    const poor = await clients.create({ endpoints: [server.url] })
    await assert.rejects(poor.client.getBlob(app, digest, { signal, start: 0 }), isUpstreamError('denied'))
  })

  it('and sends a manifest of more than 4 MiB is refused before it has sent it', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    let sent = 0
    const stream: OddServer['answer'] = (_, response) => {
      const piece = Buffer.alloc(64 * 1024, ' ')
      const more = () => {
        sent += piece.length
        if (response.destroyed) return
        if (response.write(piece)) setImmediate(more)
        else response.once('drain', more)
      }
      more()
    }
    for (const headers of [{ 'content-length': 1_000_000_000 }, {}] as const) {
      sent = 0
      let closed: Promise<unknown> | undefined
      server.answer = (request, response) => {
        closed = once(response, 'close')
        response.writeHead(200, headers)
        stream(request, response)
      }
      await assert.rejects(client.getManifest(app, digest, { signal }), isUpstreamError('invalid', /more than 4393216/))
      await closed
      assert.ok(sent < 40_000_000, String(sent))
    }
  })

  it('and compresses although nobody asked is understood where it is small, and refused for blobs', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    const text = Buffer.from('{"schemaVersion":2,"manifests":[]}')
    for (const [encoding, encoded] of [
      ['gzip', gzipSync(text)],
      ['x-gzip', gzipSync(text)],
      ['deflate', deflateSync(text)],
      ['br', brotliCompressSync(text)],
      ['zstd', zstdCompressSync(text)],
      ['identity', text],
    ] as const) {
      server.answer = (request, response) => {
        assert.equal(request.headers['accept-encoding'], 'identity')
        response.writeHead(200, {
          'content-encoding': encoding,
          'content-length': encoded.length,
          'content-type': 'a/b',
        })
        response.end(request.method === 'HEAD' ? undefined : encoded)
      }
      const found = await client.getManifest(app, digestOf(text), { signal })
      assert.deepEqual(Buffer.from(found?.bytes ?? []), text, encoding)
      const head = await client.headManifest(app, digestOf(text), { signal })
      assert.equal(head?.descriptor.size, text.length, encoding)
      assert.deepEqual(Buffer.from((await client.getListing(app, 'tags/list', { signal })).body), text, encoding)
      if (encoding === 'identity') continue
      await assert.rejects(client.getBlob(app, digest, { signal, start: 0 }), isUpstreamError('invalid', /an encoding/))
    }
  })

  it('and sends a small bomb, or what is not what it says, is refused', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    for (const [encoding, encoded, why] of [
      ['gzip', gzipSync(Buffer.alloc(50_000_000)), /more than/],
      ['gzip', Buffer.from('no gzip'), /cannot be read/],
      ['gzip, br', Buffer.from('x'), /nobody asked for/],
      ['constructor', Buffer.from('x'), /nobody asked for/],
    ] as const) {
      server.answer = (_, response) => response.writeHead(200, { 'content-encoding': encoding }).end(encoded)
      await assert.rejects(client.getManifest(app, digest, { signal }), isUpstreamError('invalid', why))
    }
  })

  it('and sends a blob without its length is asked for that', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    server.answer = (request, response) => {
      if (request.method === 'HEAD') return response.writeHead(200, { 'content-length': bytes.length }).end()
      response.write(bytes.subarray(0, 5))
      return response.end(bytes.subarray(5))
    }
    const blob = await client.getBlob(app, digest, { signal, start: 0 })
    assert.equal(blob?.size, bytes.length)
    assert.deepEqual(await readAll(blob.body), bytes)
  })

  it('and sends less or more of a blob than it said gives no byte too many', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    server.answer = (_, response) => {
      response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 7))
      setImmediate(() => response.destroy())
    }
    const short = await client.getBlob(app, digest, { signal, start: 0 })
    await assert.rejects(readAll(short?.body ?? assert.fail()))
    server.answer = (_, response) => {
      // Chunked, so that nothing but the range says how much there is.
      response.writeHead(206, { 'content-range': `bytes 5-${bytes.length - 1}/${bytes.length}` })
      response.end(Buffer.concat([bytes.subarray(5), Buffer.alloc(100_000)]))
    }
    const long = await client.getBlob(app, digest, { signal, start: 5 })
    assert.deepEqual(await readAll(long?.body ?? assert.fail()), bytes.subarray(5))
    server.answer = (_, response) =>
      response.writeHead(206, { 'content-range': `bytes 5-18/${bytes.length}`, 'content-length': 3 }).end('xyz')
    await assert.rejects(client.getBlob(app, digest, { signal, start: 5 }), isUpstreamError('invalid', /another part/))
  })

  it('and has a list that is no JSON is not passed on', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    server.answer = (_, response) => response.end('<html>log in</html>')
    await assert.rejects(client.getListing(app, 'tags/list', { signal }), isUpstreamError('invalid', /not JSON/))
    server.answer = (_, response) => response.end(Buffer.alloc(9_000_000, ' '))
    await assert.rejects(client.getListing(app, 'tags/list', { signal }), isUpstreamError('invalid', /more than/))
  })

  it('and stays silent, in its headers or in a body, is left after the time for that', async () => {
    const { client } = await clients.create({ endpoints: [server.url], timeout: 100 })
    server.answer = () => {}
    await assert.rejects(client.headManifest(app, '1', { signal }), isUpstreamError('unreachable'))
    server.answer = (_, response) => void response.writeHead(200, { 'content-length': bytes.length }).write('{')
    await assert.rejects(client.getManifest(app, '1', { signal }), isUpstreamError('unreachable', /broke off/))
    const blob = await client.getBlob(app, digest, { signal, start: 0 })
    await assert.rejects(readAll(blob?.body ?? assert.fail()))
  })

  it('and lets the body of a redirect trickle is followed all the same', async () => {
    const { client } = await clients.create({ endpoints: [server.url] })
    server.answer = (request, response) => {
      if (request.url === '/there') return response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
      return response.writeHead(307, { location: '/there', 'content-length': 1000 }).write('x')
    }
    const blob = await client.getBlob(app, digest, { signal, start: 0 })
    assert.deepEqual(await readAll(blob?.body ?? assert.fail()), bytes)
  })
})

describe('a server that hardly speaks HTTP', () => {
  const text = '{"schemaVersion":2}'
  const wanted = digestOf(Buffer.from(text))

  async function ask(answer: (socket: Socket) => void) {
    const raw = createRawServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => answer(socket))
    })
    await new Promise<void>((resolve) => raw.listen(0, '127.0.0.1', resolve))
    const { client } = await clients.create({ endpoints: [`http://127.0.0.1:${(raw.address() as AddressInfo).port}`] })
    try {
      return await client.getManifest(app, wanted, { signal })
    } finally {
      await clients.close()
      raw.close()
    }
  }

  it('may speak HTTP/1.0, with a length or without', async () => {
    for (const headers of ['', `Content-Length: ${text.length}\r\n`]) {
      const found = await ask((socket) => socket.end(`HTTP/1.0 200 OK\r\n${headers}\r\n${text}`))
      assert.equal(found?.descriptor.digest, wanted)
    }
  })

  it('is left when its headers have no end', async () => {
    const asking = ask((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n')
      const line = `X-More: ${'x'.repeat(4000)}\r\n`
      const more = () => {
        if (!socket.destroyed) socket.write(line, () => setImmediate(more))
      }
      more()
    })
    await assert.rejects(asking, isUpstreamError('unreachable'))
  })

  it('is left when it says nonsense', async () => {
    for (const answer of ['nonsense\r\n\r\n', 'HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n', '']) {
      await assert.rejects(
        ask((socket) => socket.end(answer)),
        isUpstreamError('unreachable'),
      )
    }
    const contradicting = `Content-Length: 5\r\nContent-Length: ${text.length}`
    await assert.rejects(ask((socket) => socket.end(`HTTP/1.1 200 OK\r\n${contradicting}\r\n\r\n${text}`)))
  })

  it('gives nothing of one answer to the next request', async () => {
    const found = await ask((socket) => {
      const first = `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`
      socket.write(`${first}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`)
    })
    assert.equal(found?.descriptor.digest, wanted)
  })
})
