import type { ClusterNode } from '../../../test/support/cluster-node.ts'
import type { MirrorProcess } from '../contenders/contender.ts'
import type { Version } from '../images.ts'
import { wrongContent } from '../measure/content.ts'
import type { Run } from '../results.ts'

/** A version that a node is said to have. */
export interface Held {
  readonly node: Pick<ClusterNode, 'name' | 'blobSha256'>
  readonly version: Version
}

/** Compares what nodes have with what was pushed. What they had before counts where it is wrong, but alone proves nothing. */
export async function judge(
  pulled: readonly Held[],
  seeded: readonly Held[],
  ended: readonly Pick<MirrorProcess, 'node' | 'ended'>[],
): Promise<Pick<Run, 'contentOk' | 'failure'>> {
  const wrong = new Set<string>()
  for (const { node, version } of [...pulled, ...seeded]) {
    for (const digest of await wrongContent(node, version)) wrong.add(`${digest} on ${node.name} is wrong`)
  }
  const failures = [...ended.map((process) => `the mirror on ${process.node} ended (${process.ended()})`), ...wrong]
  return {
    ...(wrong.size > 0 ? { contentOk: false } : pulled.length > 0 ? { contentOk: true } : {}),
    ...(failures.length > 0 ? { failure: failures.join('; ').slice(0, 2000) } : {}),
  }
}
