import assert from 'node:assert/strict'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'

import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import { type PeerListenerOptions, peerRoutes } from '../../src/http/peer-listener.ts'
import type { Peer } from '../../src/overlay/overlay.ts'
import { PeerClient } from '../../src/peers/peer-client.ts'
import { PeerError } from '../../src/peers/peer-transport.ts'
import { swarmTransport } from '../../src/peers/transports.ts'
import type { JoinMessage, JoinRequest, ReportMessage, ReportRequest } from '../../src/swarm/messages.ts'
import { nameItem } from '../../src/swarm/swarm-item.ts'
import type { SwarmHandler, SwarmTransport } from '../../src/swarm/swarm-transport.ts'
import { createListener } from '../support/http-listener.ts'
import { eventually } from '../support/poll.ts'
import { blobNamed } from '../support/swarm-network.ts'
import { encoded } from '../support/wire.ts'
import { type MemberRequest, TestMember } from '../support/test-member.ts'

const { path: JOIN_PATH, request: JOIN } = NODE_PROTOCOL.join
const { path: REPORT_PATH, request: REPORT } = NODE_PROTOCOL.report

const load = { zone: undefined, sending: 0, capacity: 32 }
const ADDRESS = '10.0.0.1:7951'
const state = {
  ...nameItem(blobNamed('layer')),
  position: 7,
  size: undefined,
  serves: true,
  lease: undefined,
  upstreamRate: undefined,
}
const joinMessage: JoinMessage = { ...state, type: 'join', member: load, left: [] }
const reportMessage: ReportMessage = {
  type: 'report',
  member: load,
  entries: [{ ...state, parent: undefined, outcome: { type: 'cancelled' } }],
}
const signal = AbortSignal.timeout(30_000)

/** A peer listener in front of a swarm, and a member that asks it. */
class Listener {
  readonly peer: Peer
  readonly member: TestMember
  readonly client: PeerClient
  readonly transport: SwarmTransport
  readonly #server: Server

  private constructor(server: Server, peer: Peer, member: TestMember) {
    this.#server = server
    this.peer = peer
    this.member = member
    this.client = new PeerClient({ signer: member.authentication.signer, idleTimeout: 10_000 })
    this.transport = swarmTransport(this.client, member.authentication.joins)
  }

  static async open(swarm: Partial<SwarmHandler>): Promise<Listener> {
    const [self, member] = [await TestMember.create(), await TestMember.create(undefined, { address: ADDRESS })]
    const { verifier, joins } = self.authentication
    // Of all that a peer listener serves only these messages are asked for here.
    const options = { swarm, joins, verifier, hasSecret: true } as unknown as PeerListenerOptions
    const server = await createListener(peerRoutes(options))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    return new Listener(server, { id: self.id, address: `127.0.0.1:${port}` }, member)
  }

  async post(path: string, body: string, request: MemberRequest = {}, sender = this.member): Promise<number> {
    const url = `http://${this.peer.address}`
    const response = await sender.ask({ id: this.peer.id, url }, path, { method: 'POST', body, ...request })
    await response.body?.cancel()
    return response.status
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

function joinOf({ member: { id } }: Listener): JoinRequest {
  return { ...joinMessage, member: { id, address: ADDRESS, remoteAddress: '', ...load }, forwarded: false }
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
    const member = { id: listener.member.id, address: ADDRESS, remoteAddress: '127.0.0.1', ...load }
    const join: JoinRequest = { ...joinMessage, member, forwarded: false }
    const report: ReportRequest = { ...reportMessage, member }
    assert.deepEqual(await transport.join(peer, join, { signal }), { type: 'upstream', lease: { epoch: 3, rank: 0 } })
    assert.deepEqual(await transport.report(peer, report, { signal }), ['ask'])
    assert.deepEqual(
      heard.map((request) => ({ ...(request as JoinRequest), signed: undefined })),
      [join, report].map((request) => ({ ...request, signed: undefined })),
    )
  })

  it('refuses senders without a proof for this message', async () => {
    await using listener = await Listener.open({})
    const outsider = await TestMember.create(['another secret, of strangers'])
    for (const [path, body] of [
      [JOIN_PATH, encoded(JOIN, joinMessage)],
      [REPORT_PATH, encoded(REPORT, reportMessage)],
    ] as const) {
      const anonymous = { tamper: ({ headers }) => void delete headers['authorization'] } satisfies MemberRequest
      assert.equal(await listener.post(path, body, anonymous), 403)
      assert.equal(await listener.post(path, body, {}, outsider), 403)
      assert.equal(await listener.post('/elsewhere', body, { tamper: (sent) => void (sent.target = path) }), 403)
    }
  })

  it('refuses a body that is too long or breaks the contract', async () => {
    await using listener = await Listener.open({})
    assert.equal(await listener.post(JOIN_PATH, ' '.repeat(JOIN.maxBytes + 1)), 413)
    assert.equal(await listener.post(REPORT_PATH, ' '.repeat(REPORT.maxBytes + 1)), 413)
    for (const path of [JOIN_PATH, REPORT_PATH]) {
      for (const body of ['', 'nonsense', '{}', '[]', 'null']) assert.equal(await listener.post(path, body), 400)
    }
    assert.equal(await listener.post(JOIN_PATH, encoded(REPORT, reportMessage)), 400)
  })

  it('takes a forwarded join only with the signature of its member, and once', async () => {
    const heard: JoinRequest[] = []
    await using listener = await Listener.open({
      handleJoin: async (request) => {
        heard.push(request)
        return { type: 'wait', ms: 1 }
      },
    })
    const origin = await TestMember.create()
    const onBehalfOf = { id: origin.id, address: '10.0.0.2:7951' }
    const signed = origin.authentication.joins.sign(joinMessage, onBehalfOf.address)
    const other = listener.member.authentication.joins.sign(joinMessage, onBehalfOf.address)
    const forward = (message: JoinMessage) => listener.post(JOIN_PATH, encoded(JOIN, { ...message, onBehalfOf }))
    assert.equal(await forward(joinMessage), 403)
    assert.equal(await forward(other), 403)
    assert.equal(await forward({ ...signed, position: 8 }), 403)
    assert.equal(await forward(signed), 200)
    assert.equal(await forward(signed), 403)
    assert.deepEqual(
      heard.map(({ member, forwarded }) => [member, forwarded]),
      [[{ ...onBehalfOf, remoteAddress: '127.0.0.1', ...load }, true]],
    )
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
    const answer = listener.transport.join(listener.peer, joinOf(listener), { signal: controller.signal })
    await eventually('it is asked', () => asked !== undefined)
    controller.abort(new Error('enough'))
    await assert.rejects(answer, /enough/)
    await eventually('it lets go', () => asked?.aborted)
  })

  it('is not believed when it answers nonsense', async () => {
    await using listener = await Listener.open({ handleReport: () => ['ok', 'ok'] })
    const member = { id: listener.member.id, address: ADDRESS, remoteAddress: '127.0.0.1', ...load }
    await assert.rejects(listener.transport.report(listener.peer, { ...reportMessage, member }, { signal }), {
      name: 'InvalidMessage',
    })
    const gone = { id: listener.peer.id, address: '127.0.0.1:1' }
    await assert.rejects(listener.transport.join(gone, joinOf(listener), { signal }), PeerError)
  })
})
