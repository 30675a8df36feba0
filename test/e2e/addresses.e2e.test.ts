import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { z } from 'zod'

import type { NaboProcess } from '../support/nabo-process.ts'
import { clusterUnavailable, createCluster } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'
import { Fleet } from './fleet.ts'

const skip = (await clusterUnavailable()) ?? false
const ON_ADVERTISED = ['--peer-addr', 'advertise', '--router-addr', 'advertise', '--metrics-addr', 'advertise:7954']
const FLAGS = ['--store', 'directory', ...ON_ADVERTISED]
/** The last part of the address that comes late. */
const NUMBER = 200
const LATE = `10.123.0.${NUMBER}`

const readinessSchema = z.object({ ready: z.boolean(), reasons: z.array(z.string()), warnings: z.array(z.string()) })
const statusSchema = z.object({ peer: z.array(z.string()), router: z.array(z.string()), metrics: z.array(z.string()) })

async function readinessOf(nabo: NaboProcess) {
  return readinessSchema.parse(JSON.parse(Buffer.from((await nabo.adminGet('/readyz')).body).toString()))
}

async function listenersOf(nabo: NaboProcess) {
  return statusSchema.parse(JSON.parse(Buffer.from((await nabo.adminGet('/api/v1/status')).body).toString()))
}

describe('listeners on the advertised addresses', { skip }, () => {
  it('are on no other address, and open on one that comes late, with a node that is not ready before', async () => {
    await using cluster = await createCluster({ nodes: 2 })
    const [first, second] = [cluster.node(0), cluster.node(1)]
    const fleet = new Fleet(cluster, [
      first.startNabo([...FLAGS, '--bootstrap', `static:${LATE}`]),
      second.startNabo([...FLAGS, '--bootstrap', 'none', '--advertise-addr', LATE]),
    ])
    const late = fleet.nabo(1)
    await fleet.nabo(0).ready()
    await late.listening()
    const before = await readinessOf(late)
    assert.equal(before.ready, false)
    assert.match(before.reasons.join('; '), new RegExp(`peer listener waits for ${LATE}:7951.*router listener`))
    assert.deepEqual(await listenersOf(late), { peer: [], router: [], metrics: [] })
    assert.equal(await late.metric('nabo_missing_addresses', { listener: 'router' }), 1)

    second.host.addAddress(NUMBER)
    await late.ready()
    assert.deepEqual(await listenersOf(late), {
      peer: [`${LATE}:7951`],
      router: [`${LATE}:7952`],
      metrics: [`${LATE}:7954`],
    })
    assert.equal(await late.metric('nabo_missing_addresses'), 0)
    await fleet.together()
    for (const [node, ip] of [
      [first, second.ip],
      [second, first.ip6],
      [second, '127.0.0.1'],
    ] as const) {
      for (const port of [7951, 7952, 7954]) {
        const url = `http://${ip.includes(':') ? `[${ip}]` : ip}:${port}/`
        await assert.rejects(node.fetch(url), /ECONNREFUSED|closed|socket/, url)
      }
    }
    assert.equal((await first.fetch(`http://${LATE}:7954/livez`)).status, 200)
  })

  it('open on the addresses that are there, and on the others later, without a pause for the cluster', async () => {
    await using cluster = await createCluster({ nodes: 2 })
    const second = cluster.node(1)
    const addresses = ['--advertise-addr', `${LATE},${second.ip}`]
    const fleet = new Fleet(cluster, [cluster.node(0).startNabo(FLAGS), second.startNabo([...FLAGS, ...addresses])])
    await Promise.all(fleet.nabos.map((nabo) => nabo.ready()))
    await fleet.together()
    const late = fleet.nabo(1)
    const { ready, warnings } = await readinessOf(late)
    assert.equal(ready, true)
    assert.match(warnings.join('; '), new RegExp(`peer listener waits for ${LATE}:7951`))
    assert.deepEqual((await listenersOf(late)).router, [`${second.ip}:7952`])
    second.host.addAddress(NUMBER)
    await eventually('it listens there too', async () => (await listenersOf(late)).router.length === 2)
    await eventually('nothing is missing', async () => (await late.metric('nabo_missing_addresses')) === 0)
    assert.equal((await cluster.node(0).fetch(`http://${LATE}:7954/livez`)).status, 200)
    await fleet.together()
  })
})

describe('a machine without a default route', { skip }, () => {
  const DIRECTORY = ['--store', 'directory']
  const WITHOUT = ['--advertise-addr']
  const peersSchema = z.object({ peers: z.array(z.object({ address: z.string() })) })

  it('announces its address on the route to the nodes of --bootstrap', async () => {
    await using cluster = await createCluster({ nodes: 2 })
    cluster.node(1).host.addAddress(NUMBER)
    const fleet = new Fleet(
      cluster,
      cluster.nodes.map((node) => node.startNabo(DIRECTORY, WITHOUT)),
    )
    await Promise.all(fleet.nabos.map((nabo) => nabo.ready()))
    await fleet.together()
    for (const [from, to] of [
      [0, 1],
      [1, 0],
    ] as const) {
      const answer = await fleet.nabo(from).adminGet('/api/v1/peers')
      const { peers } = peersSchema.parse(JSON.parse(Buffer.from(answer.body).toString()))
      assert.deepEqual(peers, [{ address: `${cluster.node(to).ip}:7951` }])
    }
  })

  it('announces its only address if --bootstrap names no node, and is told to choose among several', async () => {
    await using cluster = await createCluster({ nodes: 1 })
    const [node] = [cluster.node(0)]
    const alone = [...DIRECTORY, '--bootstrap', 'none']
    const only = node.startNabo(alone, WITHOUT)
    await only.ready()
    const status = await only.adminGet('/api/v1/status')
    assert.match(Buffer.from(status.body).toString(), new RegExp(`"address":"${node.ip}:7951"`))
    await only.stop()

    node.host.addAddress(NUMBER)
    const several = node.startNabo(alone, WITHOUT)
    await eventually('it ends', () => several.exit !== undefined)
    assert.equal(several.exit?.code, 1)
    const said = several.logs.join('\n')
    assert.match(said, /cannot tell at which address other nodes reach this machine/)
    assert.match(said, new RegExp(`${node.ip}, .*${LATE}.*set --advertise-addr`))
  })

  it('does not announce loopback to other machines', async () => {
    await using cluster = await createCluster({ nodes: 2 })
    const nabo = cluster.node(1).startNabo([...DIRECTORY, '--advertise-addr', '127.0.0.1'])
    await eventually('it ends', () => nabo.exit !== undefined)
    assert.equal(nabo.exit?.code, 1)
    assert.match(
      nabo.logs.join('\n'),
      /--bootstrap names other machines, but 127\.0\.0\.1.*is loopback: set --advertise-addr/,
    )
  })
})
