import assert from 'node:assert/strict'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, afterEach, describe, it } from 'node:test'

import type { About } from '../../src/contracts/node/about.ts'
import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import { type PeerListenerOptions, peerRoutes } from '../../src/http/peer-listener.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { loadIdentity } from '../../src/overlay/libp2p/identity.ts'
import type { Peer } from '../../src/overlay/overlay.ts'
import { PeerClient } from '../../src/peers/peer-client.ts'
import { PeerError } from '../../src/peers/peer-transport.ts'
import { createListener } from '../support/http-listener.ts'
import { PathAttacker } from '../support/path-attacker.ts'
import { TestMember } from '../support/test-member.ts'

const { about, announce } = NODE_PROTOCOL
const signal = AbortSignal.timeout(60_000)
const ABOUT: About = { version: '1', ready: true, transfers: [] }
const repository = { registry: 'docker.io', name: 'library/app' }
const MANIFEST = Buffer.from('a manifest')
const digest = digestOf(MANIFEST)
const tag = { ...repository, tag: 'latest' }
const known = {
  descriptor: { digest, size: 7, mediaType: 'application/json' },
  asOf: 1_700_000_000_000,
  access: 'imported',
}

interface NodeOptions {
  readonly secrets?: readonly string[]
  readonly identity?: Awaited<ReturnType<typeof loadIdentity>>
  readonly port?: number
}

/** A node whose peer listener answers about itself and about one tag, and whose client asks others. */
class Node {
  readonly member: TestMember
  readonly peer: Peer
  readonly client: PeerClient
  /** The ids of the senders of announcements. */
  readonly announced: string[]
  readonly #server: Server

  private constructor(member: TestMember, server: Server, announced: string[]) {
    this.member = member
    this.#server = server
    this.announced = announced
    this.peer = { id: member.id, address: `127.0.0.1:${(server.address() as AddressInfo).port}` }
    this.client = new PeerClient({ signer: member.authentication.signer, idleTimeout: 10_000 })
  }

  static async start({ secrets, identity, port = 0 }: NodeOptions = {}): Promise<Node> {
    const member = await TestMember.create(secrets, identity === undefined ? {} : { identity })
    const announced: string[] = []
    const options = {
      verifier: member.authentication.verifier,
      hasSecret: true,
      about: () => ABOUT,
      index: {
        handleAnnounce: (_: unknown, from: { id: string }) => {
          announced.push(from.id)
          return { type: 'ok' }
        },
      },
      tags: { resolveLocal: async () => known },
      manifests: {
        getLocal: async () => ({ bytes: MANIFEST, descriptor: known.descriptor, access: 'public', source: 'store' }),
      },
      policy: { mirrored: 'all', fallback: 'none', upstreams: new Set() },
    } as unknown as PeerListenerOptions
    const server = await createListener(peerRoutes(options))
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    const node = new Node(member, server, announced)
    running.push(node)
    return node
  }

  ask(peer: Peer): Promise<About> {
    return this.client.call(peer, about, [], { signal })
  }

