import assert from 'node:assert/strict'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'

import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import { type PeerListenerOptions, peerRoutes } from '../../src/http/peer-listener.ts'
import type { Peer } from '../../src/overlay/overlay.ts'
import { deriveKeys } from '../../src/peers/cluster-secret.ts'
import { PeerClient } from '../../src/peers/peer-client.ts'
import { PeerError } from '../../src/peers/peer-transport.ts'
import { proveRequest } from '../../src/peers/request-proof.ts'
import { swarmTransport } from '../../src/peers/transports.ts'
import type { JoinRequest, ReportRequest } from '../../src/swarm/messages.ts'
import { nameItem } from '../../src/swarm/swarm-item.ts'
import type { SwarmHandler } from '../../src/swarm/swarm-transport.ts'
import { createListener } from '../support/http-listener.ts'
import { eventually } from '../support/poll.ts'
import { blobNamed } from '../support/swarm-network.ts'
import { encoded } from '../support/wire.ts'

const { path: JOIN_PATH, request: JOIN } = NODE_PROTOCOL.join
const { path: REPORT_PATH, request: REPORT } = NODE_PROTOCOL.report

const key = deriveKeys('a secret that all nodes share').peer
const member = { id: 'a', address: '10.0.0.1:7951', zone: undefined, sending: 0, capacity: 32 }
const state = {
  ...nameItem(blobNamed('layer')),
  position: 7,
  size: undefined,
  serves: true,
  lease: undefined,
  upstreamRate: undefined,
}
const join: JoinRequest = { ...state, type: 'join', member, left: [], forwarded: false }
const report: ReportRequest = {
  type: 'report',
  member,
  entries: [{ ...state, parent: undefined, outcome: { type: 'cancelled' } }],
}
const signal = AbortSignal.timeout(30_000)

/** A peer listener in front of a swarm. */
class Listener {
  readonly peer: Peer
  readonly client = new PeerClient({ key, idleTimeout: 10_000 })
  readonly transport = swarmTransport(this.client)
  readonly #server: Server

  constructor(server: Server) {
    this.#server = server
    this.peer = { id: 'peer', address: `127.0.0.1:${(server.address() as AddressInfo).port}` }
  }

  static async open(swarm: Partial<SwarmHandler>): Promise<Listener> {
    // Of all that a peer listener serves only these messages are asked for here.
    const options = { swarm, keys: [key] } as unknown as PeerListenerOptions
    const server = await createListener(peerRoutes(options))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Listener(server)
  }

  async post(path: string, body: string, headers: Record<string, string> = {}): Promise<number> {
    const response = await fetch(`http://${this.peer.address}${path}`, { method: 'POST', body, headers })
    await response.body?.cancel()
    return response.status
  }

  async proven(path: string, body: string): Promise<number> {
    const proof = proveRequest(key, { method: 'POST', target: path, body: Buffer.from(body) })
    return await this.post(path, body, { authorization: proof })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

describe('the swarm on the peer listener', () => {
  it('answers questions and reports', async () => {
    const heard: unknown[] = []
    await using listener = await Listener.open({
      handleJoin: async (request) => {
        heard.push(request)
        return { type: 'upstream', lease: { epoch: 3, rank: 0 } }
      },
      handleReport: (request) => {
        heard.push(request)
        return ['ask']
      },
    })
    const { transport, peer } = listener
    assert.deepEqual(await transport.join(peer, join, { signal }), { type: 'upstream', lease: { epoch: 3, rank: 0 } })
    assert.deepEqual(await transport.report(peer, report, { signal }), ['ask'])
    assert.deepEqual(heard, [join, report])
  })

  it('refuses who cannot prove that it knows the secret', async () => {
    await using listener = await Listener.open({})
    const other = deriveKeys('another secret, of strangers').peer
    for (const [path, body] of [
      [JOIN_PATH, encoded(JOIN, join)],
      [REPORT_PATH, encoded(REPORT, report)],
    ] as const) {
      const proof = proveRequest(other, { method: 'POST', target: path, body: Buffer.from(body) })
      assert.equal(await listener.post(path, body), 403)
      assert.equal(await listener.post(path, body, { authorization: proof }), 403)
      const elsewhere = proveRequest(key, { method: 'POST', target: '/elsewhere', body: Buffer.from(body) })
      assert.equal(await listener.post(path, body, { authorization: elsewhere }), 403)
    }
  })

  it('refuses what is too long, and what means nothing', async () => {
    await using listener = await Listener.open({})
    assert.equal(await listener.proven(JOIN_PATH, ' '.repeat(JOIN.maxBytes + 1)), 413)
    assert.equal(await listener.proven(REPORT_PATH, ' '.repeat(REPORT.maxBytes + 1)), 413)
    for (const path of [JOIN_PATH, REPORT_PATH]) {
      for (const body of ['', 'nonsense', '{}', '[]', 'null']) assert.equal(await listener.proven(path, body), 400)
    }
    assert.equal(await listener.proven(JOIN_PATH, encoded(REPORT, report)), 400)
  })

  it('lets go of a question whose asker has gone', async () => {
    let asked: AbortSignal | undefined
    await using listener = await Listener.open({
      handleJoin: (_, { signal }) => {
        asked = signal
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
      },
    })
    const controller = new AbortController()
    const answer = listener.transport.join(listener.peer, join, { signal: controller.signal })
    await eventually('it is asked', () => asked !== undefined)
    controller.abort(new Error('enough'))
    await assert.rejects(answer, /enough/)
    await eventually('it lets go', () => asked?.aborted)
  })

  it('is not believed when it answers nonsense', async () => {
    await using listener = await Listener.open({ handleReport: () => ['ok', 'ok'] })
    await assert.rejects(listener.transport.report(listener.peer, report, { signal }), { name: 'InvalidMessage' })
    const gone = { id: 'gone', address: '127.0.0.1:1' }
    await assert.rejects(listener.transport.join(gone, join, { signal }), PeerError)
  })
})
