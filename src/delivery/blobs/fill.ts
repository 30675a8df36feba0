import { type CacheStore, type Ingest, IngestError } from '../../store/cache-store.ts'
import type { GrowingBlob } from '../../store/content-store.ts'
import type { Extent } from '../../oci/range.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { second } from '../../time/units.ts'
import type { Caller } from '../access/audience.ts'
import type { BlobRequest } from './blob-request.ts'
import type { RemoteBlob } from './remote-blob.ts'
import type { SourceSearch } from './source-search.ts'
import type { TransferOrigin, TransferRecord } from './transfer-record.ts'

/** A fill goes on for this long without clients: a cancelled pull is often tried again at once. */
const LINGER = 30 * second

/** Where chunks go that were written. */
export interface GivesBack {
  giveBack(chunk: Uint8Array): void
}

/** One blob on its way into the cache, from byte 0, whatever its clients do. */
export class Fill {
  readonly size: number
  /** The repository it is fetched from; this grants no access under another repository. */
  readonly repository: Repository
  /** The client whose credentials fetch it; undefined for the node's own. */
  readonly caller: Caller | undefined
  /** Settles when the blob is committed, or with the error that ended it. */
  readonly done: Promise<void>
  readonly #ingest: Ingest
  readonly #stream: RemoteBlob
  readonly #controller: AbortController
  readonly #buffers: GivesBack | undefined
  #clients = 0
  #linger: NodeJS.Timeout | undefined

  constructor(
    request: BlobRequest,
    ingest: Ingest,
    stream: RemoteBlob,
    { controller, buffers }: { controller: AbortController; buffers: GivesBack | undefined },
  ) {
    this.size = ingest.size
    this.repository = request.repository
    this.caller = request.caller
    this.#ingest = ingest
    this.#stream = stream
    this.#controller = controller
    this.#buffers = buffers
    this.done = this.#run()
    this.done.catch(() => {})
    this.#startLinger()
  }

  /** Where the bytes come from. */
  get record(): TransferRecord {
    return this.#stream.record
  }

  /** The delivery from the registry; undefined if any source was a peer. */
  get fromRegistry(): SourceSearch['fromRegistry'] {
    return this.#stream.fromRegistry
  }

  /** Where the next bytes come from. */
  get origin(): TransferOrigin {
    return this.#stream.origin
  }

  get written(): number {
    return this.#ingest.written
  }

  /** A reader for one client; while it is open the fill does not end for lack of clients. */
  async open(): Promise<GrowingBlob> {
    clearTimeout(this.#linger)
    this.#clients += 1
    let closed = false
    const leave = () => {
      if (closed) return
      closed = true
      this.#clients -= 1
      if (this.#clients === 0) this.#startLinger()
    }
    try {
      const reader = await this.#ingest.open()
      return {
        size: reader.size,
        get written() {
          return reader.written
        },
        read: (target, position, options) => reader.read(target, position, options),
        close: async () => {
          leave()
          await reader.close()
        },
      }
    } catch (error) {
      leave()
      throw error
    }
  }

  /** Takes it that the bytes that came proved wrong. */
  blame(): void {
    this.#stream.blame()
  }

  abort(reason: Error): void {
    this.#controller.abort(reason)
  }

  async #run(): Promise<void> {
    try {
      for await (const chunk of this.#stream.chunks(this.size)) {
        await this.#ingest.write(chunk)
        this.#buffers?.giveBack(chunk)
      }
      await this.#ingest.commit()
    } catch (error) {
      await this.#ingest.abort(error instanceof Error ? error : new IngestError('aborted', String(error)))
      throw error
    } finally {
      this.#stream.cancel()
      clearTimeout(this.#linger)
    }
  }

  #startLinger(): void {
    this.#linger = setTimeout(() => this.abort(new IngestError('aborted', 'no client waits for it any more')), LINGER)
    this.#linger.unref()
  }
}

interface RunningFill {
  readonly request: BlobRequest
  readonly starting: Promise<Fill | RemoteBlob>
  /** Present once it has a source. */
  fill?: Fill
}

/** The fills under way: one a digest. */
export class Fills {
  readonly #store: CacheStore
  readonly #buffers: GivesBack | undefined
  readonly #open: (request: BlobRequest, options: { start: number; signal: AbortSignal }) => Promise<RemoteBlob>
  readonly #onEnd: (request: BlobRequest, fill: Fill, error: unknown) => void
  readonly #running = new Map<string, RunningFill>()
  readonly #controllers = new Set<AbortController>()

  constructor(options: {
    store: CacheStore
    buffers?: GivesBack
    open: (request: BlobRequest, options: { start: number; signal: AbortSignal }) => Promise<RemoteBlob>
    /** Told of every fill that ended; `error` is undefined if the blob was committed. */
    onEnd: (request: BlobRequest, fill: Fill, error: unknown) => void
  }) {
    this.#store = options.store
    this.#buffers = options.buffers
    this.#open = options.open
    this.#onEnd = options.onEnd
  }

  /**
   * The fill of this blob; undefined: stream past the cache. A request for all of the blob begins a fill if there is none; it cannot if the
   * cache has no room. A request for a part does not wait for a fill to find its source. Throws OciError when no source has the blob.
   */
  async join(request: BlobRequest, extent: Extent = 'all'): Promise<Fill | undefined> {
    const running = this.#running.get(request.digest)
    if (running !== undefined) {
      // A slow registry must not delay clients that pull the same digest from another registry.
      if (running.request.repository.registry !== request.repository.registry) return undefined
      if (extent === 'part') return running.fill
      try {
        const result = await running.starting
        return result instanceof Fill ? result : undefined
      } catch (error) {
        // What was refused under one name, or to one client, may be had under another.
        if (isSame(running.request, request)) throw error
        return this.join(request, extent)
      }
    }
    return extent === 'all' ? this.#begin(request) : undefined
  }

  /** Ends all fills and deletes their partial files. */
  stop(): void {
    for (const controller of this.#controllers) controller.abort(new IngestError('aborted', 'the daemon stops'))
  }

  async #begin(request: BlobRequest): Promise<Fill | undefined> {
    const running: RunningFill = { request, starting: this.#start(request) }
    this.#running.set(request.digest, running)
    const forget = () => void this.#running.delete(request.digest)
    let result: Fill | RemoteBlob
    try {
      result = await running.starting
    } catch (error) {
      forget()
      throw error
    }
    if (!(result instanceof Fill)) {
      forget()
      result.cancel()
      return undefined
    }
    const fill = result
    running.fill = fill
    fill.done.then(
      () => (forget(), this.#onEnd(request, fill, undefined)),
      (error: unknown) => (forget(), this.#onEnd(request, fill, error)),
    )
    return fill
  }

  async #start(request: BlobRequest): Promise<Fill | RemoteBlob> {
    const controller = new AbortController()
    const stream = await this.#open(request, { start: 0, signal: controller.signal })
    const ingest = await this.#store.ingest(request.digest, { size: stream.size }).catch(() => undefined)
    if (ingest === undefined) return stream
    this.#controllers.add(controller)
    const fill = new Fill(request, ingest, stream, { controller, buffers: this.#buffers })
    fill.done
      .catch(() => {})
      .finally(() => this.#controllers.delete(controller))
      .catch(() => {})
    return fill
  }
}

function isSame(a: BlobRequest, b: BlobRequest): boolean {
  return repositoryKey(a.repository) === repositoryKey(b.repository) && a.caller?.id === b.caller?.id
}
