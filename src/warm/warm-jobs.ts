import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import { Semaphore } from '../async/semaphore.ts'
import { formatPlatform } from '../oci/platform.ts'
import { type Repository, repositoryKey } from '../oci/reference.ts'
import type { Log } from '../telemetry/log.ts'
import { minute, second } from '../time/units.ts'
import { type WarmOrder, type WarmStatus, type WarmWish, formatReference } from './messages.ts'
import { WarmJob, type WarmJobOptions } from './warm-job.ts'

/** Answers what other nodes, and this one, wish to have here. */
export interface WarmHandler {
  handleWarm(wish: WarmWish): Promise<WarmStatus>
}

export interface WarmJobsOptions extends WarmJobOptions {
  readonly zone: string | undefined
  /** Whether this node mirrors images of a repository at all. */
  mirrors(repository: Repository): boolean
  readonly log: Pick<Log, 'info'>
  readonly now?: () => number
}

/** Pulled at the same time: more only share the same link. */
const MAX_RUNNING = 3
const MAX_JOBS = 64
const MAX_TICKETS = 64
const MAX_TAKEN_BACK = 256
/** Whoever has not asked for so long has gone, and keeps nobody else from cancelling. */
const INTEREST = 30 * second
/** How long an outcome is kept for nodes that ask later. */
const OUTCOME_LIFE = 10 * minute

interface Entry {
  readonly job: WarmJob
  /** When each ticket was last heard of. */
  readonly tickets: Map<string, number>
  overSince: number | undefined
}

/**
 * The images that this node was asked to have. Orders for the same image are one job. A job goes on when nobody asks after it any more (the
 * image is wanted all the same); it ends early only when whoever wished for it takes that back.
 */
export class WarmJobs implements WarmHandler {
  readonly #options: WarmJobsOptions
  readonly #now: () => number
  readonly #entries = new Map<string, Entry>()
  /** Tickets that count no more: a wish may be overtaken by its own end. */
  readonly #takenBack = new LRUCache<string, true>(atMost(MAX_TAKEN_BACK))
  readonly #pulls = new Semaphore(MAX_RUNNING)

  constructor(options: WarmJobsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  async handleWarm(wish: WarmWish): Promise<WarmStatus> {
    const { zone } = this.#options
    return { ...(await this.#answer(wish)), ...(zone === undefined ? {} : { zone }) }
  }

  /** Ends all jobs. */
  stop(): void {
    for (const { job } of this.#entries.values()) job.cancel('the node stops')
  }

  async #answer({ ticket, order, zones, cancel = false }: WarmWish): Promise<WarmStatus> {
    const { zone } = this.#options
    this.#forgetOld()
    const key = keyOf(order)
    const known = this.#entries.get(key)
    if (cancel) return this.#takeBack(ticket, known)
    if (this.#takenBack.has(ticket)) return { state: 'cancelled' }
    if (zones !== undefined && (zone === undefined || !zones.includes(zone))) return { state: 'elsewhere' }
    const { registry, name } = order.reference
    if (!this.#options.mirrors({ registry, name }))
      return { state: 'unsupported', message: `${repositoryKey({ registry, name })} is not mirrored on this node` }
    // What is over for others may be gone from here again.
    const entry =
      known === undefined || (known.job.isOver && !known.tickets.has(ticket)) ? this.#begin(key, order) : known
    if (entry === undefined || (!entry.tickets.has(ticket) && entry.tickets.size >= MAX_TICKETS))
      return { state: 'failed', message: 'this node has too many images to warm already' }
    entry.tickets.set(ticket, this.#now())
    return entry.job.status()
  }

  async #takeBack(ticket: string, entry: Entry | undefined): Promise<WarmStatus> {
    this.#takenBack.set(ticket, true)
    if (entry?.tickets.delete(ticket) !== true) return { state: 'cancelled' }
    const isWanted = entry.tickets.values().some((heard) => this.#now() - heard < INTEREST)
    if (isWanted || entry.job.isOver) return { state: 'cancelled' }
    entry.job.cancel('nobody wants it any more')
    await entry.job.done
    return entry.job.status()
  }

  #begin(key: string, order: WarmOrder): Entry | undefined {
    this.#entries.delete(key)
    if (this.#entries.size >= MAX_JOBS && !this.#forgetOutcome()) return undefined
    const job = new WarmJob(order, this.#options, this.#pulls)
    const entry: Entry = { job, tickets: new Map(), overSince: undefined }
    this.#entries.set(key, entry)
    const { log } = this.#options
    const image = formatReference(order.reference)
    log.info({ image }, 'an image was ordered for this node')
    void job.done.then(async () => {
      entry.overSince = this.#now()
      log.info({ image, ...(await job.status()) }, 'an order for an image is over')
    })
    return entry
  }

  #forgetOld(): void {
    for (const [key, { overSince }] of this.#entries) {
      if (overSince !== undefined && this.#now() - overSince > OUTCOME_LIFE) this.#entries.delete(key)
    }
  }

  /** false if every job still runs. */
  #forgetOutcome(): boolean {
    const over = this.#entries.entries().find(([, { overSince }]) => overSince !== undefined)
    return over !== undefined && this.#entries.delete(over[0])
  }
}

function keyOf({ reference, digest, platform, namespace }: WarmOrder): string {
  const kind = platform === undefined ? '' : formatPlatform(platform)
  return [formatReference(reference), digest ?? '', kind, namespace ?? ''].join(' ')
}
