import type { Digest } from '../../oci/digest.ts'
import type { ByteSpan } from '../../oci/range.ts'
import type { Repository } from '../../oci/reference.ts'
import type { Peer } from '../../overlay/overlay.ts'
import { second } from '../../time/units.ts'
import type { Coverage } from '../integrity/coverage.ts'

/** A node that sent some of a blob. */
export interface Sender {
  readonly peer: Peer
  /** It holds the whole blob; else it passed on what it was getting, and is not to blame. */
  readonly complete: boolean
}

/** What one request of this node's client asks for. */
export interface AskedSpan {
  readonly start: number
  /** The byte after the last one that it wants; undefined: all bytes from `start` on. */
  readonly end: number | undefined
}

/** A client that fetches in parallel asks for later parts while all bytes may be in socket buffers already. */
const PARALLEL_FETCH = 1 * second
/** Clients that pull in parts request 1 MiB or more at a time, and start again if the digest is wrong. Lazy clients request chunks of some KiB, and repeat them. */
const MIN_PULLED_PART = 512 * 1024
const MAX_SENDERS = 64

/** What is remembered of one blob. */
export interface BlobTrace {
  readonly digest: Digest
  readonly repositories: Map<string, Repository>
  size: number | undefined
  /** The bytes sent to clients since the blob was last beyond suspicion, without the reads of lazy clients: see {@link noteGiven}. */
  readonly given: Coverage
  /** By peer id. */
  readonly senders: Map<string, Sender>
  /** Those not to ask for it, by peer id. */
  readonly avoided: Map<string, Sender>
  /** Answers that have not reached their end. */
  readonly running: Set<object>
  suspect: boolean
  committing: boolean
  /** When bytes went out last. */
  at: number
  patience: NodeJS.Timeout | undefined
}

/**
 * Notes bytes that a request was answered with, unless a lazy client reads a part of what it does not store. The last part of a pull is often short, and
 * so is the rest of a part that broke off: bytes count also if the request reaches the end of the blob, or if they follow noted ones.
 */
export function noteGiven({ size, given }: BlobTrace, asked: AskedSpan, span: ByteSpan): void {
  const isRest = span.start > 0 && given.covers({ start: span.start - 1, end: span.start })
  if (isPull(asked, size) || reaches(asked, size) || isRest) given.add(span)
}

/**
 * Whether all of a blob was handed out before, a pull of it begins again, and nobody is about to receive the rest of it. The request itself has to be a
 * pull: lazy clients repeat their reads of the end of a blob as well.
 */
export function askedInVain(trace: BlobTrace, asked: AskedSpan): boolean {
  if (!isPull(asked, trace.size) || !isWhole(trace) || trace.running.size > 0) return false
  return asked.start === 0 || performance.now() - trace.at > PARALLEL_FETCH
}

/** Whether it asks for all of the blob, for its rest, or for a part that is longer than lazy clients' reads. */
function isPull(asked: AskedSpan, size: number | undefined): boolean {
  const { start, end } = asked
  return end === undefined || end - start >= MIN_PULLED_PART || (start === 0 && reaches(asked, size))
}

/** Whether it asks for the last byte. */
function reaches({ end }: AskedSpan, size: number | undefined): boolean {
  return end === undefined || (size !== undefined && end >= size)
}

/** Whether all of its bytes were handed out. */
export function isWhole({ size, given }: BlobTrace): boolean {
  return size !== undefined && given.covers({ start: 0, end: size })
}

/** Keeps a sender, among a bounded number of them. */
export function note(senders: Map<string, Sender>, sender: Sender): void {
  const known = senders.get(sender.peer.id)
  if (known === undefined && senders.size >= MAX_SENDERS) return
  senders.set(sender.peer.id, { peer: sender.peer, complete: sender.complete || known?.complete === true })
}
