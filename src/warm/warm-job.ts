import type { Semaphore } from '../async/semaphore.ts'
import type { ChildDescriptor } from '../oci/manifest.ts'
import { repositoryKey } from '../oci/reference.ts'
import { type ImagePuller, PullError, type PulledImage } from '../store/image-puller.ts'
import { errorText } from '../telemetry/log.ts'
import { abortable, withDeadline } from '../time/deadline.ts'
import { hour, second } from '../time/units.ts'
import type { WarmOrder, WarmState, WarmStatus } from './messages.ts'
import type { MirrorTraffic, Traffic } from './mirror-traffic.ts'

export interface WarmJobOptions {
  readonly puller: ImagePuller
  readonly traffic: Pick<MirrorTraffic, 'watch'>
  /** The blobs that an order is about; undefined if that cannot be said. */
  contents(order: WarmOrder, signal: AbortSignal): Promise<readonly ChildDescriptor[] | undefined>
  /** How much of them is here, in bytes. */
  arrived(blobs: readonly ChildDescriptor[], signal: AbortSignal): Promise<number>
}

/** Without a manifest in this time there is no progress to show; the pull has waited for it long enough. */
const CONTENTS_TIMEOUT = 5 * second
const MEASURE_TIMEOUT = 2 * second
/** Longer than the puller's own patience with any image. */
const JOB_TIMEOUT = 3 * hour

/** One image on its way to this node. */
export class WarmJob {
  readonly order: WarmOrder
  /** Settles when the job has ended, however. */
  readonly done: Promise<void>
  readonly #options: WarmJobOptions
  readonly #controller = new AbortController()
  #state: WarmState = 'queued'
  #message: string | undefined
  #began: number | undefined
  #ended: number | undefined
  #blobs: readonly ChildDescriptor[] | undefined
  #bytes: number | undefined
  #fetched: Pick<Traffic, 'peer' | 'upstream'> | undefined

  /** The pull begins when `pulls` has a permit for it. */
  constructor(order: WarmOrder, options: WarmJobOptions, pulls: Semaphore) {
    this.order = order
    this.#options = options
    this.done = this.#run(pulls)
  }

  get isOver(): boolean {
    return this.#state !== 'queued' && this.#state !== 'pulling'
  }

  cancel(reason: string): void {
    this.#controller.abort(new Cancelled(reason))
  }

  /** How far it is now. */
  async status(): Promise<WarmStatus> {
    if (this.#state === 'pulling') await this.#measure()
    const until = this.#ended ?? performance.now()
    return {
      state: this.#state,
      bytes: this.#bytes,
      total: this.#blobs?.reduce((sum, { size = 0 }) => sum + size, 0),
      seconds: this.#began === undefined ? undefined : Math.round((until - this.#began) / 100) / 10,
      fromPeers: this.#fetched?.peer,
      fromUpstream: this.#fetched?.upstream,
      message: this.#message,
    }
  }

  async #run(pulls: Semaphore): Promise<void> {
    const signal = AbortSignal.any([this.#controller.signal, AbortSignal.timeout(JOB_TIMEOUT)])
    const work = async () => {
      this.#state = 'pulling'
      this.#began = performance.now()
      this.#end(...(await this.#pull(signal)))
    }
    try {
      await pulls.run(work, { signal })
    } catch (error) {
      if (error instanceof Cancelled) this.#end('cancelled', error.message)
      else if (error instanceof PullError) this.#end(error.reason, error.message)
      else this.#end('failed', errorText(error))
    }
  }

  async #pull(signal: AbortSignal): Promise<[WarmState, string | undefined]> {
    const { puller, traffic } = this.#options
    const { reference, digest, platform, namespace } = this.order
    await this.#learnContents(signal)
    const watch = traffic.watch(reference)
    let pulled: PulledImage
    try {
      pulled = await abortable(puller.pull({ reference, platform, namespace }, { signal }), signal)
    } finally {
      watch.end()
    }
    this.#fetched = pulled.fetched ?? watch.traffic
    if (digest !== undefined && pulled.digest !== undefined && pulled.digest !== digest)
      return ['failed', `the tag was moved meanwhile: here it is ${pulled.digest}`]
    if (this.#blobs !== undefined) this.#bytes = this.#blobs.reduce((sum, { size = 0 }) => sum + size, 0)
    return ['done', pulled.fetched === undefined ? pastNabo(watch.traffic, reference.registry) : undefined]
  }

  /** Before the pull, so that progress has an end; what it reads the pull needs next. */
  async #learnContents(signal: AbortSignal): Promise<void> {
    try {
      this.#blobs = await withDeadline(
        CONTENTS_TIMEOUT,
        `reading ${repositoryKey(this.order.reference)}`,
        signal,
        (s) => this.#options.contents(this.order, s),
      )
    } catch {
      // The puller finds the reason and has a better message.
      signal.throwIfAborted()
    }
  }

  async #measure(): Promise<void> {
    const blobs = this.#blobs
    if (blobs === undefined) return
    try {
      const arrived = await withDeadline(MEASURE_TIMEOUT, 'measuring', this.#controller.signal, (signal) =>
        this.#options.arrived(blobs, signal),
      )
      // Layers may be discarded once they are unpacked.
      if (!this.isOver) this.#bytes = Math.max(this.#bytes ?? 0, arrived)
    } catch {
      // Then it is as far as it was.
    }
  }

  #end(state: WarmState, message: string | undefined): void {
    this.#state = state
    this.#message = message
    this.#ended = performance.now()
  }
}

/** The image is there, and how it came is worth knowing. */
function pastNabo({ manifests, refused }: Traffic, registry: string): string | undefined {
  if (manifests > 0) return undefined
  if (refused > 0) return "pulled past Nabo: this node's mirror refused it, its log says why"
  return `pulled past Nabo: no hosts.toml for ${registry} names this node's mirror`
}

class Cancelled extends Error {
  override readonly name = 'Cancelled'
}
