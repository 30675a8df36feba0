import type { Libp2p, PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'

import { second } from '../../time/units.ts'
import type { OverlayLog } from './overlay-options.ts'

/** A handshake costs tens of milliseconds of CPU at both ends: more at once only makes them time out. */
const PARALLEL_DIALS = 4

/** Of them, how many may be spent on nodes that did not answer before. */
const PARALLEL_RETRIES = 2

const DIAL_TIMEOUT_MS = 10 * second

/** Of the two nodes that hear of each other one dials at once, the other only if nothing came of that. */
const COURTESY_MS = 1.5 * second

const FIRST_RETRY_MS = 0.5 * second
const LAST_RETRY_MS = 30 * second

/** A node that nobody has been connected to for so long is forgotten; bootstrap may still name it. */
const FORGET_AFTER_MS = 300 * second

/** Above the largest cluster that makes sense. */
const MAX_CANDIDATES = 4096

interface Candidate {
  readonly peerId: PeerId
  routers: readonly Multiaddr[]
  dialAt: number
  failures: number
  forgetAt: number
  dialling: boolean
}

/** The slice of a host that the dialler needs. */
export type DiallerHost = Pick<Libp2p, 'peerId' | 'dial' | 'getConnections'> & {
  readonly peerStore: Pick<Libp2p['peerStore'], 'delete'>
}

/** Connects to every node it hears of, as long as there is room. */
export class Dialler {
  readonly #host: DiallerHost
  readonly #maxConnections: number
  readonly #clock: () => number
  readonly #log: OverlayLog
  readonly #candidates = new Map<string, Candidate>()
  #dialling = 0
  #crowded = false

  constructor(options: { host: DiallerHost; maxConnections: number; clock: () => number; log: OverlayLog }) {
    this.#host = options.host
    this.#maxConnections = options.maxConnections
    this.#clock = options.clock
    this.#log = options.log
  }

  /** True if there are more nodes than connections allowed: not everybody is known then. */
  get crowded(): boolean {
    return this.#crowded
  }

  /** How many more connections may be opened. */
  get room(): number {
    return this.#maxConnections - this.#host.getConnections().length - this.#dialling
  }

  /** Says that a node lives. Returns whether it was news. */
  hear(peerId: PeerId, routers: readonly Multiaddr[]): boolean {
    const id = peerId.toString()
    const self = this.#host.peerId.toString()
    if (id === self || this.#host.getConnections(peerId).length > 0) return false
    const known = this.#candidates.get(id)
    if (known !== undefined) {
      known.forgetAt = this.#clock() + FORGET_AFTER_MS
      if (routers.length > 0) known.routers = routers
      return false
    }
    if (routers.length === 0 || this.#candidates.size >= MAX_CANDIDATES) return false
    this.#add(peerId, routers, self < id ? 0 : COURTESY_MS)
    return true
  }

  /** Says that a member is gone: it is dialled again soon, then less and less often. */
  lose(peerId: PeerId, routers: readonly Multiaddr[]): void {
    if (!this.#candidates.has(peerId.toString()) && !this.#makeRoom()) return
    this.#add(peerId, routers, FIRST_RETRY_MS)
  }

  /** Starts the dials that are due. */
  tick(signal: AbortSignal): void {
    const now = this.#clock()
    this.#crowded = false
    if (this.#candidates.size === 0) return
    let room = this.room
    for (const [id, candidate] of this.#candidates) {
      if (candidate.dialling) continue
      if (this.#host.getConnections(candidate.peerId).length > 0) {
        this.#candidates.delete(id)
      } else if (now >= candidate.forgetAt) {
        this.#forget(id, candidate)
      } else if (now >= candidate.dialAt) {
        if (room <= 0) {
          this.#crowded ||= candidate.failures === 0
        } else if (this.#dialling < (candidate.failures === 0 ? PARALLEL_DIALS : PARALLEL_RETRIES)) {
          room--
          void this.#dial(id, candidate, signal)
        }
      }
    }
  }

  /** A lost member is more likely to live than a candidate that could not be reached. False if there is no such candidate. */
  #makeRoom(): boolean {
    if (this.#candidates.size < MAX_CANDIDATES) return true
    const idle = [...this.#candidates].filter(([, { dialling, failures }]) => !dialling && failures > 0)
    const [worst] = idle.toSorted(([, a], [, b]) => b.failures - a.failures)
    if (worst !== undefined) this.#forget(...worst)
    return worst !== undefined
  }

  #add(peerId: PeerId, routers: readonly Multiaddr[], delay: number): void {
    const now = this.#clock()
    const jitter = delay * 0.5 * Math.random()
    this.#candidates.set(peerId.toString(), {
      peerId,
      routers,
      dialAt: now + delay + jitter,
      failures: 0,
      forgetAt: now + FORGET_AFTER_MS,
      dialling: false,
    })
  }

  async #dial(id: string, candidate: Candidate, signal: AbortSignal): Promise<void> {
    candidate.dialling = true
    this.#dialling++
    try {
      const targets = candidate.routers.map((router) => router.encapsulate(`/p2p/${id}`))
      await this.#host.dial(targets, { signal: AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)]) })
      this.#candidates.delete(id)
    } catch (error) {
      if (!signal.aborted) this.#log.debug({ peer: id, error: String(error) }, 'a peer cannot be reached')
      const delay = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** candidate.failures)
      candidate.failures++
      candidate.dialAt = this.#clock() + delay * (0.75 + 0.5 * Math.random())
    } finally {
      candidate.dialling = false
      this.#dialling--
    }
  }

  #forget(id: string, candidate: Candidate): void {
    this.#candidates.delete(id)
    this.#host.peerStore.delete(candidate.peerId).catch((error: unknown) => {
      this.#log.debug({ peer: id, error: String(error) }, 'a peer cannot be forgotten')
    })
  }
}
