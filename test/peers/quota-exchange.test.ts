import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { InvalidMessage } from '../../src/contracts/message.ts'
import { nodeCaller } from '../../src/contracts/node-caller.ts'
import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import type { Peer } from '../../src/overlay/overlay.ts'
import { QuotaExchange } from '../../src/peers/quota-exchange.ts'
import { QuotaBook, type QuotaSeat } from '../../src/upstream/quota/quota-book.ts'
import type { QuotaView } from '../../src/upstream/quota/quota-view.ts'
import { FakeCluster, type FakeOverlay } from '../support/fake-overlay.ts'
import { eventually } from '../support/poll.ts'
import { decoded, encoded } from '../support/wire.ts'

const { path: QUOTA_PATH, request: QUOTA } = NODE_PROTOCOL.quota

const seat: QuotaSeat = { registry: 'docker.io', host: 'hub', credentialId: undefined, account: undefined }
const source = { registry: 'docker.io', host: 'hub', source: '203.0.113.7' }
const signal = new AbortController().signal
const said = (remaining: number, source: string | undefined = '203.0.113.7') => {
  const now = Date.now()
  return { limit: 100, remaining, windowSeconds: 3600, asOf: now, endsAt: now + 3600_000, source }
}

interface Node {
  readonly peer: Peer
  readonly book: QuotaBook
  readonly exchange: QuotaExchange
}

describe('nodes that a registry counts together', () => {
  let nodes: Node[]
  let sent: { to: string; view: QuotaView }[]
  let fault: (to: Peer) => Promise<void>

  beforeEach(() => {
    nodes = []
    sent = []
    fault = async () => {}
  })
  afterEach(() => {
    for (const { exchange } of nodes) exchange.stop()
  })

  async function start(count: number): Promise<void> {
    const cluster = new FakeCluster()
    const overlays: FakeOverlay[] = []
    for (let n = 0; n < count; n += 1) {
      const overlay = cluster.overlay()
      const book = new QuotaBook()
      const post = async (peer: Peer, path: string, body: Uint8Array, options: { signal: AbortSignal }) => {
        assert.equal(path, QUOTA_PATH)
        sent.push({ to: peer.id, view: decoded(QUOTA, body) })
        await Promise.race([fault(peer), rejected(options.signal)])
        const handler = nodes.find((node) => node.peer.id === peer.id)?.exchange ?? assert.fail()
        return Buffer.from(encoded(QUOTA, handler.handleQuota(decoded(QUOTA, body))))
      }
      nodes.push({
        peer: overlay.self,
        book,
        exchange: new QuotaExchange({ overlay, nodes: nodeCaller(post), book, replicas: 3 }),
      })
      overlays.push(overlay)
    }
    const all = overlays.map(({ self }) => self)
    for (const overlay of overlays) overlay.see(all.filter(({ id }) => id !== overlay.self.id))
  }
  const at = (n: number) => nodes[n] ?? assert.fail()
  const remainingAt = (n: number) => at(n).book.of(seat)?.remaining

  it('all know in a small cluster what one was told', async () => {
    await start(4)
    for (const { book } of nodes) book.note(seat, said(90))
    at(0).book.note(seat, said(40))
    await eventually('everybody knows', () => nodes.every((_, n) => remainingAt(n) === 40))
  })

  it('neither tell nor ask without a cluster secret', async () => {
    await start(41)
    const { peer } = at(0)
    const book = new QuotaBook()
    const overlay = { self: peer, peers: () => nodes.map(({ peer }) => peer), closest: async () => [peer] }
    const exchange = new QuotaExchange({ overlay, nodes: undefined, book, replicas: 3 })
    book.note(seat, said(40))
    await exchange.ask(book.of(seat) ?? assert.fail(), { signal })
    exchange.stop()
    assert.deepEqual(sent, [])
  })

  it('are told of the last of many changes, and of few in between', async () => {
    await start(2)
    at(1).book.note(seat, said(100))
    for (let left = 100; left >= 0; left -= 1) at(0).book.note(seat, said(left))
    await eventually('the other knows', () => remainingAt(1) === 0)
    assert.ok(sent.length < 6, `${sent.length} messages`)
  })

  it('ask, in a cluster of a thousand, the three that keep it', async () => {
    await start(1000)
    at(17).book.note(seat, said(3))
    await eventually('it is kept', () => nodes.filter(({ book }) => book.about(source) !== undefined).length >= 4)
    const kept = nodes.filter(({ book }) => book.about(source) !== undefined).length
    assert.ok(kept <= 4, `${kept} nodes keep it`)
    const other = nodes.findIndex(({ book }) => book.about(source) === undefined)
    at(other).book.note(seat, { ...said(90), asOf: Date.now() - 4000 })
    const view = at(other).book.of(seat) ?? assert.fail()
    await at(other).exchange.ask(view, { signal })
    assert.equal(remainingAt(other), 3)
  })

  it('do not wait long for those that are silent, nor fail when all are', async () => {
    await start(41)
    const hanging = new Set<string>()
    fault = async (peer) => {
      if (hanging.size === 0 || hanging.has(peer.id)) hanging.add(peer.id)
      if (hanging.has(peer.id)) await rejected(signal)
    }
    at(0).book.note(seat, said(50))
    await at(0).exchange.ask(at(0).book.of(seat) ?? assert.fail(), { signal })
    fault = () => rejected(signal)
    await assert.rejects(at(0).exchange.ask(at(0).book.of(seat) ?? assert.fail(), { signal }))
    assert.equal(remainingAt(0), 50)
  })

  it('keep to themselves what counts for an address that nobody names', async () => {
    await start(2)
    at(0).book.note(seat, { ...said(1), source: undefined })
    at(0).book.note({ ...seat, host: 'second' }, said(2))
    await eventually('the named one is told', () => sent.length > 0)
    assert.deepEqual([...new Set(sent.map(({ view }) => view.source))], ['203.0.113.7'])
  })

  it('do not take another quota for the one they were asked about', async () => {
    await start(2)
    at(1).book.note(seat, said(10, '198.51.100.1'))
    at(0).book.note(seat, said(90))
    await eventually('they have spoken', () => sent.length >= 2)
    assert.deepEqual([remainingAt(0), remainingAt(1)], [90, 10])
  })
})

