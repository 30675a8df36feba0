import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'

import { findTool } from '../support/debian-tool.ts'
import { NaboProcess } from '../support/nabo-process.ts'
import { execute, runSync } from '../support/netns/commands.ts'
import { HttpAgent } from '../support/netns/http-agent.ts'
import { demolish, namespacesUnavailable, sweep, uniqueName } from '../support/netns/namespaces.ts'
import { type NetHost, type NetPod, Network } from '../support/netns/network.ts'

const skip = namespacesUnavailable() ?? false
const nft = await findTool('nftables')

describe('a mirror that listens on the address of its pod', { skip }, () => {
  let directory: string
  let network: Network
  let [node, other]: NetHost[] = []
  let [pod, neighbour]: NetPod[] = []
  const agents = new Map<string, HttpAgent>()
  const nabos: NaboProcess[] = []

  before(async () => {
    await sweep()
    const name = uniqueName()
    directory = join(tmpdir(), name)
    mkdirSync(directory)
    network = new Network(name)
    network.start()
    node = network.addHost('node', 10)
    other = network.addHost('other', 11)
    pod = network.addPod(node, 'pod', 7)
    neighbour = network.addPod(node, 'neighbour', 8)
    runSync('ip', '-n', other.netns, 'route', 'add', pod.subnet, 'via', node.ip)
  })
  afterEach(async () => {
    for (const agent of agents.values()) agent.stop()
    agents.clear()
    await Promise.all(nabos.splice(0).map((nabo) => nabo.kill()))
  })
  after(() => demolish(network.namespaces, directory))

  const agentIn = (netns: string) => {
    const agent = agents.get(netns) ?? new HttpAgent(netns)
    agents.set(netns, agent)
    return agent
  }
  /** As the chart starts it without host networking, with these flags. */
  const start = async (...flags: string[]) => {
    const { netns, ip } = pod as NetPod
    const at = ['--mirror-addr', '[::]:7950', '--peer-addr', 'advertise', '--router-addr', 'advertise']
    const nabo = new NaboProcess({
      netns,
      cwd: directory,
      fetch: (url, options) => agentIn(netns).fetch(url, options),
      flags: [...at, '--advertise-addr', ip, '--insecure-without-secret', '--store', 'directory', ...flags],
    })
    nabos.push(nabo)
    await nabo.ready()
    return nabo
  }
  const answers = async (from: { netns: string } | undefined, host = pod?.ip) =>
    agentIn(from?.netns ?? '')
      .fetch(`http://${host}:7950/v2/`)
      .then(
        ({ status }) => status,
        (error: unknown) => String(error),
      )

  it('serves its own node, and neither other pods nor other nodes', async () => {
    const nabo = await start('--mirror-from', `gateway,${node?.ip}`)
    assert.equal(await answers(node), 200)
    assert.equal(await answers(pod, '127.0.0.1'), 200)
    assert.equal(await answers(pod), 200)
    for (const stranger of [other, neighbour]) assert.match(String(await answers(stranger)), /ECONNRESET|closed|socket/)
    assert.equal(await nabo.metric('nabo_mirror_connections_refused_total'), 2)
    const said = nabo.logs.filter((line) => line.includes('a connection to the mirror was refused'))
    assert.equal(said.length, 1, 'once a minute')
    assert.match(said[0] ?? '', new RegExp(`"address":"${other?.ip}".*--mirror-from`))
  })

  it('serves whom the list names besides, and everybody without a list', async () => {
    await start('--mirror-from', `gateway ${neighbour?.ip}`)
    assert.equal(await answers(neighbour), 200)
    assert.match(String(await answers(other)), /ECONNRESET|closed|socket/)
    await nabos.pop()?.kill()
    await start()
    for (const one of [node, other, neighbour]) assert.equal(await answers(one), 200)
  })

  const needsNft = 'skip' in nft ? { skip: nft.skip } : {}
  it('serves the clients of a host port on loopback, by whatever address the node shows them', needsNft, async () => {
    assert.ok('binDir' in nft && node && pod)
    const inNode = ['netns', 'exec', node.netns]
    // https://www.cni.dev/plugins/current/meta/portmap: loopback to the pod, and a source that the pod can answer.
    runSync('ip', ...inNode, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/cni0/route_localnet')
    for (const source of ['masquerade', `snat to ${node.ip}`]) {
      const rules = join(directory, 'rules.nft')
      writeFileSync(
        rules,
        `table ip portmap
delete table ip portmap
table ip portmap {
  chain output {
    type nat hook output priority -100;
    ip daddr 127.0.0.1 tcp dport 7950 dnat to ${pod.ip}:7950
  }
  chain postrouting {
    type nat hook postrouting priority 100;
    ip saddr 127.0.0.1 ip daddr ${pod.ip} ${source}
  }
}
`,
      )
      const { code, stderr } = await execute('ip', [...inNode, join(nft.binDir, 'nft'), '-f', rules])
      assert.equal(code, 0, stderr)
      await start('--mirror-from', `gateway ${node.ip}`)
      assert.equal(await answers(node, '127.0.0.1'), 200, source)
      assert.match(String(await answers(other)), /ECONNRESET|closed|socket/)
      await nabos.pop()?.kill()
      // Without the addresses that the node shows its connections by, the mirror refuses them: the rules do bring them there.
      await start('--mirror-from', '192.0.2.1')
      assert.match(String(await answers(node, '127.0.0.1')), /ECONNRESET|closed|socket/)
      await nabos.pop()?.kill()
    }
  })
})
