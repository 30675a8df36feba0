import { about, type About } from '../contracts/node/about.ts'
import type { NodeCaller } from '../contracts/node-caller.ts'
import type { Digest } from '../oci/digest.ts'
import type { Peer } from '../overlay/overlay.ts'
import { withDeadline } from '../time/deadline.ts'
import { second } from '../time/units.ts'

export interface AnsweredAbout extends About {
  /** Milliseconds from the request to its answer. */
  readonly roundTrip: number
  /** When the answer came, in milliseconds since the epoch by this node's clock. */
  readonly answeredAt: number
}

const TIMEOUT = 1 * second
const CONCURRENCY = 32

/**
 * Asks nodes about themselves, 32 at a time. Maps each peer's id to its answer, or to the error of a peer that gave none within a second.
 * When the signal fires, it resolves with the answers so far.
 */
export async function askAboutAll(
  nodes: NodeCaller,
  peers: readonly Peer[],
  digests: readonly Digest[],
  options: { signal: AbortSignal },
): Promise<ReadonlyMap<string, AnsweredAbout | Error>> {
  const answers = new Map<string, AnsweredAbout | Error>()
  const waiting = peers.values()
  const work = async () => {
    for (const peer of waiting) {
      const answer = await askAbout(nodes, peer, digests, options.signal).catch((error: unknown) =>
        error instanceof Error ? error : new Error(String(error)),
      )
      answers.set(peer.id, answer)
    }
  }
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, peers.length) }, work))
  return answers
}

async function askAbout(
  nodes: NodeCaller,
  peer: Peer,
  digests: readonly Digest[],
  parent: AbortSignal,
): Promise<AnsweredAbout> {
  const began = performance.now()
  const answer = await withDeadline(TIMEOUT, `asking ${peer.address}`, parent, (signal) =>
    nodes.call(peer, about, digests, { signal }),
  )
  return { ...answer, roundTrip: performance.now() - began, answeredAt: Date.now() }
}
