import type { BufferPool } from '../../mover/buffer-pool.ts'
import { repositoryKey } from '../../oci/reference.ts'
import { DeadlineError, abortable, withDeadline } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import type { PeerStream } from '../blobs/blob-sources.ts'
import type { BlobRequest } from '../blobs/blob-request.ts'
import { SEARCH_TIMEOUT, VettedSearch, type VettedCopy, type VettedSearchOptions } from './vetted-search.ts'

export interface VettedCopiesOptions extends VettedSearchOptions {
  readonly buffers: Pick<BufferPool, 'take' | 'lend' | 'giveBack'>
}

export interface VettedAttempt {
  readonly position: number
  /** The byte after the last one that is wanted; undefined: all that follow. */
  readonly end: number | undefined
  /** Of the whole blob, in bytes, if a manifest or an earlier source has said it. */
  readonly size: number | undefined
  readonly signal: AbortSignal
}

/** The mirror answers with a header within 9 s; while a search goes on longer, the answer has a header and no bytes yet. */
const HEADER_PATIENCE = 5 * second
/** A copy outlives its last reader by this much: a client that broke off asks again at once. */
const LINGER = 30 * second
/** A search without success is repeated no sooner: containerd asks again at once, and is to be refused at once. */
const FAILURE_LIFE = 5 * second

const PENDING = { size: undefined, from: undefined } as const

interface Shared {
  readonly search: VettedSearch
  readers: number
  timer: NodeJS.Timeout | undefined
}

/**
 * Suspect blobs from peers. No byte reaches a client before the whole blob passed its hash in a temporary file of this node, since a
 * holder can send wrong bytes at any time, whatever it said or sent before. Requests for the same blob share a copy.
 */
export class VettedCopies {
  readonly #options: VettedCopiesOptions
  readonly #shared = new Map<string, Shared>()

  constructor(options: VettedCopiesOptions) {
    this.#options = options
  }

  /** A copy's bytes from `position` on, which may have to be waited for; undefined if no holder gave the right bytes. */
  async open(request: BlobRequest, attempt: VettedAttempt): Promise<PeerStream | undefined> {
    const { search, leave } = this.#enter(request, attempt.size)
    try {
      const copy = await copyWithin(attempt.size === undefined ? Infinity : HEADER_PATIENCE, search, attempt.signal)
      const size = copy?.size ?? attempt.size
      if (copy !== undefined && size !== undefined) return this.#stream(search, copy, { ...attempt, size }, leave)
    } catch (error) {
      leave()
      throw error
    }
    leave()
    return undefined
  }

  /** Ends all searches, and frees all copies. */
  async stop(): Promise<void> {
    await Promise.all([...this.#shared].map(([key, shared]) => this.#drop(key, shared)))
  }

  /** Call `leave` when nothing more is read. */
  #enter(
    request: BlobRequest,
    size: number | undefined,
  ): { readonly search: VettedSearch; readonly leave: () => void } {
    const key = [request.digest, repositoryKey(request.repository), request.caller?.id].join(' ')
    const shared = this.#shared.get(key) ?? this.#begin(key, request, size)
    clearTimeout(shared.timer)
    shared.readers += 1
    let left = false
    const leave = () => {
      if (left) return
      left = true
      shared.readers -= 1
      if (shared.readers === 0) shared.timer = setTimeout(() => void this.#drop(key, shared), LINGER).unref()
    }
    return { search: shared.search, leave }
  }

  #begin(key: string, request: BlobRequest, size: number | undefined): Shared {
    const shared: Shared = { search: new VettedSearch(this.#options, request, size), readers: 0, timer: undefined }
    this.#shared.set(key, shared)
    void shared.search.result.then((copy) => {
      if (copy === undefined) setTimeout(() => void this.#drop(key, shared), FAILURE_LIFE).unref()
    })
    return shared
  }

  async #drop(key: string, shared: Shared): Promise<void> {
    if (this.#shared.get(key) !== shared) return
    this.#shared.delete(key)
    clearTimeout(shared.timer)
    await shared.search.close()
  }

  #stream(
    search: VettedSearch,
    copy: VettedCopy | typeof PENDING,
    { position, end, size, signal }: VettedAttempt & { readonly size: number },
    leave: () => void,
  ): PeerStream {
    const stopping = new AbortController()
    let sender = copy.from?.name ?? 'unknown'
    const chunks = async function* (this: VettedCopies): AsyncGenerator<Uint8Array> {
      const found = await abortable(search.result, AbortSignal.any([signal, stopping.signal]))
      if (found === undefined) throw new Error('no peer sent the right bytes')
      sender = found.from.name
      yield* this.#read(found, position, Math.min(end ?? size, size), stopping.signal)
    }
    return {
      kind: 'peer',
      name: sender,
      sender: () => sender,
      // The bytes are right, so that no sender is to be remembered.
      from: [],
      path: [],
      // A search that goes on longer must not claim more than that the blob came from a peer.
      delivery: copy.from?.delivery ?? { from: 'peer', access: 'unknown', isVouched: true },
      stall: SEARCH_TIMEOUT + LINGER,
      size,
      body: chunks.call(this),
      cancel: () => {
        stopping.abort(new Error('the transfer was cancelled'))
        leave()
      },
    }
  }

  async *#read({ file }: VettedCopy, start: number, end: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { buffers } = this.#options
    for (let position = start; position < end;) {
      signal.throwIfAborted()
      const buffer = buffers.take()
      const count = await file.read(buffer, Math.min(buffer.length, end - position), position)
      if (count === 0) throw new Error('the temporary file ends early')
      position += count
      yield buffers.lend(buffer, count)
    }
  }
}

/** The search's copy, undefined if it found none, or `PENDING` if it takes longer than `patience` milliseconds. */
async function copyWithin(
  patience: number,
  { result }: VettedSearch,
  signal: AbortSignal,
): Promise<VettedCopy | typeof PENDING | undefined> {
  if (patience === Infinity) return abortable(result, signal)
  try {
    return await withDeadline(patience, 'hashing a copy', signal, () => result)
  } catch (error) {
    if (error instanceof DeadlineError) return PENDING
    throw error
  }
}
