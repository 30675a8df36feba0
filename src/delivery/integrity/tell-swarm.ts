import type { Swarm } from '../../swarm/swarm.ts'
import type { Suspicion } from './suspects.ts'

/** Tells those who coordinate a suspect blob, so that its senders are not handed out and its followers look elsewhere. */
export function tellSwarm({ digest, repositories, senders, isLikely }: Suspicion, swarm: Pick<Swarm, 'enter'>): void {
  if (!isLikely || senders.length === 0) return
  const outcome = { type: 'suspect', senders: senders.map(({ peer }) => peer.id) } as const
  for (const repository of repositories) swarm.enter({ repository, content: { kind: 'blob', digest } }).leave(outcome)
}
