import type { Direction, SwarmSource } from '../../swarm/swarm.ts'
import { second } from '../../time/units.ts'
import type { PeerStream } from './blob-sources.ts'
import { Openings } from './openings.ts'

/** What a search can do while the swarm directs it. All but `complain` reject with the signal only. */
export interface SearchSteps {
  /** Asks where to go on. */
  ask(signal: AbortSignal): Promise<Direction>
  /** Opens the blob at one of these sources; undefined if none gives it. `headerTimeout` is in milliseconds. */
  open(
    sources: readonly SwarmSource[],
    options: { headerTimeout: number; signal: AbortSignal },
  ): Promise<PeerStream | undefined>
  /** Says with the next question that these sources, by their ids, do not answer. */
  complain(ids: readonly string[]): void
}

/** The search leaves the swarm after this number of answers in a row whose sources all failed. */
const MAX_ASKS = 6
/** A source that has sent no header by then is slow, and the search asks the coordinator for a better one. */
const ANSWER_PATIENCE = 3 * second
/** Time between two questions while a source is slow: the source may have ended meanwhile, or a better one may have come. */
const COMPLAINT_INTERVAL = 2 * second
/** Time that one request waits for the header of a slow source. The coordinator knows whether the source is alive. */
const SLOW_HEADER_TIMEOUT = 10 * second

/**
 * Asks the sources that the coordinator names until one of them answers, or until the coordinator gives another direction. Resolves with `alone` if
 * the named sources all fail. The search reports a slow source to the coordinator, and keeps its request open until a source answers.
 */
export async function followDirections(
  steps: SearchSteps,
  signal: AbortSignal,
): Promise<PeerStream | Exclude<Direction, { type: 'follow' }>> {
  const openings = new Openings((sources, signal) =>
    steps.open(sources, { headerTimeout: SLOW_HEADER_TIMEOUT, signal }),
  )
  try {
    for (let asked = 0, patience = ANSWER_PATIENCE; asked < MAX_ASKS;) {
      const direction = await openings.during(signal, (signal) => steps.ask(signal))
      if (!('type' in direction)) return direction
      // Without a coordinator, the sources that were named before may still answer.
      if (direction.type !== 'follow' && (direction.type !== 'alone' || openings.ids.length === 0)) return direction
      if (direction.type === 'follow') openings.ask(direction.sources, signal)
      const stream = await openings.first(patience)
      signal.throwIfAborted()
      if (stream !== 'slow' && stream !== undefined) return stream
      if (stream === 'slow') patience = COMPLAINT_INTERVAL
      else asked += 1
      steps.complain(openings.ids)
    }
    return { type: 'alone' }
  } finally {
    openings.close()
  }
}
