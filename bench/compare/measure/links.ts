import type { ClusterNode } from '../../../test/support/cluster-node.ts'
import { execute } from '../../../test/support/netns/commands.ts'
import type { Site } from '../contenders/contender.ts'

/** Bytes on the links since they were made, with the headers of every frame. */
export interface LinkBytes {
  /** By the name of the node, or of the extra host. */
  readonly sent: ReadonlyMap<string, number>
  readonly registryReceived: number
}

export async function readLinks({ cluster, nodes, host }: Site): Promise<LinkBytes> {
  const places = [...nodes, host]
  const [registry, ...sent] = await Promise.all([
    linkOf(cluster.hubHost.netns),
    ...places.map(async (node) => [node.name, await sentBytes(node)] as const),
  ])
  return { sent: new Map(sent), registryReceived: registry.received }
}

/** What a node has sent, to whomever, since its link was made. */
export async function sentBytes({ host }: Pick<ClusterNode, 'host'>): Promise<number> {
  return (await linkOf(host.netns)).sent
}

/** Bytes that all nodes and the extra host have sent to each other so far: all that they sent, without what reached the registry. */
export function insideBytes({ sent, registryReceived }: LinkBytes): number {
  return sent.values().reduce((sum, bytes) => sum + bytes, 0) - registryReceived
}

async function linkOf(netns: string): Promise<{ received: number; sent: number }> {
  const { stdout } = await execute('ip', ['netns', 'exec', netns, 'cat', '/proc/net/dev'])
  const line = stdout.split('\n').find((text) => text.trim().startsWith('eth0:'))
  const fields = (line?.split(':')[1] ?? '').trim().split(/\s+/).map(Number)
  const [received, sent] = [fields[0], fields[8]]
  if (received === undefined || sent === undefined) throw new Error(`${netns} has no counters`)
  return { received, sent }
}
