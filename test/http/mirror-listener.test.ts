import assert from 'node:assert/strict'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import { afterEach, describe, it, mock } from 'node:test'

import { TransferRecord } from '../../src/delivery/blobs/transfer-record.ts'
import { NotShownError } from '../../src/delivery/access/client-access.ts'
import { listen } from '../../src/http/bind.ts'
import type { FinishedExchange } from '../../src/http/exchange.ts'
import { type MirrorListenerOptions, mirrorRoutes } from '../../src/http/mirror-listener.ts'
import { acceptedTypes } from '../../src/http/requests.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { OciError } from '../../src/oci/errors.ts'
import { createListener } from '../support/http-listener.ts'
import { eventually } from '../support/poll.ts'

const bytes = Buffer.from('the bytes of a blob')
const digest = digestOf(bytes)
const path = `/v2/library/app/blobs/${digest}`

interface Parts extends Partial<Omit<MirrorListenerOptions, 'blobs'>> {
  readonly blobs?: Partial<MirrorListenerOptions['blobs']>
}

describe('a mirror listener', () => {
  let server: Server | undefined
  afterEach(async () => {
    server?.closeAllConnections()
    await new Promise((resolve) => server?.close(resolve))
    server = undefined
  })

  /** A listener over parts that the test makes up; what it does not is never asked for. */
  async function serve({ blobs, ...parts }: Parts) {
    const never = () => assert.fail('not expected')
    const finished: FinishedExchange[] = []
    const errors: object[] = []
    server = await createListener(
      mirrorRoutes({
        blobs: { open: never, openRanges: never, size: never, isComing: () => false, ...blobs },
        manifests: { get: never },
        tags: { resolve: never },
        clientAccess: { serve: (_pull, _credential, _signal, work) => work(undefined), listing: never },
        policy: { mirrored: 'all', fallback: 'all' },
        token: undefined,
        sending: {},
        upstreamTimeout: 20_000,
        asksForLogin: true,
        isMirror: () => false,
        ...parts,
      }),
      { finished: (exchange) => void finished.push(exchange), log: { error: (fields) => void errors.push(fields) } },
    )
    const { port } = await listen(server, { host: '127.0.0.1', port: 0 }, '--mirror-addr')
    return { url: `http://127.0.0.1:${port}`, port, finished, errors }
  }

  const deliveryOf = (onClose: () => void) => ({
    type: 'stream' as const,
    size: bytes.length,
    span: { start: 0, end: bytes.length },
    record: new TransferRecord(),
    origin: { source: 'upstream' as const },
    async *chunks() {
      yield bytes
    },
    close: async () => onClose(),
  })

  it('says in the status line why it refuses, and gives a containerd 2 a 404 for what does not exist alone', async () => {
    const missing = new OciError('BLOB_UNKNOWN', { message: 'it does not exist' })
    const down = new OciError('BLOB_UNKNOWN', {
      message: 'no node has it, and\nhub.example is d\u00f6wn',
      cause: new Error('down'),
    })
    const hidden = new OciError('BLOB_UNKNOWN', {
      message: 'not for this client',
      cause: new NotShownError('not shown'),
    })
    let error: OciError = missing
    const { port } = await serve({ clientAccess: { serve: () => Promise.reject(error), listing: () => assert.fail() } })
    const statusLine = async (agent: string) => {
      const socket = connect(port, '127.0.0.1')
      socket.end(`HEAD ${path} HTTP/1.1\r\nHost: x\r\nUser-Agent: ${agent}\r\nConnection: close\r\n\r\n`)
      const answer = Buffer.concat(await Array.fromAsync(socket as AsyncIterable<Buffer>)).toString()
      return answer.split('\r\n')[0]?.replace('HTTP/1.1 ', '')
    }
    for (const [refusal, agent, expected] of [
      [missing, 'containerd/2.1.9', '404 it does not exist'],
      [down, 'containerd/2.1.9', '503 no node has it, and hub.example is d wn'],
      [down, 'containerd/v2.3.0', '503 no node has it, and hub.example is d wn'],
      [down, 'containerd/1.7.24', '404 no node has it, and hub.example is d wn'],
      [down, 'docker/27', '404 no node has it, and hub.example is d wn'],
      [hidden, 'containerd/2.1.9', '403 not for this client'],
      [hidden, 'containerd/1.6.20', '404 not for this client'],
      [new OciError('UNAUTHORIZED', { message: 'who are you?' }), 'containerd/1.6.20', '401 who are you?'],
      [new OciError('BLOB_UNKNOWN', { message: 'x'.repeat(5000) }), 'containerd/2.1.9', `404 ${'x'.repeat(300)}`],
    ] as const) {
      error = refusal
      assert.equal(await statusLine(agent), expected)
    }
  })

  it('closes what is opened for a client that has gone meanwhile', async () => {
    const opening = Promise.withResolvers<ReturnType<typeof deliveryOf>>()
    const asked = Promise.withResolvers<void>()
    let closed = 0
    const { port, finished } = await serve({
      blobs: {
        open: () => {
          asked.resolve()
          return opening.promise
        },
        size: () => assert.fail(),
      },
    })
    const socket = connect(port, '127.0.0.1')
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
    await asked.promise
    socket.destroy()
    await eventually('the exchange has ended', () => finished.length === 1, { everyMs: 5 })
    assert.equal(finished[0]?.outcome, 'client-gone')
    opening.resolve(deliveryOf(() => (closed += 1)))
    await eventually('the delivery is closed', () => closed === 1, { everyMs: 5 })
  })

  it('steps aside with 404 when nobody answers in time, and closes what comes later', async () => {
    mock.timers.enable({ apis: ['setTimeout'] })
    try {
      const opening = Promise.withResolvers<ReturnType<typeof deliveryOf>>()
      const closed = Promise.withResolvers<void>()
      const { url } = await serve({
        blobs: {
          open: (_request, _range, signal) => {
            setImmediate(() => mock.timers.tick(9000))
            signal.addEventListener('abort', () => setImmediate(() => opening.resolve(deliveryOf(closed.resolve))))
            return opening.promise
          },
          size: () => assert.fail(),
        },
      })
      const response = await fetch(`${url}${path}?ns=docker.io`)
      assert.equal(response.status, 404)
      assert.match(await response.text(), /nobody answered within 9 seconds; go on without the mirror/)
      await closed.promise
    } finally {
      mock.timers.reset()
    }
  })

  it('waits longer than nine seconds for what is on its way', async () => {
    mock.timers.enable({ apis: ['setTimeout'] })
    try {
      const opening = Promise.withResolvers<ReturnType<typeof deliveryOf>>()
      const { url } = await serve({
        blobs: {
          open: () => {
            setImmediate(() => {
              mock.timers.tick(9000)
              mock.timers.tick(5000)
              opening.resolve(deliveryOf(() => {}))
            })
            return opening.promise
          },
          isComing: () => true,
        },
      })
      assert.equal((await fetch(`${url}${path}?ns=docker.io`)).status, 200)
    } finally {
      mock.timers.reset()
    }
  })

  it('says no more than that something went wrong when something unforeseen does', async () => {
    const { url, errors, finished } = await serve({
      blobs: { open: () => assert.fail(), size: () => Promise.reject(new Error('EIO: /var/lib/secret')) },
      manifests: { get: () => Promise.reject(new TypeError('x is not a function at /srv/nabo/x.ts:1')) },
    })
    const response = await fetch(`${url}/v2/library/app/manifests/${digest}`)
    assert.equal(response.status, 500)
    assert.deepEqual(await response.json(), { errors: [{ code: 'UNKNOWN', message: 'internal error' }] })
    assert.equal((await fetch(`${url}${path}`, { method: 'HEAD' })).status, 500)
    assert.equal(errors.length, 2)
    assert.equal(finished[0]?.outcome, 'refused')
  })

  it('breaks a body off when its source does, so that the client sees it', async () => {
    const { url, finished } = await serve({
      blobs: {
        open: async () => ({
          ...deliveryOf(() => {}),
          async *chunks() {
            yield bytes.subarray(0, 5)
            throw new OciError('UNAVAILABLE')
          },
        }),
        size: () => assert.fail(),
      },
    })
    const response = await fetch(`${url}${path}`)
    assert.equal(response.status, 200)
    await assert.rejects(response.arrayBuffer())
    await eventually('the exchange has ended', () => finished.length === 1, { everyMs: 5 })
    assert.equal(finished[0]?.outcome, 'broken')
  })

  it('refuses what breaks off before its first byte, so that the client goes on to the next host', async () => {
    const opened: string[] = []
    const { url } = await serve({
      blobs: {
        open: async () => ({
          ...deliveryOf(() => opened.push('closed')),
          // oxlint-disable-next-line require-yield
          async *chunks(): AsyncGenerator<Uint8Array> {
            throw new Error('the source broke off')
          },
        }),
        size: () => assert.fail(),
      },
    })
    const response = await fetch(`${url}${path}`)
    assert.equal(response.status, 404)
    assert.match(await response.text(), /before its first byte: the source broke off/)
    assert.deepEqual(opened, ['closed'])
  })

  it('answers when the first byte takes long', async () => {
    const first = Promise.withResolvers<void>()
    const { url } = await serve({
      blobs: {
        open: async () => ({
          ...deliveryOf(() => {}),
          async *chunks() {
            await first.promise
            yield bytes
          },
        }),
        size: () => assert.fail(),
      },
    })
    const response = await fetch(`${url}${path}`)
    assert.equal(response.status, 200)
    first.resolve()
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), Buffer.from(bytes))
  })

  it('leads to its own next page, whatever the registry’s link looks like', async () => {
    let link = ''
    const { url } = await serve({
      clientAccess: {
        serve: () => assert.fail(),
        listing: async () => ({ status: 200, contentType: 'application/json', link, body: Buffer.from('{}') }),
      },
    })
    for (const [sent, expected] of [
      ['</v2/org/app/tags/list?n=1&last=a>; rel="next"', '</v2/org/app/tags/list?n=1&last=a&ns=ghcr.io>; rel="next"'],
      [
        '<https://ghcr.io/v2/org/app/tags/list?last=a>; rel="next"',
        '</v2/org/app/tags/list?last=a&ns=ghcr.io>; rel="next"',
      ],
      ['<list?last=a>; rel="next"', '</v2/org/app/tags/list?last=a&ns=ghcr.io>; rel="next"'],
      [
        '</api/docker/v2/org/app/tags/list?last=a>; rel="next"',
        '</v2/org/app/tags/list?last=a&ns=ghcr.io>; rel="next"',
      ],
      [
        '</v2/org/app/tags/list?last=0>; title="<b>; rel=next"; rel=prev, <list?last=a>; rel="last next"',
        '</v2/org/app/tags/list?last=a&ns=ghcr.io>; rel="next"',
      ],
      [
        '<list?nextToken=a+b%2Bc%FF&nextToken=2&ns=elsewhere>; rel="next"',
        '</v2/org/app/tags/list?nextToken=a+b%2Bc%FF&nextToken=2&ns=ghcr.io>; rel="next"',
      ],
      ['nonsense', null],
    ] as const) {
      link = sent
      const response = await fetch(`${url}/v2/org/app/tags/list?ns=ghcr.io`)
      assert.equal(response.headers.get('link'), expected)
      await response.arrayBuffer()
    }
  })

  it('refuses a page whose link to the next one leads nowhere: it would look like the last page, or come again without end', async () => {
    let link = ''
    const { url } = await serve({
      clientAccess: {
        serve: () => assert.fail(),
        listing: async () => ({ status: 200, contentType: 'application/json', link, body: Buffer.from('{}') }),
      },
    })
    for (const [sent, message] of [
      ['<list?last=a&n=2>; rel="next"', /leads to the page that it came with/],
      ['<https://other.example/v2/org/app/tags/list?n=2&last=a>; rel="next"', /leads to the page that it came with/],
      [`<list?last=${'b'.repeat(8180)}>; rel="next"`, /longer than 8192 characters/],
      // Linear, and no header of 60,000 characters is read at all: this took seconds.
      [`<list?last=b>; rel="next", ${'<'.repeat(60_000)}`, /longer than 8192 characters/],
    ] as const) {
      link = sent
      const response = await fetch(`${url}/v2/org/app/tags/list?n=2&last=a&ns=ghcr.io`)
      assert.equal(response.status, 503)
      assert.match(await response.text(), message)
    }
  })

  it('serves only the registries that it is for, and tells clients that have nowhere else to go which flag to set', async () => {
    const { url } = await serve({
      policy: { mirrored: new Set(['docker.io', 'quay.io']), fallback: new Set(['quay.io']) },
    })
    for (const [path, status, message] of [
      [`/v2/org/app/blobs/${digest}?ns=ghcr.io`, 404, /ghcr\.io is not mirrored here: --registries/],
      [`/v2/ghcr.io/org/app/blobs/${digest}`, 403, /ghcr\.io is not mirrored here: --registries/],
      ['/v2/library/app/tags/list?ns=docker.io', 404, /docker\.io is not fetched .* --fallback quay\.io,docker\.io/],
      ['/v2/library/app/tags/list', 403, /docker\.io is not fetched .* --fallback quay\.io,docker\.io/],
    ] as const) {
      const response = await fetch(`${url}${path}`)
      assert.equal(response.status, status, path)
      assert.match(await response.text(), message)
    }
  })

  it('serves a local registry only if --upstream names it', async () => {
    const upstreams = new Set(['localhost:5001'])
    const { url } = await serve({
      policy: { mirrored: 'all', fallback: 'all', upstreams },
      blobs: { open: () => assert.fail(), size: async () => bytes.length },
    })
    const ask = (registry: string, method: string) => fetch(`${url}/v2/app/blobs/${digest}?ns=${registry}`, { method })
    for (const registry of ['localhost:5000', '127.0.0.1:5001', '[::1]:5001']) {
      const response = await ask(registry, 'GET')
      assert.equal(response.status, 404, registry)
      assert.ok((await response.text()).includes(`--upstream ${registry}=<url>`))
    }
    assert.equal((await ask('localhost:5001', 'HEAD')).status, 200)
  })

  it('lists under the name that was asked for, and the next page is asked for in the same way', async () => {
    const body = Buffer.from(JSON.stringify({ name: 'library/app', tags: ['1'], extra: true }))
    const link = '<https://registry.example/v2/library/app/tags/list?last=1&n=1>; rel="next"'
    const isMirror = (registry: string) => registry === 'localhost:7950'
    const { url } = await serve({
      isMirror,
      policy: { mirrored: 'all', fallback: 'all', upstreams: new Set(['[::1]:5000']) },
      clientAccess: {
        serve: () => assert.fail(),
        listing: async () => ({ status: 200, contentType: 'application/json', link, body }),
      },
    })
    for (const [path, name, next] of [
      ['/v2/app/tags/list?n=1', 'app', '/v2/app/tags/list?last=1&n=1'],
      ['/v2/app/tags/list?n=1&ns=docker.io', 'app', '/v2/app/tags/list?last=1&n=1&ns=docker.io'],
      ['/v2/docker.io/app/tags/list?n=1', 'docker.io/app', '/v2/docker.io/app/tags/list?last=1&n=1'],
      ['/v2/[::1]:5000/app/tags/list', '[::1]:5000/app', '/v2/%5B::1%5D:5000/app/tags/list?last=1&n=1'],
      ['/v2/localhost:7950/app/tags/list', 'localhost:7950/app', '/v2/localhost:7950/app/tags/list?last=1&n=1'],
    ] as const) {
      const response = await fetch(`${url}${path}`)
      assert.deepEqual(await response.json(), { name, tags: ['1'], extra: true })
      assert.equal(response.headers.get('link'), `<${next}>; rel="next"`)
    }
  })

  it('asks at `/v2/` for credentials only who would not send them otherwise, and goes on without', async () => {
    const { url } = await serve({})
    const status = async (agent: string, authorization?: string) => {
      const headers = { 'user-agent': agent, ...(authorization === undefined ? {} : { authorization }) }
      return (await fetch(`${url}/v2/`, { headers })).status
    }
    for (const agent of [
      'skopeo/1.18.0',
      'libpod/4.3.1',
      'Buildah/1.28.2',
      'cri-o/1.30.0 go/go1.22',
      'crane/v0.20.2',
    ]) {
      assert.equal(await status(agent), 401, agent)
      // What they send that have none.
      assert.equal(await status(agent, 'Basic Og=='), 200, agent)
    }
    for (const agent of [
      'docker/24.0.7 go/go1.20 os/linux UpstreamClient(Docker-Client/24.0.7)',
      'containerd/2.1.9',
      'curl/8',
    ])
      assert.equal(await status(agent), 200, agent)
  })
})

describe('an Accept header on its way in', () => {
  it('is a list of types without their parameters', () => {
    assert.deepEqual(acceptedTypes(undefined), [])
    assert.deepEqual(acceptedTypes(' , ;q=1,'), [])
    assert.deepEqual(acceptedTypes('a/B;q=0.5, */* ,c/d'), ['a/b', '*/*', 'c/d'])
  })
})
