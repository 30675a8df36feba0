import { second } from '../../time/units.ts'

/**
 * What a request has met last at its address: `unasked` before it was sent anywhere; `connecting` without a connection to the address; `waiting` for the
 * header of the address or of its token realm; else the status that the address itself has sent.
 */
export type HealthStatus = number | 'unasked' | 'connecting' | 'waiting'

/** Below the 4 s that an impatient client waits for a tag: the next one must not find the address in use. */
const HEADER_PATIENCE = 3 * second

/** What one try at an address shows about the address itself. */
export class Health {
  /** It refused since a quota is used up, which is no illness. */
  isQuota = false
  readonly #onSilence: () => void
  #status: HealthStatus = 'unasked'
  #timer: NodeJS.Timeout | undefined

  /** `onSilence` is called when the address has sent nothing for {@link HEADER_PATIENCE}; the request goes on. */
  constructor(onSilence: () => void = () => {}) {
    this.#onSilence = onSilence
  }

  get status(): HealthStatus {
    return this.#status
  }

  /** Whether the address owes an answer. */
  get isUnanswered(): boolean {
    return this.#status === 'connecting' || this.#status === 'waiting'
  }

  set status(status: HealthStatus) {
    const wasUnanswered = this.isUnanswered
    this.#status = status
    if (this.isUnanswered === wasUnanswered) return
    clearTimeout(this.#timer)
    if (this.isUnanswered) this.#timer = setTimeout(this.#onSilence, HEADER_PATIENCE)
  }

  /** The try is over. */
  end(): void {
    clearTimeout(this.#timer)
  }
}
