import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, it } from 'node:test'

import { clockOff, findTool } from '../support/debian-tool.ts'
import type { ClusterNode } from '../support/cluster-node.ts'
import { type Findings, findingsSchema } from '../support/findings.ts'
import type { NaboProcess } from '../support/nabo-process.ts'
import { clusterUnavailable, createCluster } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'
import { Fleet } from './fleet.ts'

const skip = (await clusterUnavailable()) ?? false
const nft = await findTool('nftables')
const wrongClock = await clockOff(20)
const FLAGS = ['--store', 'directory']
const NABO = fileURLToPath(new URL('../../bin/nabo', import.meta.url))

/** What `nabo doctor` finds on a node, but for what the disk of the test machine says. It asks the daemon for its flags. */
async function findingsOf(node: ClusterNode): Promise<Findings> {
  const { stdout } = await node.exec(NABO, ['doctor', '--json', '--admin-socket', node.adminSocket])
  return findingsSchema.parse(JSON.parse(stdout)).findings.filter(({ id }) => id !== 'space')
}

function faults(findings: Findings): string[] {
  return findings.filter(({ level }) => ['error', 'warning'].includes(level)).map(({ id }) => id)
}

function saysOf(findings: Findings, id: string): string {
  return findings.find((finding) => finding.id === id)?.says ?? `${id} has found nothing`
}

/** Log lines whose text matches, at level warn or error. */
function warnings(nabo: NaboProcess, pattern: RegExp): readonly string[] {
  return nabo.logs.filter((line) => /"level":"(?:warn|error)"/.test(line) && pattern.test(line))
}

