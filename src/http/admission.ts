import { addressKey, isLoopbackAddress } from '../overlay/host-port.ts'

/** The number of blobs that this node sends to peers now, and the cap on it. */
export interface SendingLoad {
  readonly sending: number
  readonly capacity: number
}

/**
 * The upload slots: `capacity` blobs on their way to peers. A peer that gets none is told to ask elsewhere, never to wait.
 *
 * One address may hold no more slots than are left free: half of them alone, a third each when two addresses want all, and so on. So a
 * single machine never occupies every slot, and a peer that pulls several images at a time is not limited while the node has little to do.
 */
export class Admission {
  readonly #capacity: number
  readonly #isExempt: (address: string) => boolean
  readonly #held = new Map<string, number>()
  #sending = 0

  /** `isExempt`: addresses that may hold all slots. Loopback if absent: clusters of one machine (labs, tests) share that address. */
  constructor(capacity: number, isExempt: (address: string) => boolean = isLoopbackAddress) {
    this.#capacity = capacity
    this.#isExempt = isExempt
  }

  /**
   * Takes a slot for the IP address of a connection, undefined for one that has ended; false if there is none. Each slot that was taken is
   * given back once by {@link leave}.
   */
  enter(remoteAddress: string | undefined): boolean {
    const address = addressKey(remoteAddress)
    const held = this.#held.get(address) ?? 0
    const free = this.#capacity - this.#sending
    if (free <= 0 || (held >= free && !this.#isExempt(address))) return false
    this.#held.set(address, held + 1)
    this.#sending += 1
    return true
  }

  leave(remoteAddress: string | undefined): void {
    const address = addressKey(remoteAddress)
    const held = this.#held.get(address) ?? 0
    if (held > 1) this.#held.set(address, held - 1)
    else this.#held.delete(address)
    this.#sending -= 1
  }

  /** For coordinators: they assign nodes to sources with free slots. */
  load(): SendingLoad {
    return { sending: this.#sending, capacity: this.#capacity }
  }
}
