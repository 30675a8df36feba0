import type { Libp2p } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'

import type { BootstrapSource, BootstrapTarget } from '../bootstrap/bootstrap-source.ts'
import { errorText } from '../../telemetry/log.ts'
import { second } from '../../time/units.ts'
import { routerMultiaddr } from './addresses.ts'
import type { OverlayLog } from './overlay-options.ts'

const SOURCE_TIMEOUT_MS = 8 * second
const DIAL_TIMEOUT_MS = 5 * second

/** A Service's name takes seconds to appear in the cluster's DNS: what fails in the first rounds only is no news. */
const FAILURES_TO_WARN = 3

const FIRST_ROUND_MS = 1 * second
const LAST_ROUND_ALONE_MS = 10 * second
const LAST_ROUND_MS = 30 * second

/** After a hurry rounds come 1, 2, 4 and 8 s apart by themselves. */
const HURRY_PAUSE_MS = 10 * second

/** Few are enough for a foothold: the members that they lead to tell of all the others, without dialling anyone twice. */
const DIALS_PER_ROUND = 3
const DIALS_PER_ROUND_ALONE = 6

/** An address that turned out to be our own is not tried again for so long; it may be somebody else's later. */
const OWN_ADDRESS_MS = 600 * second

export type BootstrapHost = Pick<Libp2p, 'dial' | 'getConnections' | 'getMultiaddrs'>

/** Asks the bootstrap source in rounds and dials whom it names, for ever: that is how parted clusters meet again. */
export class Bootstrapper {
  readonly #source: BootstrapSource
  readonly #host: BootstrapHost
  /** True if a router at this address is connected. */
  readonly #isMember: (router: Multiaddr) => boolean
  readonly #hasRoom: () => boolean
  readonly #onFailure: (address: Multiaddr) => void
  readonly #log: OverlayLog
  readonly #ownUntil = new Map<string, number>()
  #pause = FIRST_ROUND_MS
  #nextAt = 0
  #nextHurryAt = 0
  #running = false
  #failures = 0

  constructor(options: {
    source: BootstrapSource
    host: BootstrapHost
    isMember: (router: Multiaddr) => boolean
    hasRoom: () => boolean
    /** Called after each dial that fails. */
    onFailure: (address: Multiaddr) => void
    log: OverlayLog
  }) {
    this.#source = options.source
    this.#host = options.host
    this.#isMember = options.isMember
    this.#hasRoom = options.hasRoom
    this.#onFailure = options.onFailure
    this.#log = options.log
  }

  /** Something was lost: the next round is soon. Once in ten seconds: nodes that come and go do not keep the rounds short. */
  hurry(now: number): void {
    if (now < this.#nextHurryAt) return
    this.#nextHurryAt = now + HURRY_PAUSE_MS
    this.#pause = FIRST_ROUND_MS
    this.#nextAt = Math.min(this.#nextAt, now + jittered(FIRST_ROUND_MS))
  }

  /** Starts a round if one is due. */
  tick(now: number, alone: boolean, signal: AbortSignal): void {
    if (this.#running || now < this.#nextAt) return
    this.#running = true
    void this.#round(now, alone, signal).finally(() => {
      this.#running = false
    })
    this.#nextAt = now + jittered(this.#pause)
    this.#pause = Math.min(alone ? LAST_ROUND_ALONE_MS : LAST_ROUND_MS, this.#pause * 2)
  }

  async #round(now: number, alone: boolean, signal: AbortSignal): Promise<void> {
    try {
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(SOURCE_TIMEOUT_MS)])
      const targets = await this.#source.candidates({ signal: deadline })
      this.#failures = 0
      const unknown = targets.map(addressOf).filter((address) => this.#isUnknown(address, now))
      const chosen = sample(unknown, alone ? DIALS_PER_ROUND_ALONE : DIALS_PER_ROUND)
      await Promise.all(chosen.map((address) => this.#dial(address, now, signal)))
    } catch (error) {
      if (signal.aborted) return
      this.#failures += 1
      // Once for each time that it breaks, not for each round.
      if (this.#failures === FAILURES_TO_WARN)
        this.#log.warn({ error: errorText(error) }, 'bootstrap cannot be asked; trying again')
    }
  }

  #isUnknown(address: Multiaddr, now: number): boolean {
    const text = address.toString()
    const until = this.#ownUntil.get(text)
    if (until !== undefined && now < until) return false
    this.#ownUntil.delete(text)
    const [self] = text.split('/p2p/')
    return (
      !this.#isMember(address) && !this.#host.getMultiaddrs().some((own) => own.toString().split('/p2p/')[0] === self)
    )
  }

  async #dial(address: Multiaddr, now: number, signal: AbortSignal): Promise<void> {
    if (!this.#hasRoom()) return
    try {
      await this.#host.dial(address, { signal: AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)]) })
    } catch (error) {
      // libp2p's word for a dial that ended at ourselves
      if (error instanceof Error && error.name === 'InvalidPeerIdError') {
        this.#ownUntil.set(address.toString(), now + OWN_ADDRESS_MS)
      } else if (!signal.aborted) {
        this.#log.debug({ address: address.toString(), error: String(error) }, 'a bootstrap node cannot be reached')
        this.#onFailure(address)
      }
    }
  }
}

function addressOf(target: BootstrapTarget): Multiaddr {
  return target.type === 'multiaddr' ? target.multiaddr : routerMultiaddr(target)
}

function jittered(milliseconds: number): number {
  return milliseconds * (0.75 + 0.5 * Math.random())
}

function sample<T>(items: readonly T[], count: number): T[] {
  const rest = [...items]
  const chosen: T[] = []
  while (chosen.length < count && rest.length > 0) {
    chosen.push(...rest.splice(Math.floor(Math.random() * rest.length), 1))
  }
  return chosen
}
