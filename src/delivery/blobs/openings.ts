import type { SwarmSource } from '../../swarm/swarm.ts'
import type { PeerStream } from './blob-sources.ts'

interface Opening {
  readonly ids: readonly string[]
  readonly controller: AbortController
}

/** Requests of one search that are open at a time. An honest coordinator names a new source every few seconds at most. */
const MAX_OPENINGS = 4

/**
 * The requests of one search that wait for their headers. The request to a slow source stays open while the search asks other sources: a second request
 * would cost the slow source more than the first one that goes on.
 */
export class Openings {
  readonly #open: (sources: readonly SwarmSource[], signal: AbortSignal) => Promise<PeerStream | undefined>
  readonly #openings = new Set<Opening>()
  #answer: PeerStream | undefined
  #waiters: (() => void)[] = []

  /** `open` resolves with undefined if no source gives the blob, and rejects with the signal only. */
  constructor(open: (sources: readonly SwarmSource[], signal: AbortSignal) => Promise<PeerStream | undefined>) {
    this.#open = open
  }

  /** The ids of the sources that have not answered. */
  get ids(): readonly string[] {
    return [...this.#openings].flatMap(({ ids }) => ids)
  }

  /** Asks sources, except those that are asked already, and none while {@link MAX_OPENINGS} requests are open. */
  ask(sources: readonly SwarmSource[], signal: AbortSignal): void {
    const asked = new Set(this.ids)
    const others = sources.filter(({ peer }) => !asked.has(peer.id))
    if (others.length === 0 || this.#openings.size >= MAX_OPENINGS) return
    const controller = new AbortController()
    const opening = { ids: others.map(({ peer }) => peer.id), controller }
    this.#openings.add(opening)
    this.#open(others, AbortSignal.any([signal, controller.signal])).then(
      (stream) => this.#settle(opening, stream),
      () => this.#settle(opening, undefined),
    )
  }

  /**
   * The first answer; `slow` after `patience` milliseconds without one; undefined when no source is left to wait for. Ends the other requests.
   */
  async first(patience: number): Promise<PeerStream | 'slow' | undefined> {
    let timer: NodeJS.Timeout | undefined
    // After a pause of this process, answers that have arrived meanwhile are read before a source counts as slow.
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => setImmediate(resolve), patience)
    })
    await Promise.race([late, this.#settled()])
    clearTimeout(timer)
    return this.#take() ?? (this.#openings.size > 0 ? 'slow' : undefined)
  }

  /** What `work` resolves with, or the first answer if that comes earlier: then the work is called off. */
  async during<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T | PeerStream> {
    if (this.#openings.size === 0) return work(signal)
    const controller = new AbortController()
    const working = work(AbortSignal.any([signal, controller.signal]))
    working.catch(() => {})
    const value = await Promise.race([
      working,
      this.#settled().then(() => (this.#answer === undefined ? working : undefined)),
    ])
    if (value !== undefined) return value
    controller.abort(new Error('a source has answered'))
    return this.#take() ?? working
  }

  /** Ends all requests. */
  close(): void {
    for (const { controller } of this.#openings) controller.abort(new Error('the answer is not needed any more'))
    this.#openings.clear()
    this.#take()?.cancel()
  }

  #take(): PeerStream | undefined {
    const answer = this.#answer
    this.#answer = undefined
    return answer
  }

  /** Resolves when a source has answered, or none is left. */
  #settled(): Promise<void> {
    if (this.#answer !== undefined || this.#openings.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#waiters.push(resolve))
  }

  #settle(opening: Opening, stream: PeerStream | undefined): void {
    if (!this.#openings.delete(opening)) {
      stream?.cancel()
      return
    }
    if (stream !== undefined) {
      this.close()
      this.#answer = stream
    } else if (this.#openings.size > 0) return
    for (const wake of this.#waiters.splice(0)) wake()
  }
}
