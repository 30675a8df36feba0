import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type Socket, connect } from 'node:net'
import { afterEach, describe, it } from 'node:test'

import type { Libp2pOverlay } from '../../../src/overlay/libp2p/libp2p-overlay.ts'
import { PendingConnections } from '../../../src/overlay/libp2p/pending-connections.ts'
import { recordedLog } from '../../support/recorded-log.ts'
import { until } from '../overlay-suite.ts'
import { allSeeAll, bootstrapTo, makeOverlay, silent } from './lab.ts'

describe('the router among strangers', () => {
  const nodes: Libp2pOverlay[] = []
  const sockets: Socket[] = []
  const overlayKeys = [randomBytes(32)]

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    await Promise.all(nodes.splice(0).map((one) => one.stop()))
  })

  async function node(pending?: PendingConnections): Promise<Libp2pOverlay> {
    const options = { bootstrap: bootstrapTo(() => nodes.slice(0, 1)), overlayKeys }
    const overlay = await makeOverlay(pending === undefined ? options : { ...options, pending })
    nodes.push(overlay)
    await overlay.start()
    return overlay
  }

  function portOf(overlay: Libp2pOverlay): number {
    const tcp = overlay
      .routers()[0]
      ?.getComponents()
      .find(({ name }) => name === 'tcp')
    return Number(tcp?.value ?? assert.fail('it listens'))
  }

  async function dialMany(port: number, count: number, localAddress: string): Promise<Socket[]> {
    const opened = Array.from({ length: count }, () => connect({ port, host: '127.0.0.1', localAddress }))
    sockets.push(...opened)
    for (const socket of opened) socket.on('error', () => {})
    await Promise.all(opened.map((socket) => once(socket, 'connect')))
    return opened
  }

  it('admits new nodes while silent connections are opened again and again', async () => {
    const pending = new PendingConnections({ log: silent })
    const first = await node(pending)
    const port = portOf(first)
    const ending = new AbortController()
    const attack = async () => {
      while (!ending.signal.aborted) {
        const wave = [...(await dialMany(port, 150, '127.0.0.1')), ...(await dialMany(port, 150, '127.0.0.2'))]
        await new Promise((resolve) => setTimeout(resolve, 500))
        for (const socket of wave.slice(0, 100)) socket.destroy()
      }
    }
    const attacking = attack()
    try {
      await until(() => pending.size >= 250, 'both addresses are at their limit')
      for (let n = 0; n < 3; n += 1) await node()
      await until(() => allSeeAll(nodes), 'all have joined')
    } finally {
      ending.abort()
      await attacking
    }
  })

  it('aborts the oldest pending connections at a limit, and warns once', async () => {
    const log = recordedLog()
    const pending = new PendingConnections({ log, limits: { perAddress: 10, total: 15 } })
    const port = portOf(await node(pending))
    const old = await dialMany(port, 10, '127.0.0.1')
    await until(() => pending.size === 10, 'all are pending')
    const fresh = await dialMany(port, 10, '127.0.0.1')
    await until(() => old.every(({ closed }) => closed), 'the old ones are aborted')
    assert.equal(fresh.filter(({ closed }) => closed).length, 0)
    assert.equal(pending.refused.address, 10)
    assert.equal(pending.whyClosedToMembers(), undefined, 'other addresses can connect')

    await dialMany(port, 10, '127.0.0.2')
    await until(() => pending.refused.total === 5, 'the total limit is reached')
    assert.match(pending.whyClosedToMembers() ?? '', /^the router aborts connections of members/)
    assert.equal(pending.size, 15)
    assert.equal(log.lines.length, 2, log.lines.join('\n'))
    assert.match(log.lines[0] ?? '', /^warn one address .*"listener":"router","limit":10,"address":"127.0.0.1"/)
  })

  it('forgets a pending connection that closes, and one whose handshake has succeeded', async () => {
    const pending = new PendingConnections({ log: silent })
    const first = await node(pending)
    const [socket] = await dialMany(portOf(first), 1, '127.0.0.1')
    await until(() => pending.size === 1, 'it is pending')
    socket?.destroy()
    await until(() => pending.size === 0, 'it is forgotten')
    await node()
    await until(() => allSeeAll(nodes), 'a member has joined')
    assert.equal(pending.size, 0)
    assert.deepEqual(pending.refused, { silent: 0, address: 0, total: 0, full: 0, bytes: 0 })
  })

  it('ends a silent connection by itself', async () => {
    const pending = new PendingConnections({ log: silent })
    const silentOnes = await dialMany(portOf(await node(pending)), 20, '127.0.0.1')
    await until(() => silentOnes.every(({ closed }) => closed), 'the upgrade timeout has ended them')
    assert.equal(pending.size, 0)
  })
})
