import { setTimeout as sleep } from 'node:timers/promises'

import { hedge } from '../async/hedge.ts'
import type { Overlay, Peer } from '../overlay/overlay.ts'
import { PeerHealth } from '../providers/peer-health.ts'
import { DeadlineError, withDeadline } from '../time/deadline.ts'
import type { Coordinator, CoordinatorParts } from './coordinator.ts'
import type { JoinAnswer, JoinRequest } from './messages.ts'

type Answer = Exclude<JoinAnswer, { type: 'wait' }>

interface Reply {
  readonly answer: JoinAnswer
  readonly by: Peer
}

/** Puts a question to whoever coordinates the item now, this node included. */
export class RankAsker {
  readonly #overlay: Overlay
  readonly #coordinator: Coordinator
  readonly #parts: CoordinatorParts
  /** Coordinators that asked for patience until there was none left. */
  readonly #tiresome: PeerHealth

  constructor(overlay: Overlay, coordinator: Coordinator, parts: CoordinatorParts) {
    this.#overlay = overlay
    this.#coordinator = coordinator
    this.#parts = parts
    this.#tiresome = new PeerHealth(parts.options.failureMemory)
  }

  /** The answer; undefined if nobody gives one in time. Rejects with the signal only. */
  async ask(request: JoinRequest, { signal }: { signal: AbortSignal }): Promise<Answer | undefined> {
    const { silenceLimit, patience, shortPatience, jitter } = this.#parts.options
    const began = performance.now()
    let limit = silenceLimit
    let last: Peer | undefined
    for (;;) {
      const left = began + limit - performance.now()
      if (left <= 0) break
      const able = await this.#able(request, left, signal)
      if (able?.length === 0) break
      const reply = able && (await this.#round(able, request, left, signal))
      if (reply !== undefined && reply.answer.type !== 'wait') return reply.answer
      if (reply !== undefined) {
        last = reply.by
        limit = this.#tiresome.isFailing(last.id) ? shortPatience : patience
      }
      const pause = reply?.answer.type === 'wait' ? reply.answer.ms : jitter
      await sleep(
        Math.min(pause * (0.75 + Math.random() / 2), Math.max(began + limit - performance.now(), 0)),
        undefined,
        {
          signal,
        },
      ).catch(() => signal.throwIfAborted())
    }
    if (last !== undefined) this.#tiresome.failed(last.id)
    return undefined
  }

  /** Who is to be asked, in this order: nobody if all are dead; undefined if the overlay cannot tell. */
  async #able(request: JoinRequest, left: number, signal: AbortSignal): Promise<readonly RankedPeer[] | undefined> {
    const { ranks, health, options } = this.#parts
    try {
      const nodes =
        ranks.known(request.key) ??
        (await withDeadline(left, 'finding who coordinates', signal, (signal) => ranks.of(request.key, signal)))
      return nodes
        .map((peer, rank) => ({ peer, rank: Math.min(rank, options.replicas) }))
        .filter(({ peer }) => !health.isDead(peer))
        .slice(0, options.replicas)
    } catch {
      signal.throwIfAborted()
      return undefined
    }
  }

  async #round(
    able: readonly RankedPeer[],
    request: JoinRequest,
    left: number,
    signal: AbortSignal,
  ): Promise<Reply | undefined> {
    const { hedgeDelay, jitter } = this.#parts.options
    let patient: Reply | undefined
    const ask = async (node: RankedPeer, { signal }: { signal: AbortSignal }) => {
      const reply = await this.#ask(node, request, signal)
      if (reply.answer.type !== 'wait' || node === able[0]) return reply
      // It only stands in: the one that it waits for may answer yet.
      patient ??= reply
      return undefined
    }
    try {
      const winner = await withDeadline(left, 'asking who fetches it', signal, (signal) =>
        hedge(able, ask, { delay: hedgeDelay, jitter, signal }),
      )
      return winner?.value ?? patient
    } catch {
      signal.throwIfAborted()
      return patient
    }
  }

  async #ask({ peer, rank }: RankedPeer, request: JoinRequest, signal: AbortSignal): Promise<Reply> {
    if (peer.id === this.#overlay.self.id)
      return { answer: await this.#coordinator.decide(request, rank, { signal }), by: peer }
    const { transport, health, options } = this.#parts
    const began = performance.now()
    // Timers are a little early at times.
    const isSlow = () => performance.now() - began >= 0.9 * options.hedgeDelay
    try {
      const answer = await withDeadline(options.attemptTimeout, 'asking a coordinator', signal, (signal) =>
        transport.join(peer, request, { signal }),
      )
      if (isSlow()) health.wasSlow(peer)
      else health.answered(peer)
      return { answer, by: peer }
    } catch (error) {
      // Called off: by the client, or because another one was faster.
      if (!signal.aborted) health.unanswered(peer, error, began)
      else if (isSlow()) health.failed(peer, new DeadlineError('another one was faster'), began)
      throw error
    }
  }
}

interface RankedPeer {
  readonly peer: Peer
  readonly rank: number
}
