import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { Digest } from '../../oci/digest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { Peer } from '../../overlay/overlay.ts'
import type { ContentStore } from '../../store/content-store.ts'
import type { Log } from '../../telemetry/log.ts'
import { minute, second } from '../../time/units.ts'
import {
  type AskedSpan,
  type BlobTrace,
  type Sender,
  askedInVain,
  isWhole,
  note,
  noteGiven,
} from '../blobs/blob-trace.ts'
import { CaughtHolders } from './caught-holders.ts'
import { Coverage } from './coverage.ts'

/** What arrived is probably, or (`wrong`) certainly, not what its digest names. */
export interface Suspicion {
  readonly digest: Digest
  /** Under which names it was handed out. */
  readonly repositories: readonly Repository[]
  readonly reason: 'asked-again' | 'not-committed' | 'wrong'
  /** False if only a stranger asked for it again, whose store is not this node's: it may well have thrown it away. */
  readonly isLikely: boolean
  /** Empty if all came from the upstream. */
  readonly senders: readonly Sender[]
}

/**
 * How a request must be fetched. `none`: from the sources that the swarm names. Otherwise no byte of a peer is passed on unverified: the blob
 * comes from the upstream if `--fallback` admits the registry, else from a copy that this node has hashed (`VettedCopies`).
 * - `hash`: from byte 0 to the end, so that bytes of the upstream go through `verifiedChunks`.
 * - `elsewhere`: only a part, which no hash can prove.
 */
export type Caution = 'none' | 'hash' | 'elsewhere'

/** The bytes of one answer to this node's client, noted as they go out. */
export interface HandOut {
  readonly caution: Caution
  /** Size of the whole blob in bytes, as soon as it is known. */
  sized(size: number): void
  /** The next bytes of the answer came from there; undefined: from the upstream. */
  sent(sender: Sender | undefined, bytes: number): void
  /** The client writes into this node's own store (its ingest was seen): the blob has to turn up there. */
  committing(): void
  /** Ends the trace of an answer, whole or not. Safe to call more than once. */
  end(): void
}

export interface SuspectsOptions {
  readonly store: Pick<ContentStore, 'open'>
  readonly log: Pick<Log, 'warn'>
  /** Told once each time that a blob becomes suspect, and whenever bytes were proved wrong. Must not throw. */
  onSuspect(suspicion: Suspicion): void
}

/** How long the senders of a blob are remembered. */
const MEMORY = 10 * minute
const MAX_DIGESTS = 10_000
/** From its last byte until a blob is in the store of the client that fetched it. */
const COMMIT_PATIENCE = 10 * second
const MAX_REPOSITORIES = 4
const MAX_CAUTIOUS_REPOSITORIES = 1_000

/**
 * Bulk bytes pass through unhashed, since containerd hashes what it commits. So it is remembered for ten minutes which bytes of a
 * blob were handed out and who sent them, until the blob turns up in the content store. A blob that does not turn up, or all of
 * whose bytes were handed out and that is asked for again, is suspect: its senders are avoided, and for ten minutes no peer's bytes
 * are passed on unverified, neither of this blob nor of others of its repositories. Short reads of lazy clients, which store nothing and repeat them,
 * accuse nobody.
 */
