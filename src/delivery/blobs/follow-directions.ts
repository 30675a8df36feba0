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

/** So many useless answers in a row, and the coordinator is not worth asking. */
const MAX_ASKS = 6
/** A source that has not begun to answer by then is slow: is there a better one? */
const ANSWER_PATIENCE = 3 * second
/** After so long the same question again: what is slow may have ended meanwhile, and a better one may have come. */
const COMPLAINT_INTERVAL = 2 * second
/** A source that is slow and alive is waited for this long; whether it is alive the coordinator knows. */
const SLOW_HEADER_TIMEOUT = 10 * second

/**
 * Follows the sources that the coordinator names until one answers, or until the coordinator says something else; `alone` when its answers are of no
 * use. A source that is slow is complained of, and waited for until it or another one answers.
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
      // While nobody coordinates, the sources that were named may still answer.
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