describe('the cause of a failure is named where people look', { skip }, () => {
  it('two different secrets: on both nodes, in the log once a minute, and counted', async () => {
    await using cluster = await createCluster({ nodes: 3 })
    const [, second, odd] = [cluster.node(0), cluster.node(1), cluster.node(2)]
    const other = join(cluster.directory, 'other-secret')
    writeFileSync(other, 'the secret of another cluster, long enough\n', { mode: 0o600 })
    const fleet = new Fleet(cluster, [cluster.node(0).startNabo(FLAGS), second.startNabo(FLAGS)])
    await Promise.all(fleet.nabos.map((nabo) => nabo.ready()))
    await fleet.together()
    const stranger = odd.startNabo([...FLAGS, '--cluster-secret-file', other])
    await stranger.ready()

    const refused = (nabo: NaboProcess) => nabo.metric('nabo_nodes_refused_total', { reason: 'secret' })
    await eventually(
      'both sides count it',
      async () => (await refused(fleet.nabo(0))) > 0 && (await refused(stranger)) > 0,
    )
    const here = await findingsOf(cluster.node(0))
    assert.deepEqual(faults(here), ['secret'])
    assert.match(saysOf(here, 'secret'), new RegExp(`^${odd.ip} has another cluster secret`))
    const there = await findingsOf(odd)
    assert.equal(there.find(({ id }) => id === 'secret')?.level, 'error')
    assert.match(saysOf(there, 'secret'), new RegExp(`^${cluster.node(0).ip} has another cluster secret`))
    assert.deepEqual(faults(await findingsOf(second)), [], 'a node that neither met the odd one')
    for (const [nabo, address] of [
      [fleet.nabo(0), odd.ip],
      [stranger, cluster.node(0).ip],
    ] as const) {
      const said = warnings(nabo, /has another cluster secret/)
      assert.equal(said.filter((line) => line.includes('"address"')).length, 1, said.join('\n'))
      assert.match(said[0] ?? '', new RegExp(`"address":"${address}"`))
    }
  })

  const needsFaketime = 'skip' in wrongClock ? { skip: wrongClock.skip } : {}
  it('a clock that is 20 minutes ahead: on its node, and beside its name on the others', needsFaketime, async () => {
    assert.ok('env' in wrongClock)
    await using cluster = await createCluster({ nodes: 3 })
    const odd = cluster.node(2)
    const fleet = new Fleet(cluster, [
      ...[0, 1].map((number) => cluster.node(number).startNabo(FLAGS)),
      odd.startNabo(FLAGS, [], { env: wrongClock.env }),
    ])
    await Promise.all(fleet.nabos.map((nabo) => nabo.ready()))
    await fleet.together()

    // Its own doctor runs by the same clock.
    const { stdout } = await odd.exec('env', [
      ...Object.entries(wrongClock.env).flatMap(([name, value]) =>
        name === 'LD_PRELOAD' || name.includes('FAKE') ? [`${name}=${value}`] : [],
      ),
      ...[NABO, 'doctor', '--json', '--admin-socket', odd.adminSocket],
    ])
    const own = findingsSchema.parse(JSON.parse(stdout)).findings.filter(({ id }) => id !== 'space')
    assert.deepEqual(faults(own), ['clock'])
    assert.match(saysOf(own, 'clock'), /this node's clock is 20 minutes ahead of that of .* and others/)
    for (const number of [0, 1]) {
      assert.deepEqual(faults(await findingsOf(cluster.node(number))), [])
      const { stdout: peers } = await cluster.node(number).exec(NABO, ['peers'])
      assert.match(
        peers,
        new RegExp(`\\n${odd.ip}:7951\\n  warning: its clock is 20 minutes ahead of that of this node\\n`),
      )
      assert.match(peers, new RegExp(`${cluster.node(1 - number).ip}:7951 .* well `))
    }
    const named = /this node's clock is 20 minutes ahead of/
    await eventually('its daemon names it', async () => {
      await odd.fetch('http://127.0.0.1:7953/api/v1/checks')
      return named.test(Buffer.from((await fleet.nabo(2).adminGet('/readyz')).body).toString())
    })
    assert.equal(warnings(fleet.nabo(2), named).length, 1)
    for (const number of [0, 1]) assert.deepEqual(warnings(fleet.nabo(number), /clock/), [])
  })

  it('a node that announces the address of another one: on the others, beside its name', async () => {
    await using cluster = await createCluster({ nodes: 3 })
    const [first, second, odd] = [cluster.node(0), cluster.node(1), cluster.node(2)]
    const everywhere = ['--peer-addr', '0.0.0.0:7951', '--router-addr', '0.0.0.0:7952']
    const nabos = [
      first.startNabo(FLAGS),
      second.startNabo(FLAGS),
      odd.startNabo([...FLAGS, ...everywhere, '--advertise-addr', second.ip]),
    ]
    await Promise.all(nabos.map((nabo) => nabo.ready()))
    const answered = /answered \d+ without a valid proof: another node or another program has this address/
    const own = await eventually('both others have tried to reach it', async () => {
      const findings = await findingsOf(odd)
      return saysOf(findings, 'reachable').startsWith('2 of 2 other nodes cannot reach') ? findings : undefined
    })
    assert.deepEqual(faults(own), ['reachable'])
    assert.match(saysOf(own, 'reachable'), new RegExp(`at ${second.ip}:7951: .* ${answered.source}`))
    assert.match(
      own.find(({ id }) => id === 'reachable')?.fix ?? '',
      /is not its address in their network, set --advertise-addr/,
    )
    for (const node of [first, second]) {
      const there = await findingsOf(node)
      assert.deepEqual(faults(there), ['peers'])
      const expected = `^no answer from 1 of 2 other nodes: ${second.ip}:7951: it ${answered.source}`
      assert.match(saysOf(there, 'peers'), new RegExp(expected))
      assert.match(there.find(({ id }) => id === 'peers')?.fix ?? '', /check --advertise-addr there/)
    }
    const { stdout: peers } = await first.exec(NABO, ['peers'])
    assert.match(peers, new RegExp(`\\n${second.ip}:7951 .* well `), peers)
    assert.match(peers, new RegExp(`\\n${second.ip}:7951\\n  warning: does not answer: it ${answered.source}`), peers)
  })

  const needsNft = 'skip' in nft ? { skip: nft.skip } : {}
  it(
    'a firewall in front of the peer port: on the node that it cuts off, and on its neighbours',
    needsNft,
    async () => {
      assert.ok('binDir' in nft)
      await using cluster = await createCluster({ nodes: 3 })
      const cut = cluster.node(2)
      const rules = join(cluster.directory, 'rules.nft')
      writeFileSync(
        rules,
        'table inet firewall { chain input { type filter hook input priority 0; iifname eth0 tcp dport 7951 drop\n}\n}\n',
      )
      const loaded = await cut.exec(join(nft.binDir, 'nft'), ['-f', rules])
      assert.equal(loaded.code, 0, loaded.stderr)
      const nabos = cluster.nodes.map((node) => node.startNabo(FLAGS))
      await Promise.all(nabos.map((nabo) => nabo.ready()))
      await eventually('its neighbours have tried to reach it', async () =>
        /2 of 2 other nodes cannot reach/.test(saysOf(await findingsOf(cut), 'reachable')),
      )
      const own = await findingsOf(cut)
      assert.deepEqual(faults(own), ['reachable'])
      assert.match(saysOf(own, 'reachable'), new RegExp(`at ${cut.ip}:7951: .*cannot be reached`))
      assert.deepEqual(
        own.find(({ id }) => id === 'reachable')?.seenBy?.toSorted(),
        [0, 1].map((number) => `${cluster.node(number).ip}:7951`),
      )
      const neighbour = await findingsOf(cluster.node(0))
      assert.deepEqual(faults(neighbour), ['peers'])
      assert.match(
        saysOf(neighbour, 'peers'),
        new RegExp(
          `no answer from 1 of 2 other nodes: ${cut.ip}:7951: (?:it cannot be reached|nothing came within a second)`,
        ),
      )
    },
  )
})
