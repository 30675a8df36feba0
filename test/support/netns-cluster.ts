import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { ClusterNode } from './cluster-node.ts'
import { type ContainerdVariant, findContainerd } from './containerd.ts'
import type { Hub, HubOptions } from './hub/hub.ts'
import { startHub } from './hub/start-hub.ts'
import { namespacesUnavailable, sweep, uniqueName } from './netns/namespaces.ts'
import { type NetHost, Network } from './netns/network.ts'
import { teardownOf } from './netns/teardown.ts'

export interface ClusterOptions {
  readonly nodes: number
  /** Names of more hosts, with links like the nodes', which are no nodes. */
  readonly hosts?: readonly string[]
  readonly hub?: HubOptions
  /** A second registry, on a host of its own. */
  readonly mirror?: HubOptions
  /** Of the nodes; the one that is chosen if absent. */
  readonly containerd?: ContainerdVariant | undefined
  /** Of each node's link, as `200mbit`. */
  readonly rate?: string
  /** Of the hub's link. */
  readonly hubRate?: string
}

/** Nodes in network namespaces, each for a containerd and a Nabo of its own, and a Docker Hub stand-in. */
export interface Cluster {
  readonly nodes: readonly ClusterNode[]
  readonly hosts: readonly ClusterNode[]
  readonly hub: Hub
  /** The hub's registry, as the nodes reach it. */
  readonly hubUrl: string
  /** Where the hub runs. */
  readonly hubHost: NetHost
  /** The second registry. */
  readonly mirror: Hub | undefined
  /** Removed in the end. */
  readonly directory: string
  /** A file with a secret, for `--cluster-secret-file`. */
  readonly secretFile: string
  /** The node with this number, from 0. */
  node(number: number): ClusterNode
  /**
   * Ends all processes, takes the namespaces down and removes the directory. Also runs by itself on exit and on SIGINT, SIGTERM and SIGHUP, which
   * then end the process, unless it listens for them itself.
   */
  dispose(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const HUB_NUMBER = 2
const CDN_NUMBER = 3
const MIRROR_NUMBER = 4
const FIRST_NODE_NUMBER = 10

/** Why there can be no cluster here, in a sentence; undefined if there can. */
export async function clusterUnavailable(containerd?: ContainerdVariant): Promise<string | undefined> {
  const reason = namespacesUnavailable()
  if (reason !== undefined) return reason
  const tools = await findContainerd(containerd)
  return 'skip' in tools ? tools.skip : undefined
}

/** Makes the namespaces and starts the hub. What runs on the nodes is up to the caller. Needs root. */
export async function createCluster(options: ClusterOptions): Promise<Cluster> {
  const tools = await findContainerd(options.containerd)
  if ('skip' in tools) throw new Error(tools.skip)
  await sweep()
  const name = uniqueName()
  const directory = join(tmpdir(), name)
  const network = new Network(name)
  const { end, throwIfEnded } = teardownOf(network, directory)
  try {
    mkdirSync(directory)
    const secretFile = join(directory, 'secret')
    writeFileSync(secretFile, 'the secret of a test cluster, long enough\n', { mode: 0o600 })
    network.start()
    const hubHost = network.addHost('hub', HUB_NUMBER)
    hubHost.setRate(options.hubRate)
    const hub = await startHub({
      registry: { host: hubHost.ip, port: 5000 },
      auth: { host: hubHost.ip, port: 5001 },
      // Another host, as in real life: to the same one a client takes its Authorization along, whatever the port.
      cdn: { host: hubHost.addAddress(CDN_NUMBER), port: 5002 },
      ...options.hub,
      netns: hubHost.netns,
    })
    throwIfEnded()
    const mirror = options.mirror === undefined ? undefined : await startMirror(network, options.mirror)
    throwIfEnded()
    const shared = {
      hubUrl: hub.registryUrl,
      secretFile,
      containerd: tools,
      bootstrap: `10.123.0.${FIRST_NODE_NUMBER}`,
    }
    const addNode = (name: string, i: number) => {
      const host = network.addHost(`n${i}`, FIRST_NODE_NUMBER + i)
      host.setRate(options.rate)
      return new ClusterNode({ ...shared, name, host, directory: join(directory, `n${i}`) })
    }
    const nodes = Array.from({ length: options.nodes }, (_, i) => addNode(`node-${i}`, i))
    const hosts = (options.hosts ?? []).map((name, i) => addNode(name, options.nodes + i))
    return {
      nodes,
      hosts,
      hub,
      hubUrl: hub.registryUrl,
      hubHost,
      mirror,
      directory,
      secretFile,
      node: (number) => nodes[number] ?? failNoNode(number),
      dispose: end,
      [Symbol.asyncDispose]: end,
    }
  } catch (error) {
    await end()
    throw error
  }
}

async function startMirror(network: Network, options: HubOptions): Promise<Hub> {
  const host = network.addHost('mirror', MIRROR_NUMBER)
  const at = (port: number) => ({ host: host.ip, port })
  return startHub({ registry: at(5000), auth: at(5001), cdn: at(5002), ...options, netns: host.netns })
}

function failNoNode(number: number): never {
  throw new Error(`the cluster has no node ${number}`)
}
