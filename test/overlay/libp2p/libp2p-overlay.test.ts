import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { after, afterEach, describe, it } from 'node:test'

import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'

import { createHost } from '../../../src/overlay/libp2p/host.ts'
import { loadIdentity } from '../../../src/overlay/libp2p/identity.ts'
import type { Libp2pOverlay } from '../../../src/overlay/libp2p/libp2p-overlay.ts'
import { type OverlayLab, overlaySuite, randomKey, until } from '../overlay-suite.ts'
import { freePort } from '../../support/free-port.ts'
import { allSeeAll, bootstrapTo, ids, makeOverlay, type NodeOptions, NodeProcess, silent } from './lab.ts'

async function libp2pLab(): Promise<OverlayLab> {
  const nodes: Libp2pOverlay[] = []
  const victims: NodeProcess[] = []
  const bootstrap = bootstrapTo(() => nodes)
  return {
    async grow(count) {
      for (let i = 0; i < count; i++) nodes.push(await makeOverlay({ bootstrap, peerPort: 8000 + i }))
      await Promise.all(nodes.map((node) => node.start()))
      return nodes
    },
    async victim() {
      const routers = nodes.flatMap((node) => node.routers()).map(String)
      const victim = await NodeProcess.start({ routers })
      victims.push(victim)
      return victim
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...nodes.map((node) => node.stop()), ...victims.map((victim) => victim.kill())])
    },
  }
}

for (const size of [3, 10, 30]) overlaySuite('libp2p overlay', size, libp2pLab)