describe('a message about a quota', () => {
  const view = {
    registry: 'docker.io',
    host: 'hub',
    source: '203.0.113.7',
    limit: 100,
    remaining: 7,
    windowSeconds: 60,
  }

  it('says the same to a node whose clock differs', () => {
    const [here, there] = [1_000_000, 9_000_000]
    const now = mock.method(Date, 'now', () => here)
    const [known, unknown] = [
      encoded(QUOTA, { ...view, asOf: here - 500, endsAt: here + 2000 }),
      encoded(QUOTA, { ...view, asOf: here }),
    ]
    now.mock.mockImplementation(() => there)
    assert.deepEqual(decoded(QUOTA, known), { ...view, asOf: there - 500, endsAt: there + 2000 })
    assert.deepEqual(decoded(QUOTA, unknown), { ...view, asOf: there })
    mock.restoreAll()
  })

  it('is refused when it is something else', () => {
    const good = JSON.parse(encoded(QUOTA, { ...view, asOf: Date.now() })) as object
    for (const change of [
      { remaining: -1 },
      { remaining: 1.5 },
      { limit: '100' },
      { age: undefined },
      { source: '' },
      { source: 'x'.repeat(300) },
      { more: 1 },
      { limit: 1e300 },
    ])
      assert.throws(() => decoded(QUOTA, JSON.stringify({ ...good, ...change })), InvalidMessage)
    assert.throws(() => decoded(QUOTA, Buffer.alloc(QUOTA.maxBytes + 1, ' ')), InvalidMessage)
    assert.throws(() => decoded(QUOTA, '['), InvalidMessage)
  })
})

/** Never resolves. */
function rejected(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}