export class Suspects {
  readonly #options: SuspectsOptions
  readonly #caught: CaughtHolders
  readonly #traces = new LRUCache<Digest, BlobTrace>({
    ...atMost(MAX_DIGESTS),
    dispose: ({ patience }) => clearTimeout(patience),
  })
  /** The end of the time in which all blobs of a repository are fetched with caution, by the repository's key; milliseconds, monotonic. */
  readonly #cautiousUntil = new LRUCache<string, number>(atMost(MAX_CAUTIOUS_REPOSITORIES))
  #suspectBlobs = 0

  constructor(options: SuspectsOptions) {
    this.#options = options
    this.#caught = new CaughtHolders(options.log)
  }

  /** A request that the content store could not answer. Call `end` when its answer is over. */
  async begin(
    { digest, repository }: { readonly digest: Digest; readonly repository: Repository },
    asked: AskedSpan,
    options: { signal: AbortSignal },
  ): Promise<HandOut> {
    const known = this.#of(digest)
    if (known !== undefined && askedInVain(known, asked)) {
      // It may be held and not be visible under this name.
      if (await this.#isHeld(digest, options.signal)) this.confirmed(digest)
      else if (this.#traces.get(digest) === known && askedInVain(known, asked)) this.#accuse(known, 'asked-again')
    }
    const trace = this.#of(digest) ?? this.#remember(digest)
    if (trace.repositories.size < MAX_REPOSITORIES) trace.repositories.set(repositoryKey(repository), repository)
    const isCautious = trace.suspect || (this.#cautiousUntil.get(repositoryKey(repository)) ?? 0) > performance.now()
    const caution = !isCautious ? 'none' : asked.start === 0 && asked.end === undefined ? 'hash' : 'elsewhere'
    return this.#handOut(trace, asked, caution)
  }

  /** Whether a peer is avoided for a blob. */
  avoids(digest: Digest, peer: Peer): boolean {
    return this.#of(digest)?.avoided.has(peer.id) === true || this.#caught.avoids(digest, peer)
  }

  isSuspect(digest: Digest): boolean {
    return this.#of(digest)?.suspect === true
  }

  /** The blob is in the content store, so it was right. */
  confirmed(digest: Digest): void {
    this.#traces.delete(digest)
  }

  /** This node's own cache did not keep the blob, for want of room: that a client asks for it again says nothing about the bytes. */
  notKept(digest: Digest): void {
    const trace = this.#of(digest)
    if (trace?.suspect === false) trace.given.clear()
  }

  /** The whole blob came through with the right hash, from these. They are asked again; others that were avoided are not. */
  verified(digest: Digest, senders: readonly Sender[]): void {
    const trace = this.#of(digest)
    if (trace === undefined) return
    trace.suspect = false
    for (const { peer } of senders) trace.avoided.delete(peer.id)
  }

  /** The whole blob came with a wrong hash, from these; `alone` if one of them sent all of it. */
  wrong(digest: Digest, senders: readonly Sender[], options: { alone: boolean }): void {
    const trace = this.#of(digest) ?? this.#remember(digest)
    for (const sender of senders) note(trace.senders, sender)
    const [only] = senders
    if (options.alone && only !== undefined && senders.length === 1 && only.complete)
      this.#caught.caught(digest, only.peer)
    this.#accuse(trace, 'wrong')
  }

  /** Since the start. */
  stats(): { readonly suspectBlobs: number; readonly caughtHolders: number } {
    return { suspectBlobs: this.#suspectBlobs, caughtHolders: this.#caught.total }
  }

  stop(): void {
    this.#traces.clear()
  }

  #handOut(trace: BlobTrace, asked: AskedSpan, caution: Caution): HandOut {
    let position = asked.start
    const handOut: HandOut = {
      caution,
      sized: (size) => {
        trace.size = size
      },
      sent: (sender, bytes) => {
        noteGiven(trace, asked, { start: position, end: position + bytes })
        trace.at = performance.now()
        position += bytes
        if (sender !== undefined) note(trace.senders, sender)
        if (trace.size !== undefined && position >= trace.size) trace.running.delete(handOut)
        this.#awaitCommit(trace)
      },
      committing: () => {
        trace.committing = true
        this.#awaitCommit(trace)
      },
      end: () => {
        trace.running.delete(handOut)
        this.#awaitCommit(trace)
      },
    }
    trace.running.add(handOut)
    return handOut
  }

  #awaitCommit(trace: BlobTrace): void {
    // While an answer runs it may be the one that is written, and the others a stranger's.
    if (!trace.committing || !isWhole(trace) || trace.running.size > 0 || trace.patience !== undefined) return
    if (this.#traces.get(trace.digest) !== trace) return
    trace.patience = setTimeout(() => void this.#checkCommitted(trace), COMMIT_PATIENCE)
    trace.patience.unref()
  }

  async #checkCommitted(trace: BlobTrace): Promise<void> {
    trace.patience = undefined
    try {
      if (await this.#isHeld(trace.digest, AbortSignal.timeout(COMMIT_PATIENCE))) return
    } catch {
      // A store that does not answer says nothing about the bytes.
      return
    }
    if (trace.running.size > 0 || this.#traces.get(trace.digest) !== trace) return
    if (isWhole(trace)) this.#accuse(trace, 'not-committed')
  }

  /** Forgets the bytes that were handed out: the next fetch starts anew. */
  #accuse(trace: BlobTrace, reason: Suspicion['reason']): void {
    clearTimeout(trace.patience)
    trace.patience = undefined
    const senders = [...trace.senders.values()]
    for (const sender of senders) note(trace.avoided, sender)
    trace.senders.clear()
    trace.given.clear()
    trace.at = performance.now()
    if (!trace.suspect) this.#suspectBlobs += 1
    trace.suspect = true
    const from = senders.map(({ peer }) => peer.address)
    this.#options.log.warn(
      { digest: trace.digest, reason, from },
      'a blob is suspect: it is hashed when it is fetched next',
    )
    const repositories = [...trace.repositories.values()]
    const isLikely = reason !== 'asked-again' || trace.committing
    // A peer that sent wrong bytes of one layer may send wrong bytes of the image's others, and each would fail a pull of its own.
    for (const key of trace.repositories.keys()) this.#cautiousUntil.set(key, performance.now() + MEMORY)
    this.#options.onSuspect({ digest: trace.digest, repositories, reason, isLikely, senders })
  }

  /** A store that cannot be read has nothing. */
  async #isHeld(digest: Digest, signal: AbortSignal): Promise<boolean> {
    try {
      const blob = await this.#options.store.open(digest, { signal })
      await blob?.close()
      return blob !== undefined
    } catch {
      signal.throwIfAborted()
      return false
    }
  }

  #of(digest: Digest): BlobTrace | undefined {
    const trace = this.#traces.get(digest)
    if (trace === undefined || trace.running.size > 0 || performance.now() - trace.at < MEMORY) return trace
    this.#traces.delete(digest)
    return undefined
  }

  #remember(digest: Digest): BlobTrace {
    const trace: BlobTrace = {
      digest,
      repositories: new Map(),
      size: undefined,
      given: new Coverage(),
      senders: new Map(),
      avoided: new Map(),
      running: new Set(),
      suspect: false,
      committing: false,
      at: performance.now(),
      patience: undefined,
    }
    this.#traces.set(digest, trace)
    return trace
  }
}