  async stop(): Promise<void> {
    await this.client.close()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

let running: Node[] = []
afterEach(async () => {
  await Promise.all(running.map((node) => node.stop()))
  running = []
})

const unreachable = (error: unknown) => {
  assert.ok(error instanceof PeerError, String(error))
  assert.equal(error.reason, 'unreachable', error.message)
  return true
}

/** Two nodes that have spoken with each other, with an attacker on the path from the first to the second. */
async function attacked(context: TestContext): Promise<{ a: Node; b: Node; path: PathAttacker; through: Peer }> {
  const [a, b] = [await Node.start(), await Node.start()]
  const path = await PathAttacker.open(b.peer.address)
  context.after(() => path[Symbol.asyncDispose]())
  const through = { id: b.peer.id, address: path.address }
  await a.ask(through)
  path.requests.length = 0
  return { a, b, path, through }
}

describe('requests between nodes', () => {
  it('are answered, and cost one repetition before the two have met', async (context) => {
    const { a, b, path, through } = await attacked(context)
    assert.deepEqual(await a.ask(through), ABOUT)
    assert.equal(path.requests.length, 1)
    assert.equal(path.requests[0]?.headers['nabo-record'], undefined)
    // The second node knows the first one's record, and with it the incarnation to name.
    assert.deepEqual(await b.ask(a.peer), ABOUT)
    assert.deepEqual(
      path.answers.map(({ status }) => status),
      [409, 200, 200],
    )
  })

  it('are refused if anything of them is changed on the way, and none is accepted', async (context) => {
    const { a, path, through } = await attacked(context)
    const seen: number[] = []
    path.onAnswer = ({ status }) => void seen.push(status)
    const claims = { type: 'leaving', epoch: '0000000000000001' } as const
    for (const change of [
      (headers: Record<string, unknown>) =>
        void (headers['authorization'] = String(headers['authorization']).replace(/counter=(\d+)/, 'counter=99$1')),
      (headers: Record<string, unknown>) =>
        void (headers['authorization'] = String(headers['authorization']).replace(/session=./, (text) =>
          text.endsWith('0') ? 'session=1' : 'session=0',
        )),
      (headers: Record<string, unknown>) => void (headers['range'] = 'bytes=0-1'),
      (headers: Record<string, unknown>) => void (headers['nabo-verified'] = '1'),
      (headers: Record<string, unknown>) => void (headers['nabo-record'] = a.member.authentication.local.recordText),
    ]) {
      path.onRequest = ({ headers }) => {
        change(headers)
        return undefined
      }
      await assert.rejects(a.client.call(through, announce, claims, { signal }), unreachable)
    }
    path.onRequest = (request) => {
      request.body = Buffer.from(JSON.stringify({ ...claims, epoch: '0000000000000002' }))
      request.headers['content-length'] = String(request.body.length)
      return undefined
    }
    await assert.rejects(a.client.call(through, announce, claims, { signal }), PeerError)
    path.onRequest = (request) => void (request.target = '/nabo/v1/lookup')
    await assert.rejects(a.client.call(through, announce, claims, { signal }), unreachable)
    assert.ok(
      seen.every((status) => status === 403),
      String(seen),
    )
    path.onRequest = () => undefined
    assert.deepEqual(await a.client.call(through, announce, claims, { signal }), { type: 'ok' })
  })

  it('are accepted once, by their target only', async (context) => {
    const { a, b, path, through } = await attacked(context)
    const other = await Node.start()
    await a.ask(other.peer)
    await a.client.call(through, announce, { type: 'leaving', epoch: '0000000000000001' }, { signal })
    const [recorded] = path.requests
    assert.ok(recorded)
    assert.equal((await path.send(recorded)).status, 409)
    assert.equal((await path.send(recorded, other.peer.address)).status, 403)
    assert.equal((await path.send(recorded, a.peer.address)).status, 403)
    assert.deepEqual([b.announced, other.announced], [[a.peer.id], []])
  })

  it('are void after their target has restarted, with a new identity or its old one', async (context) => {
    const identity = await loadIdentity(undefined)
    const a = await Node.start()
    const b = await Node.start({ identity })
    await using path = await PathAttacker.open(b.peer.address)
    const through = { id: b.peer.id, address: path.address }
    await a.client.call(through, announce, { type: 'leaving', epoch: '0000000000000001' }, { signal })
    const recorded = path.requests.at(-1)
    assert.ok(recorded)
    await b.stop()
    const again = await Node.start({ identity })
    path.target = again.peer.address
    assert.equal((await path.send(recorded)).status, 409)
    assert.deepEqual(again.announced, [])
    assert.deepEqual(await a.ask(through), ABOUT, 'an honest sender learns the new incarnation')
    context.diagnostic(path.answers.map(({ status }) => status).join(' '))
  })

  it('go on after their sender has restarted with its old identity', async () => {
    const identity = await loadIdentity(undefined)
    const b = await Node.start()
    const a = await Node.start({ identity })
    for (let n = 0; n < 5; n++) await a.ask(b.peer)
    await a.stop()
    const again = await Node.start({ identity })
    assert.deepEqual(await again.ask(b.peer), ABOUT)
    assert.equal(again.peer.id, a.peer.id)
  })

  it('do not depend on clocks', async (context) => {
    const [a, b] = [await Node.start(), await Node.start()]
    context.mock.timers.enable({ apis: ['Date'], now: Date.now() - 10 * 3_600_000 })
    const late = await Node.start()
    assert.deepEqual(await late.ask(a.peer), ABOUT)
    assert.deepEqual(await a.ask(late.peer), ABOUT)
    assert.deepEqual(await a.ask(b.peer), ABOUT)
  })

  it('arrive in any order, and many at a time', async () => {
    const [a, b] = [await Node.start(), await Node.start()]
    const answers = await Promise.all(Array.from({ length: 500 }, () => a.ask(b.peer)))
    assert.equal(answers.length, 500)
  })

  it('work through a rotation of the secret, and not without a common one', async () => {
    const [old, next] = ['the old secret of all nodes', 'the new secret of all nodes']
    const steps = [
      [[old], [old]],
      [[old, next], [old]],
      [
        [old, next],
        [old, next],
      ],
      [
        [next, old],
        [old, next],
      ],
      [
        [next, old],
        [next, old],
      ],
      [[next], [next, old]],
      [[next], [next]],
    ]
    for (const [first, second] of steps) {
      const [a, b] = [await Node.start({ secrets: first ?? [] }), await Node.start({ secrets: second ?? [] })]
      assert.deepEqual([await a.ask(b.peer), await b.ask(a.peer)], [ABOUT, ABOUT], JSON.stringify([first, second]))
    }
    const [a, b] = [await Node.start({ secrets: [old] }), await Node.start({ secrets: [next] })]
    await assert.rejects(a.ask(b.peer), unreachable)
  })

  it('are not for another node that has taken over the address', async () => {
    const [a, b] = [await Node.start(), await Node.start()]
    await assert.rejects(a.ask({ id: 'nobody', address: b.peer.address }), PeerError)
    const gone = await TestMember.create()
    await assert.rejects(a.ask({ id: gone.id, address: b.peer.address }), unreachable)
  })
})

describe('answers between nodes', () => {
  it('are not believed if their status, a header or the body is changed on the way', async (context) => {
    const { a, path, through } = await attacked(context)
    assert.deepEqual(await a.client.resolveTag(through, tag, { signal }), known)
    const other = digestOf(Buffer.from('another manifest'))
    for (const [name, value] of [
      ['docker-content-digest', other],
      ['content-type', 'text/plain'],
      ['content-length', '8'],
      ['nabo-as-of', new Date().toISOString()],
      ['nabo-proof', '0'.repeat(64)],
      ['nabo-proof', undefined],
    ] as const) {
      path.onAnswer = ({ headers }) => {
        if (value === undefined) delete headers[name]
        else headers[name] = value
      }
      await assert.rejects(a.client.resolveTag(through, tag, { signal }), unreachable, name)
    }
    path.onAnswer = (answer) => {
      answer.status = 404
      answer.headers['nabo-absent'] = '1'
    }
    await assert.rejects(a.client.headBlob(through, repository, digest, { signal }), unreachable)
    path.onAnswer = (answer) => {
      answer.body = Buffer.from(answer.body.toString().replace('true', 'null'))
    }
    await assert.rejects(a.ask(through), unreachable)
    path.onAnswer = () => {}
    assert.deepEqual(await a.ask(through), ABOUT)
  })

  it('are not believed if a header without a value is added on the way', async (context) => {
    const { a, path, through } = await attacked(context)
    for (const name of ['nabo-absent', 'nabo-access', 'nabo-busy', 'nabo-path']) {
      path.onAnswer = ({ headers }) => void (headers[name] = '')
      await assert.rejects(a.client.resolveTag(through, tag, { signal }), unreachable, name)
    }
  })

  it('do not make a manifest that was changed on the way look like a lie of the node', async (context) => {
    const { a, path, through } = await attacked(context)
    const manifest = await a.client.getManifest(through, repository, digest, { signal })
    assert.deepEqual(Buffer.from(manifest?.bytes ?? []), MANIFEST)
    path.onAnswer = (answer) => void (answer.body = Buffer.from('A manifest'))
    await assert.rejects(a.client.getManifest(through, repository, digest, { signal }), unreachable)
  })

  it('are not believed in place of the answer to another request', async (context) => {
    const { a, path, through } = await attacked(context)
    await a.client.resolveTag(through, tag, { signal })
    const recorded = path.answers.at(-1)
    assert.ok(recorded)
    path.onRequest = () => structuredClone(recorded)
    await assert.rejects(a.client.resolveTag(through, tag, { signal }), unreachable)
  })

  it('are proved where they refuse, too', async () => {
    const [b, member] = [await Node.start(), await TestMember.create()]
    const url = `http://${b.peer.address}`
    for (const [target, request, status] of [
      ['/nabo/v1/about', { method: 'POST', body: '{' }, 400],
      ['/nabo/v1/about', { method: 'POST', body: ' '.repeat(100_000) }, 413],
      ['/nabo/v1/none', { method: 'POST', body: '{}' }, 405],
      ['/v2/library/app/tags/list', {}, 404],
    ] as const) {
      const answer = await member.ask({ id: b.peer.id, url }, target, request)
      assert.deepEqual([answer.status, answer.isAuthentic], [status, true], target)
      await answer.arrayBuffer()
    }
  })
})
