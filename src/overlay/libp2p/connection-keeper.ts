import type { Connection, Libp2p, PeerId } from '@libp2p/interface'

import { second } from '../../time/units.ts'
import type { OverlayLog } from './overlay-options.ts'

const ROUND_MS = 2 * second

/** So long a connection is left alone: identify is under way, and whoever opened it may be using it. */
const SETTLED_MS = 6 * second

const IDENTIFY_TIMEOUT_MS = 4 * second
const IDENTIFY_TRIES = 3

export type KeeperHost = Pick<Libp2p, 'peerId' | 'getConnections' | 'getPeers'>

/** Mends what concurrent dials and lost messages leave behind: doubled connections, and ones that were never identified. */
export class ConnectionKeeper {
  readonly #host: KeeperHost
  readonly #identify: (connection: Connection, options: { signal: AbortSignal }) => Promise<unknown>
  readonly #isIdentified: (connection: Connection) => boolean
  readonly #log: OverlayLog
  readonly #tries = new WeakMap<Connection, number>()
  #nextAt = 0

  constructor(options: {
    host: KeeperHost
    identify: (connection: Connection, options: { signal: AbortSignal }) => Promise<unknown>
    isIdentified: (connection: Connection) => boolean
    log: OverlayLog
  }) {
    this.#host = options.host
    this.#identify = options.identify
    this.#isIdentified = options.isIdentified
    this.#log = options.log
  }

  tick(now: number, signal: AbortSignal): void {
    if (now < this.#nextAt) return
    this.#nextAt = now + ROUND_MS
    for (const peer of this.#host.getPeers()) {
      // the timeline is in libp2p's own time, the system's
      const settled = this.#host
        .getConnections(peer)
        .filter((connection) => connection.status === 'open' && Date.now() - connection.timeline.open > SETTLED_MS)
        .sort((a, b) => a.timeline.open - b.timeline.open)
      this.#closeDoubles(peer, settled)
      const [oldest] = settled
      if (oldest !== undefined && !settled.some(this.#isIdentified)) void this.#identifyAgain(oldest, signal)
    }
  }

  /** Only one of the two nodes decides, so that they never close both. */
  #closeDoubles(peer: PeerId, oldestFirst: readonly Connection[]): void {
    if (this.#host.peerId.toString() > peer.toString()) return
    for (const double of oldestFirst.slice(1)) {
      double.close({ signal: AbortSignal.timeout(second) }).catch((error: unknown) => {
        double.abort(error instanceof Error ? error : new Error(String(error)))
      })
    }
  }

  async #identifyAgain(connection: Connection, signal: AbortSignal): Promise<void> {
    const tries = this.#tries.get(connection) ?? 0
    this.#tries.set(connection, tries + 1)
    try {
      if (tries >= IDENTIFY_TRIES) throw new Error('the peer does not identify itself')
      await this.#identify(connection, { signal: AbortSignal.any([signal, AbortSignal.timeout(IDENTIFY_TIMEOUT_MS)]) })
    } catch (error) {
      this.#log.debug({ peer: connection.remotePeer.toString(), error: String(error) }, 'identify failed')
      if (tries >= IDENTIFY_TRIES) connection.abort(new Error('the peer does not identify itself'))
    }
  }
}
