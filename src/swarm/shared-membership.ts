import { randomInt } from 'node:crypto'

import { type JoinAnswer, type JoinRequest, type Member, SELF_RANK } from './messages.ts'
import type { Participation, TransferState } from './participation.ts'
import type { Direction, Membership, SharedFailure, SwarmOutcome, SwarmQuestion, SwarmSource } from './swarm.ts'
import { second } from '../time/units.ts'

/** What a membership needs from the swarm that it is part of. */
export interface MembershipHost {
  member(): Member
  /** A clock in milliseconds that stands still while this process is not scheduled. */
  now(): number
  upstreamRate(registry: string): number | undefined
  ask(
    request: JoinRequest,
    options: { signal: AbortSignal },
  ): Promise<Exclude<JoinAnswer, { type: 'wait' }> | undefined>
  /** The transfers of an item on this node: those that run, or a new one. */
  participation(): Participation
  /** Its state is to be reported at once. */
  changed(participation: Participation): void
  ended(participation: Participation, outcome: SwarmOutcome): void
  /** Whether this node itself has reported a failure of the item in these words. */
  isOwnFailure(failure: SharedFailure): boolean
  /** A transfer of it is over, or a question. */
  released(participation: Participation): void
}

/** After so many answers in a row whose sources gave nothing, the coordinator is not worth asking. */
const MAX_FRUITLESS = 5
/**
 * After so long below the sources of coordinators without a byte, the transfer goes alone: a lying coordinator could name silent sources for ever.
 * Twice as long as an honest one is patient with a silent source (`SLOW_PATIENCE`).
 */
const MAX_LED = 30 * second

/** One transfer of this node. */
export class SharedMembership implements Membership, TransferState {
  readonly #host: MembershipHost
  #participation: Participation | undefined
  #listener: (() => void) | undefined
  #fruitless = 0
  /** When it first asked since its last byte, of the host's clock. */
  #ledSince: number | undefined
  #hasLeft = false
  position = 0
  serves = false
  parent: string | undefined
  leads = false

  constructor(host: MembershipHost) {
    this.#host = host
  }

  async ask(question: SwarmQuestion, options: { signal: AbortSignal }): Promise<Direction> {
    options.signal.throwIfAborted()
    if (this.#hasLeft || this.#isFruitless(question) || this.#isLedTooLong()) return this.#alone()
    const participation = this.#enter(question)
    participation.asking++
    participation.generation++
    let answer: Awaited<ReturnType<MembershipHost['ask']>>
    try {
      answer = await this.#host.ask(this.#request(participation, question), options)
    } finally {
      participation.asking--
      this.#host.released(participation)
    }
    return this.#take(participation, answer)
  }

  progress(position: number): void {
    if (position > this.position) {
      this.#fruitless = 0
      this.#ledSince = undefined
    }
    this.position = Math.max(this.position, position)
  }

  onRecall(listener: () => void): void {
    this.#listener = listener
  }

  recall(): void {
    this.#listener?.()
  }

  leave(outcome: SwarmOutcome): void {
    if (this.#hasLeft) return
    this.#hasLeft = true
    this.#listener = undefined
    if (this.#participation !== undefined) this.#withdraw(this.#participation, outcome)
    else if (outcome.type === 'suspect') this.#tell(outcome)
  }

  /** A blob becomes suspect when its transfer is over, or had no need of the swarm. */
  #tell(outcome: SwarmOutcome): void {
    const participation = this.#host.participation()
    this.#host.ended(participation, outcome)
    this.#host.released(participation)
    if (participation.isRunning) this.#host.changed(participation)
  }

  #enter(question: SwarmQuestion): Participation {
    this.position = question.position
    this.serves = question.serves
    // Not always the one of the last question: that one may have been ended by another transfer.
    const participation = this.#host.participation()
    this.#participation = participation
    participation.transfers.add(this)
    participation.size = question.size ?? participation.size
    return participation
  }

  #request(participation: Participation, question: SwarmQuestion): JoinRequest {
    return {
      type: 'join',
      ...participation.name,
      member: this.#host.member(),
      position: question.position,
      size: participation.size,
      // To the others all transfers are one member.
      serves: participation.serves,
      left: question.left,
      lease: participation.lease,
      upstreamRate: this.#host.upstreamRate(participation.registry),
      forwarded: false,
    }
  }

  #take(participation: Participation, answer: Awaited<ReturnType<MembershipHost['ask']>>): Direction {
    if (this.#hasLeft) {
      // It left while it was asking: what it was given goes back.
      if (answer?.type === 'upstream') this.#host.ended(participation, { type: 'cancelled' })
      return { type: 'alone' }
    }
    switch (answer?.type) {
      case undefined:
        return this.#alone()
      case 'upstream':
        this.#ledSince = undefined
        this.#lead(participation, answer.lease)
        return { type: 'upstream' }
      case 'follow':
        return this.#follow(participation, answer.sources)
      // Over for this transfer, and there is nothing to tell.
      case 'known':
        this.#forget(participation)
        return answer
      case 'failed':
        this.#forget(participation)
        return { ...answer, isOwn: this.#host.isOwnFailure(answer.failure) }
    }
  }

  #follow(participation: Participation, given: readonly SwarmSource[]): Direction {
    const self = this.#host.member().id
    const sources = given.filter((source) => source.peer.id !== self)
    if (sources.length === 0) return this.#alone()
    this.leads = false
    this.parent = sources[0]?.peer.id
    participation.settleLease()
    return { type: 'follow', sources }
  }

  /** It goes its own way, and says so: whoever coordinates next adopts it or tells it to follow. */
  #alone(): Direction {
    const participation = this.#participation
    if (participation !== undefined && !this.#hasLeft)
      this.#lead(participation, participation.lease ?? { epoch: randomInt(2 ** 40), rank: SELF_RANK })
    return { type: 'alone' }
  }

  #lead(participation: Participation, lease: NonNullable<Participation['lease']>): void {
    this.leads = true
    this.parent = undefined
    participation.lease = lease
    this.#host.changed(participation)
  }

  #withdraw(participation: Participation, outcome: SwarmOutcome): void {
    const others = [...participation.transfers].filter((transfer) => transfer !== this)
    const isOver = others.length === participation.transfers.size
    const endsAll = outcome.type === 'complete' || outcome.type === 'resolved'
    // A client that went while another one of this node goes on changes nothing, unless only its own transfer went upstream.
    const isMissed = others.length === 0 || (this.leads && !others.some((transfer) => transfer.leads))
    const isSilent = isOver || (outcome.type === 'cancelled' && !isMissed)
    if (!isSilent) this.#host.ended(participation, outcome)
    if (endsAll) participation.transfers.clear()
    this.#forget(participation)
    if (!isSilent && participation.isRunning) this.#host.changed(participation)
  }

  #forget(participation: Participation): void {
    this.leads = false
    this.parent = undefined
    participation.transfers.delete(this)
    participation.settleLease()
    this.#participation = undefined
    this.#host.released(participation)
  }

  #isFruitless(question: SwarmQuestion): boolean {
    // How long a silent source is waited for, the coordinator knows.
    if (question.left.some(({ reason }) => reason !== 'busy' && reason !== 'stalled')) this.#fruitless++
    return this.#fruitless >= MAX_FRUITLESS
  }

  #isLedTooLong(): boolean {
    const now = this.#host.now()
    this.#ledSince ??= now
    return now - this.#ledSince >= MAX_LED
  }
}
