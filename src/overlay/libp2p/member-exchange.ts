import type { Libp2p } from '@libp2p/interface'

import { second } from '../../time/units.ts'
import { answerMemberList, askMemberList, type KnownNode, MEMBERS_PROTOCOL } from './member-list.ts'
import type { Member, MemberTable } from './member-table.ts'
import type { OverlayLog } from './overlay-options.ts'

const ANSWER_TIMEOUT_MS = 3 * second
const FIRST_PAUSE_MS = 1 * second
const LAST_PAUSE_MS = 30 * second
/** After a hurry the questions are 1, 1.5, 2.3 and 3.4 s apart by themselves. */
const HURRY_PAUSE_MS = 10 * second

export type ExchangeHost = Pick<Libp2p, 'handle' | 'getConnections'>

/** Asks one member at a time whom it knows, often while that brings news, seldom when all is quiet; and answers the same. */
export class MemberExchange {
  readonly #host: ExchangeHost
  readonly #members: MemberTable
  /** Takes a node in; returns whether it was news. */
  readonly #hear: (node: KnownNode) => boolean
  readonly #log: OverlayLog
  #pause = FIRST_PAUSE_MS
  #nextAt = 0
  #nextHurryAt = 0
  #running = false

  constructor(options: {
    host: ExchangeHost
    members: MemberTable
    hear: (node: KnownNode) => boolean
    log: OverlayLog
  }) {
    this.#host = options.host
    this.#members = options.members
    this.#hear = options.hear
    this.#log = options.log
  }

  /** Answers others' questions; `signal` ends answers that are under way. */
  async serve(signal: AbortSignal): Promise<void> {
    await this.#host.handle(
      MEMBERS_PROTOCOL,
      async (stream) => {
        const deadline = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)])
        // A node that asked and went away is no failure of this one.
        await answerMemberList(stream, () => this.#members.list(), { signal: deadline }).catch(() => undefined)
      },
      { maxInboundStreams: 4, maxOutboundStreams: 4 },
    )
  }

  /** A member came or went: the next question is soon. Once in ten seconds: nodes that come and go do not keep the questions frequent. */
  hurry(now: number): void {
    if (now < this.#nextHurryAt) return
    this.#nextHurryAt = now + HURRY_PAUSE_MS
    this.#pause = FIRST_PAUSE_MS
    this.#nextAt = Math.min(this.#nextAt, now + jittered(FIRST_PAUSE_MS))
  }

  /** Starts a question if one is due and there is somebody to ask. */
  tick(now: number, signal: AbortSignal): void {
    if (this.#running || now < this.#nextAt || this.#members.size === 0) return
    const members = [...this.#members.list()]
    const member = members[Math.floor(Math.random() * members.length)]
    if (member === undefined) return
    this.#running = true
    this.#nextAt = now + jittered(this.#pause)
    this.#pause = Math.min(LAST_PAUSE_MS, this.#pause * 1.5)
    void this.#ask(member, signal).finally(() => {
      this.#running = false
    })
  }

  async #ask(member: Member, signal: AbortSignal): Promise<void> {
    const [connection] = this.#host.getConnections(member.peerId)
    if (connection === undefined) return
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)])
    try {
      const stream = await connection.newStream(MEMBERS_PROTOCOL, { signal: deadline })
      const news = (await askMemberList(stream, { signal: deadline })).filter(this.#hear)
      if (news.length > 0) this.#pause = FIRST_PAUSE_MS
    } catch (error) {
      if (!signal.aborted) this.#log.debug({ peer: member.peer.id, error: String(error) }, 'no member list')
    }
  }
}

function jittered(milliseconds: number): number {
  return milliseconds * (0.75 + 0.5 * Math.random())
}