describe('libp2p overlay', () => {
  const nodes: Libp2pOverlay[] = []
  const processes: NodeProcess[] = []

  async function node(options: NodeOptions = {}): Promise<Libp2pOverlay> {
    const overlay = await makeOverlay({ bootstrap: bootstrapTo(() => nodes), ...options })
    nodes.push(overlay)
    await overlay.start()
    return overlay
  }

  const warnings: Error[] = []
  const note = (warning: Error) => warnings.push(warning)
  process.on('warning', note)

  afterEach(async () => {
    await Promise.all([...nodes.splice(0).map((one) => one.stop()), ...processes.splice(0).map((one) => one.kill())])
  })

  after(() => {
    process.off('warning', note)
    assert.deepEqual(
      warnings.filter((warning) => warning.name === 'MaxListenersExceededWarning'),
      [],
    )
  })

  it('finds the others through a single one that comes up last', async () => {
    const seeds: Libp2pOverlay[] = []
    const bootstrap = bootstrapTo(() => seeds)
    const early = await Promise.all([node({ bootstrap }), node({ bootstrap }), node({ bootstrap })])
    seeds.push(await node({ bootstrap }))
    await until(() => allSeeAll([...early, ...seeds]), 'all see all')
  })

  it('merges two clusters that learn of each other', async () => {
    const known = new Set<Libp2pOverlay>()
    const everywhere = bootstrapTo(() => known)
    const groups: Libp2pOverlay[][] = [[], []]
    for (const group of groups) {
      const inside = bootstrapTo(() => group)
      const bootstrap = {
        candidates: async (options: { signal: AbortSignal }) => [
          ...(await inside.candidates(options)),
          ...(await everywhere.candidates(options)),
        ],
      }
      for (let i = 0; i < 2; i++) group.push(await node({ bootstrap }))
    }
    await until(() => groups.every(allSeeAll), 'each cluster is complete')
    const [first, second] = groups.map(([one]) => one)
    assert.ok(first !== undefined && second !== undefined)
    assert.equal(first.peers().length, 1)
    known.add(second)
    await until(() => allSeeAll(groups.flat()), 'one cluster')
  })

  it('notices frozen peers, and takes them back when they wake', async () => {
    const here = [await node(), await node()]
    const routers = here.flatMap((one) => one.routers()).map(String)
    const frozen = await Promise.all([NodeProcess.start({ routers }), NodeProcess.start({ routers })])
    processes.push(...frozen)
    const everybody = ids([...here.map((one) => one.self), ...frozen])
    const complete = () => here.every((one) => ids([one.self, ...one.peers()]).join() === everybody.join())
    await until(complete, 'all see all')
    for (const one of frozen) one.freeze()
    await until(() => allSeeAll(here), 'the frozen ones are gone')
    for (const one of frozen) one.thaw()
    await until(complete, 'they are back')
    for (const one of frozen) {
      await until(
        async () => ids([one, ...(await one.peers()).map((id) => ({ id }))]).join() === everybody.join(),
        'all',
      )
    }
  })

  it('keeps strangers out: another secret, or none', async () => {
    const secret = randomBytes(32)
    const [a, b] = [await node({ overlayKeys: [secret] }), await node({ overlayKeys: [secret] })]
    const strangers = [await node({ overlayKeys: [randomBytes(32)] }), await node()]
    await until(() => allSeeAll([a, b]), 'members see each other')
    const refused: string[] = []
    const log = {
      debug: (_fields: object, message: string) => void refused.push(message),
      info() {},
      warn() {},
    }
    const spy = await node({ overlayKeys: [randomBytes(32)], log, bootstrap: bootstrapTo(() => [a, b]) })
    await until(() => refused.filter((line) => line === 'a bootstrap node cannot be reached').length >= 4, 'refusals')
    assert.deepEqual(
      [...strangers, spy].map((one) => one.peers().length),
      [0, 0, 0],
    )
    assert.ok(allSeeAll([a, b]))
  })

  it('accepts two secrets while they are rotated, in both directions', async () => {
    const [before, next] = [randomBytes(32), randomBytes(32)]
    const old = await node({ overlayKeys: [before] })
    const both = await node({ overlayKeys: [next, before] })
    const both2 = await node({ overlayKeys: [before, next] })
    await until(() => allSeeAll([old, both, both2]), 'the old secret still fits')
    await old.stop()
    const fresh = await node({ overlayKeys: [next] })
    await until(() => allSeeAll([both, both2, fresh]), 'the new secret fits')
  })

  it('does not mistake itself for a peer', async () => {
    const lonely: Libp2pOverlay[] = []
    let asked = 0
    const self = bootstrapTo(() => lonely)
    const overlay = await node({
      bootstrap: { candidates: (options) => (asked++, self.candidates(options)) },
    })
    lonely.push(overlay)
    await until(() => asked >= 3, 'bootstrap is asked again and again')
    assert.deepEqual(overlay.peers(), [])
    const [closest] = await overlay.closest(randomKey(), 3, { signal: AbortSignal.timeout(1000) })
    assert.deepEqual(closest, overlay.self)
  })

  it('is the same peer after a restart with the same identity', async () => {
    const identity = await loadIdentity(undefined)
    const other = await node()
    const first = await node({ identity })
    await until(() => allSeeAll([first, other]), 'first start')
    await first.stop()
    await until(() => other.peers().length === 0, 'gone')
    const second = await node({ identity })
    assert.equal(second.self.id, first.self.id)
    await until(() => allSeeAll([second, other]), 'second start')
  })

  it('asks the DHT for the closest when there are more nodes than connections', async () => {
    const all: Libp2pOverlay[] = []
    for (let i = 0; i < 12; i++) all.push(await node({ maxConnections: 5, bootstrap: bootstrapTo(() => all) }))
    const options = { signal: AbortSignal.timeout(150_000) }
    const known = new Set(all.map((one) => one.self.id))
    await until(() => all.every((one) => one.peers().length > 0), 'everyone has someone')
    const key = randomKey()
    await until(async () => {
      const found = await Promise.all(all.map((one) => one.closest(key, 3, options)))
      return new Set(found.map((peers) => peers.map((peer) => peer.id).join())).size === 1
    }, 'all agree')
    for (const peer of (await all[0]?.closest(key, 12, options)) ?? []) assert.ok(known.has(peer.id))
  })

  it('says in one sentence that its port is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const address = server.address()
    assert.ok(address !== null && typeof address === 'object')
    const overlay = await makeOverlay({ listen: [{ host: '127.0.0.1', port: address.port }] })
    await assert.rejects(overlay.start(), (error: Error) =>
      /^127\.0\.0\.1:\d+ is taken by another program: .*--router-addr$/.test(error.message),
    )
    await new Promise((resolve) => server.close(resolve))
  })

  it('is found by its members after a restart, with another identity and without a bootstrap', async () => {
    const nobody = bootstrapTo(() => [])
    const listen = [{ host: '127.0.0.1', port: await freePort() }]
    const first = await node({ listen, bootstrap: nobody })
    const others = [await node({ bootstrap: bootstrapTo(() => [first]) }), await node({ bootstrap: nobody })]
    others.push(await node({ bootstrap: bootstrapTo(() => others) }))
    await until(() => allSeeAll([first, ...others]), 'all see all')
    await first.stop()
    await until(() => allSeeAll(others), 'one is gone')
    const second = await node({ listen, bootstrap: nobody })
    assert.notEqual(second.self.id, first.self.id)
    await until(() => allSeeAll([second, ...others]), 'it is found')
  })

  it('finds the members that it kept, when all restart at once elsewhere and one is where it was', async () => {
    const nobody = bootstrapTo(() => [])
    const listen = [{ host: '127.0.0.1', port: await freePort() }]
    const keep = () => {
      const kept = { routers: [] as readonly string[], save: (list: readonly string[]) => void (kept.routers = list) }
      return kept
    }
    const files = [keep(), keep(), keep()]
    const first = await node({ listen, bootstrap: nobody, kept: files[0] })
    const others = [
      await node({ bootstrap: bootstrapTo(() => [first]), kept: files[1] }),
      await node({ bootstrap: bootstrapTo(() => [first]), kept: files[2] }),
    ]
    await until(() => allSeeAll([first, ...others]), 'all see all')
    await Promise.all([first, ...others].map((one) => one.stop()))
    assert.deepEqual(
      files.map(({ routers }) => routers.length),
      [2, 2, 2],
      'a stop forgets nobody',
    )
    const restarted = [
      await node({ listen, bootstrap: nobody, kept: files[0] }),
      await node({ bootstrap: nobody, kept: files[1] }),
      await node({ bootstrap: nobody, kept: files[2] }),
    ]
    await until(() => allSeeAll(restarted), 'all see all again')
  })

  it('is found at an address on which it listens later, and through its own dials before', async () => {
    const postponed: (() => Promise<unknown>)[] = []
    const listen = [{ host: '127.0.0.1', port: await freePort() }]
    const bind = async (_address: unknown, attempt: () => Promise<unknown>) => void postponed.push(attempt)
    const others = [await node({ bootstrap: bootstrapTo(() => []) })]
    const late = await node({ listen, bind, bootstrap: bootstrapTo(() => others) })
    await until(() => allSeeAll([late, ...others]), 'it joins by its own dial')
    const third = await node({ bootstrap: bootstrapTo(() => others) })
    await until(() => allSeeAll([late, ...others, third]), 'it hears of another one and dials it')
    assert.equal(late.routers().length, 1, 'peers are told the port all along')
    assert.deepEqual(await postponed[0]?.(), listen[0])
    for (const one of [third, ...others]) await one.stop()
    const last = await node({ bootstrap: bootstrapTo(() => [late]) })
    await until(() => allSeeAll([late, last]), 'it is dialled')
    await late.stop()
    await assert.rejects(postponed[0]?.() ?? Promise.resolve(), 'nothing is bound after the end')
  })

  it('goes on where a listener of its events throws', async () => {
    const said: string[] = []
    const log = { debug: (_fields: object, message: string) => void said.push(message), info() {}, warn() {} }
    const [first, other] = [await node({ log }), await node()]
    first.subscribe(() => {
      throw new Error('a fault of this node')
    })
    await until(() => allSeeAll([first, other]), 'they meet')
    await other.stop()
    await until(() => first.peers().length === 0, 'one is gone')
    assert.equal(said.filter((line) => line === 'an event of the overlay failed').length, 2)
  })

  it('goes on where a node announces a name that is none', async () => {
    const overlay = await node()
    const name = Buffer.from('a/b')
    const announced = [
      multiaddr(new Uint8Array([0x35, name.length, ...name, 6, 0x1f, 0x10])),
      multiaddr('/ip4/10.9.9.9/tcp/7951/http'),
    ]
    const odd = await createHost({
      ...{ listen: [], advertise: [], peerPort: 0, bootstrap: bootstrapTo(() => []), maxConnections: 9 },
      ...{ identity: await loadIdentity(undefined), log: silent },
    })
    const { addressManager } = (odd as unknown as { components: { addressManager: { getAddresses(): Multiaddr[] } } })
      .components
    addressManager.getAddresses = () => announced
    await odd.start()
    try {
      await odd.dial([...overlay.routers()])
      await until(() => overlay.peers().length === 1, 'it has joined')
      assert.equal(overlay.peers()[0]?.address, '10.9.9.9:7951')
    } finally {
      await odd.stop()
    }
  })

  it('listens on IPv4 too where it is told ::', async () => {
    const wide = await node({ listen: [{ host: '::', port: 0 }] })
    const other = await node()
    await until(() => allSeeAll([wide, other]), 'they meet over IPv4')
  })
})
