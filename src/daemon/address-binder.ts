import { setTimeout as sleep } from 'node:timers/promises'

import type { ListenAddress } from '../config/serve-config.ts'
import { formatHostPort } from '../overlay/host-port.ts'
import { ListenError } from '../overlay/listen-error.ts'
import type { Log } from '../telemetry/log.ts'
import { errorText } from '../telemetry/log.ts'
import { second } from '../time/units.ts'

/** How often a port is tried that another process still has. */
const PORT_RETRY = 250
/** Duplicate address detection of IPv6 takes a second; an address of a fail-over comes within seconds, or never. */
const FIRST_ADDRESS_RETRY = 1 * second
const LAST_ADDRESS_RETRY = 10 * second

/** A listener that peers or Prometheus reach, and that can therefore be on an address that comes late. */
export type OpenListener = 'peer' | 'router' | 'metrics'

export interface AddressBinderOptions {
  readonly log: Pick<Log, 'info' | 'warn'>
  /** How long {@link AddressBinder.bind} waits in all for ports that other processes have, in milliseconds; 0 if absent. */
  readonly portWait?: number | undefined
  /** Ends the waiting for ports. */
  readonly signal?: AbortSignal | undefined
}

interface LateAddress {
  readonly listener: string
  readonly where: string
  readonly attempt: () => Promise<unknown>
  /** Why the address cannot be listened on although this machine has it; undefined while it does not have it. */
  failure: string | undefined
}

/**
 * Binds addresses that are not free yet, or do not exist yet. It waits for a port that a daemon that is ending still has, and tries an
 * advertised address that this machine does not have yet again until it is there.
 */
export class AddressBinder {
  readonly #log: AddressBinderOptions['log']
  readonly #portWait: number
  readonly #signal: AbortSignal | undefined
  readonly #bound = new Set<string>()
  readonly #late = new Set<LateAddress>()
  #portDeadline: number | undefined
  #pause = FIRST_ADDRESS_RETRY
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined
  #stopped = false

  constructor({ log, portWait = 0, signal }: AddressBinderOptions) {
    this.#log = log
    this.#portWait = portWait
    this.#signal = signal
  }

  /** The addresses that are not listened on yet, such as `10.0.0.7:7951`, by listener. */
  get missing(): Readonly<Record<OpenListener, readonly string[]>> {
    const of = (name: OpenListener) => [...this.#late].filter(({ listener }) => listener === name)
    const where = (name: OpenListener) => of(name).map((late) => late.where)
    return { peer: where('peer'), router: where('router'), metrics: where('metrics') }
  }

  /** Why other nodes cannot reach this one: sentences, empty if they can. */
  reasons(): string[] {
    return this.#sentences(['peer', 'router'], (listener) => !this.#bound.has(listener))
  }

  /** The addresses that are missing although others of their listener are there: sentences, empty if there are none. */
  warnings(): string[] {
    return [
      ...this.#sentences(['peer', 'router'], (listener) => this.#bound.has(listener)),
      ...this.#sentences(['metrics'], () => true),
    ]
  }

  /**
   * Binds one address by `attempt`, which throws ListenError. Returns false if the address may come late and is not there; it is then tried
   * again until {@link stop}. Throws the error of `attempt`, or the signal's reason.
   */
  async bind(listener: string, address: ListenAddress, attempt: () => Promise<unknown>): Promise<boolean> {
    const isThere = await this.waitForPort(address, attempt)
    if (isThere) this.#bound.add(listener)
    else this.#postpone({ listener, where: formatHostPort(address), attempt, failure: undefined })
    return isThere
  }

  /** As {@link bind}, but an address that may come late is not tried again. */
  async waitForPort(address: ListenAddress, attempt: () => Promise<unknown>): Promise<boolean> {
    for (let tries = 0; ; tries += 1) {
      try {
        await attempt()
        return true
      } catch (error) {
        const code = error instanceof ListenError ? error.code : undefined
        if (code === 'EADDRNOTAVAIL' && address.mayComeLate === true) return false
        if (code !== 'EADDRINUSE' || !this.#mayWait()) throw error
        if (tries === 0)
          this.#log.warn(
            { address: formatHostPort(address), seconds: this.#portWait / second },
            'another process has the port: waiting for its end (--port-wait)',
          )
      }
      await sleep(PORT_RETRY, undefined, this.#signal === undefined ? {} : { signal: this.#signal })
    }
  }

  /** Tries nothing any more. Resolves when an attempt that is under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#round
  }

  #mayWait(): boolean {
    const now = performance.now()
    this.#portDeadline ??= now + this.#portWait
    return now < this.#portDeadline
  }

  #postpone(late: LateAddress): void {
    this.#log.warn(
      { listener: late.listener, address: late.where },
      'this machine does not have the address yet: the daemon listens on it as soon as it is there',
    )
    this.#late.add(late)
    this.#pause = FIRST_ADDRESS_RETRY
    this.#schedule()
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    if (this.#stopped || this.#late.size === 0) return
    this.#timer = setTimeout(() => {
      this.#round = this.#tryAll().finally(() => this.#schedule())
    }, this.#pause)
    this.#pause = Math.min(LAST_ADDRESS_RETRY, this.#pause * 2)
  }

  async #tryAll(): Promise<void> {
    for (const late of this.#late) {
      if (this.#stopped) return
      try {
        await late.attempt()
        this.#late.delete(late)
        this.#bound.add(late.listener)
        this.#log.info({ listener: late.listener, address: late.where }, 'listens on an address that came late')
      } catch (error) {
        this.#sayOnce(late, error)
      }
    }
  }

  /** The address may have come while another program has its port. */
  #sayOnce(late: LateAddress, error: unknown): void {
    const before = late.failure
    const text = error instanceof ListenError ? error.message : errorText(error)
    late.failure = error instanceof ListenError && error.code === 'EADDRNOTAVAIL' ? undefined : text
    if (late.failure === undefined || late.failure === before) return
    this.#log.warn({ listener: late.listener, err: text }, 'cannot listen on an address that came late; trying again')
  }

  #sentences(listeners: readonly OpenListener[], applies: (listener: OpenListener) => boolean): string[] {
    return listeners.filter(applies).flatMap((listener) => {
      const late = [...this.#late].filter((one) => one.listener === listener)
      const absent = late.filter(({ failure }) => failure === undefined).map(({ where }) => where)
      return [
        ...(absent.length === 0 ? [] : [absentSentence(listener, absent)]),
        ...late.flatMap(({ failure }) => (failure === undefined ? [] : [`the ${listener} listener waits: ${failure}`])),
      ]
    })
  }
}

function absentSentence(listener: OpenListener, addresses: readonly string[]): string {
  return `the ${listener} listener waits for ${addresses.join(', ')}, which this machine does not have yet (--advertise-addr)`
}
