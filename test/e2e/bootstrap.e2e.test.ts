import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { makeImage } from '../support/image-maker.ts'
import type { ClusterNode } from '../support/cluster-node.ts'
import type { NaboProcess } from '../support/nabo-process.ts'
import { clusterUnavailable, createCluster } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'
import { Fleet } from './fleet.ts'

const skip = (await clusterUnavailable()) ?? false
const DIRECTORY = ['--store', 'directory']
const ON_ADVERTISED = ['--peer-addr', 'advertise', '--router-addr', 'advertise']

/** Three nodes that have found each other by the records of a DNS server, which has gone since. */
async function clusterWithoutDns(flagsOf: (node: ClusterNode) => readonly string[] = () => []) {
  const cluster = await createCluster({ nodes: 3, hosts: ['dns'] })
  try {
    const [host] = cluster.hosts
    assert.ok(host)
    const main = new URL('../support/dns-main.ts', import.meta.url).pathname
    const addresses = cluster.nodes.map(({ ip }) => ip)
    const dns = host.spawn(process.execPath, [main, host.ip, `nabo.test=${addresses.join(',')}`])
    await eventually('the DNS server runs', () => dns.lines.includes('answering'))
    const bootstrap = ['--bootstrap', 'dns:nabo.test', '--bootstrap-dns', host.ip]
    const allFlags = (node: ClusterNode) => [...DIRECTORY, ...ON_ADVERTISED, ...bootstrap, ...flagsOf(node)]
    const fleet = new Fleet(
      cluster,
      cluster.nodes.map((node) => node.startNabo(allFlags(node))),
    )
    await fleet.together()
    await dns.kill()
    return { fleet, flags: (number: number) => allFlags(cluster.node(number)) }
  } catch (error) {
    await cluster.dispose()
    throw error
  }
}

const runDir = (node: ClusterNode) => ['--run-dir', join(node.directory, 'run')]

async function idOf(nabo: NaboProcess): Promise<string> {
  const { body } = await nabo.adminGet('/api/v1/status')
  return (JSON.parse(Buffer.from(body).toString()) as { self: { id: string } }).self.id
}

describe('a cluster that comes up all at once', { skip }, () => {
  it('finds itself when every node names all, itself too', async () => {
    await using fleet = await Fleet.start({
      nodes: 4,
      containerd: false,
      flags: ({ nodes }) => [...DIRECTORY, '--bootstrap', `static:${nodes.map(({ ip }) => ip).join(',')}`],
    })
    await fleet.together()
  })

  it('finds itself by the records of a name, from the DNS server that it is told', async () => {
    await using cluster = await createCluster({ nodes: 4 })
    const addresses = cluster.nodes.map(({ ip }) => ip)
    const main = new URL('../support/dns-main.ts', import.meta.url).pathname
    const dns = cluster.node(3).spawn(process.execPath, [main, cluster.node(3).ip, `nabo.test=${addresses.join(',')}`])
    await eventually('the DNS server runs', () => dns.lines.includes('answering'))
    const flags = ['--bootstrap', 'dns:nabo.test', '--bootstrap-dns', cluster.node(3).ip]
    const fleet = new Fleet(
      cluster,
      cluster.nodes.map((node) => node.startNabo([...DIRECTORY, ...flags])),
    )
    await fleet.together()
  })

  it('needs no IPv4 between its nodes', async () => {
    await using fleet = await Fleet.start({
      nodes: 2,
      containerd: false,
      flags: ({ nodes }, number) => {
        const bootstrap = `static:${nodes.map(({ ip6 }) => `[${ip6}]:7952`).join(',')}`
        return [...DIRECTORY, '--bootstrap', bootstrap, '--advertise-addr', nodes[number]?.ip6 ?? '']
      },
    })
    const image = makeImage({ layers: [{ size: 300_000, seed: 'six' }] })
    await fleet.cluster.hub.publish('app', '1', image)
    const [layer] = image.layers
    assert.ok(layer)
    for (const number of [0, 1]) {
      const ask = (path: string) =>
        fleet.node(number).fetch(`http://127.0.0.1:7950/v2/library/app/${path}?ns=docker.io`)
      assert.equal((await ask('manifests/1')).status, 200)
      const { body } = await ask(`blobs/${layer.descriptor.digest}`)
      assert.equal(digestOf(body), layer.descriptor.digest)
      await eventually('it is announced', async () => (await fleet.nabo(number).metric('nabo_index_own_keys')) === 3)
      await fleet.together()
    }
    const answer = fleet.answers(1, layer.descriptor.digest)[0]
    assert.equal(answer?.peer, `[${fleet.node(0).ip6}]:7951`)
  })
})

describe('a cluster whose DNS is down', { skip }, () => {
  it('finds a daemon that restarts and remembers nothing', async () => {
    const { fleet, flags } = await clusterWithoutDns()
    await using _ = fleet
    const before = await idOf(fleet.nabo(1))
    await fleet.nabo(1).kill()
    await fleet.together(0, 2)
    fleet.restartNabo(1, flags(1))
    await fleet.together()
    assert.notEqual(await idOf(fleet.nabo(1)), before)
  })

  it('is joined again by a daemon that restarts at another address, by the members that it kept', async () => {
    const { fleet, flags } = await clusterWithoutDns(runDir)
    await using _ = fleet
    const before = await idOf(fleet.nabo(1))
    // The members are written some seconds after they joined, or at the end.
    assert.equal((await fleet.nabo(1).stop()).code, 0)
    await fleet.together(0, 2)
    const address = fleet.node(1).host.addAddress(60)
    fleet.restartNabo(1, [...flags(1), '--advertise-addr', address])
    await fleet.together()
    assert.equal(await idOf(fleet.nabo(1)), before)
  })

  it('is one again after all of it was killed at once', async () => {
    const { fleet, flags } = await clusterWithoutDns(runDir)
    await using _ = fleet
    const files = [0, 1, 2].map((number) => join(fleet.node(number).directory, 'run/members.json'))
    for (const file of files)
      await eventually('the members are kept', async () => {
        const text = await readFile(file, 'utf8').catch(() => '')
        return text.split('/tcp/7952').length === 3
      })
    await Promise.all(fleet.nabos.map((nabo) => nabo.kill()))
    for (const number of [0, 1, 2]) fleet.restartNabo(number, flags(number))
    await fleet.together()
  })
})
