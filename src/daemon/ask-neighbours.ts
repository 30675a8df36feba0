import { setTimeout as sleep } from 'node:timers/promises'

import type { NodeCaller } from '../contracts/node-caller.ts'
import type { NeighbourLook } from '../doctor/neighbours.ts'
import type { Peer } from '../overlay/overlay.ts'
import { type AnsweredAbout, askAboutAll } from '../peers/ask-about.ts'
import { PeerError } from '../peers/peer-transport.ts'
import { errorText } from '../telemetry/log.ts'
import { DeadlineError } from '../time/deadline.ts'
import { second } from '../time/units.ts'

/** A member, and its answer about itself if it gave one. */
export interface AskedNeighbour {
  readonly look: NeighbourLook
  readonly said: AnsweredAbout | undefined
}

/** For all members together. */
const TIMEOUT = 3 * second
/** Pause before a member is asked again: it may be starting, or busy. */
const PAUSE = second / 2

/** Asks members about themselves, and those that give no answer a second time if there is time. Takes 3 seconds at most. */
export async function askNeighbours(
  nodes: NodeCaller,
  peers: readonly Peer[],
  options: { signal?: AbortSignal } = {},
): Promise<readonly AskedNeighbour[]> {
  const limit = AbortSignal.timeout(TIMEOUT)
  const signal = options.signal === undefined ? limit : AbortSignal.any([options.signal, limit])
  const answers = new Map(await askAboutAll(nodes, peers, [], { signal }))
  const silent = peers.filter(({ id }) => isSilent(answers.get(id)))
  if (silent.length > 0 && !signal.aborted) {
    await sleep(PAUSE, undefined, { signal }).catch(() => {})
    for (const [id, answer] of await askAboutAll(nodes, silent, [], { signal }))
      if (answer !== signal.reason) answers.set(id, answer)
  }
  // Of many silent members the last ones have no turn.
  for (const [id, answer] of answers) if (signal.aborted && answer === signal.reason) answers.delete(id)
  return peers.map((peer) => lookOf(peer, answers.get(peer.id)))
}

function isSilent(answer: AnsweredAbout | Error | undefined): boolean {
  return answer === undefined || (answer instanceof Error && kindOf(answer) === 'none')
}

/** A busy member is well: it answers, only not this question. */
function kindOf(error: Error): NeighbourLook['answer'] {
  if (!(error instanceof PeerError)) return 'none'
  if (error.reason === 'busy') return 'ok'
  return error.reason === 'refused' ? 'refused' : 'none'
}

function lookOf({ id, address }: Peer, answer: AnsweredAbout | Error | undefined): AskedNeighbour {
  if (answer === undefined) {
    const failure = 'it was not asked in time, since many other nodes give no answer'
    return { look: { id, address, answer: 'none', wasAsked: false, failure }, said: undefined }
  }
  if (answer instanceof DeadlineError)
    return { look: { id, address, answer: 'none', failure: 'nothing came within a second' }, said: undefined }
  if (answer instanceof Error) {
    const failure = withoutAddress(errorText(answer), address)
    return { look: { id, address, answer: kindOf(answer), failure }, said: undefined }
  }
  const { ready, cannotReachYou: cannotReachUs, time, roundTrip } = answer
  const clockAheadMs = time === undefined ? undefined : Math.round(time - (answer.answeredAt - roundTrip / 2))
  return { look: { id, address, answer: 'ok', ready, cannotReachUs, clockAheadMs }, said: answer }
}

/** The address stands beside the clause wherever it is shown. */
function withoutAddress(failure: string, address: string): string {
  return failure.startsWith(`${address} `) ? `it ${failure.slice(address.length + 1)}` : failure
}
