import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { makeImage } from '../support/image-maker.ts'
import { clusterUnavailable, createCluster } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'
import { Fleet } from './fleet.ts'

const skip = (await clusterUnavailable()) ?? false
const DIRECTORY = ['--store', 'directory']

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
    const dns = cluster.node(3).spawn(process.execPath, [main, cluster.node(3).ip, 'nabo.test', ...addresses])
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
