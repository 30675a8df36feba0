import { LRUCache } from 'lru-cache'

import type { Digest } from '../../oci/digest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { type ContentSource, UNRECORDED } from '../../store/content-store.ts'
import { hour } from '../../time/units.ts'
import { GRACE } from './audience.ts'

/** What a holder says of content that it gives; `open`: it is public, though perhaps not under this repository. */
export type Access = ContentSource['access'] | 'open'

/** How content came to this node: from its registry, or from a peer that is believed as far as `access` says. */
export type Delivery =
  /** `at`: when the registry answered, by `performance.now()`; now if absent. */
  | { readonly from: 'upstream'; readonly anonymous: boolean; readonly at?: number }
  /** `isVouched`: the peer was told that its registry showed it to a client, and may have given what is not public. */
  | { readonly from: 'peer'; readonly access: Access; readonly isVouched?: boolean }

interface Recorded extends ContentSource {
  /** A registry gave it, so that it was not imported. */
  readonly isFromRegistry: boolean
}

const MAX_DIGESTS = 20_000
const MAX_SOURCES = 64
/** Of all digests together; each takes some hundred bytes. */
const MAX_ALL_SOURCES = 40_000
/** As long as a proof for everybody counts before the registry is asked again. */
const OPEN_LIFE = 24 * hour

/**
 * Where the content that passed through this process came from. containerd's labels say so too, but a moment after the content is there,
 * without ports, and another pull can add to them. Kept in memory, least recently used out first.
 */
export class Provenance {
  readonly #now: () => number
  readonly #sources = new LRUCache<Digest, ReadonlyMap<string, Recorded>>({
    max: MAX_DIGESTS,
    maxSize: MAX_ALL_SOURCES,
    sizeCalculation: ({ size }) => Math.max(1, size),
  })
  /** When a believed peer said that content is public. */
  readonly #open = new LRUCache<Digest, number>({ max: MAX_DIGESTS })

  /** `now`: a monotonic clock in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** `isPublic`: the registry showed this content, whose bytes are verified, to a request without credentials. */
  record(repository: Repository, digest: Digest, delivery: Delivery, isPublic = false): void {
    const sources = new Map(this.#sources.get(digest))
    const source = sourceOf(repository, delivery, isPublic, sources.get(repositoryKey(repository)), this.#now())
    const key = repositoryKey(source)
    if (sources.has(key) || sources.size < MAX_SOURCES) sources.set(key, source)
    else if (source.access !== 'public') {
      // Content is public if all its sources are: one that may be private must not be lost without a trace.
      const [lost = ''] = [...sources].find(([, kept]) => kept.access === 'public') ?? []
      if (sources.delete(lost)) sources.set(key, source)
      else mark(sources)
    }
    this.#sources.set(digest, sources)
  }

  /** Notes that content was here before anything was recorded of it: what is recorded from now on is not all. */
  recordUnknown(digest: Digest): void {
    if (this.#sources.has(digest)) return
    const sources = new Map<string, Recorded>()
    mark(sources)
    this.#sources.set(digest, sources)
  }

  /** Notes that a believed peer says that content is public, wherever it came from. */
  noteOpen(digest: Digest): void {
    this.#open.set(digest, this.#now())
  }

  /** Whether a believed peer has said so within a day. */
  isOpen(digest: Digest): boolean {
    return this.#now() - (this.#open.get(digest) ?? -Infinity) < OPEN_LIFE
  }

  of(digest: Digest): readonly ContentSource[] {
    return [...(this.#sources.get(digest)?.values() ?? [])].map(({ registry, name, access, at }): ContentSource => ({
      registry,
      name,
      access,
      ...(at === undefined ? {} : { at }),
    }))
  }
}

function mark(sources: Map<string, Recorded>): void {
  const [first] = sources.keys()
  if (sources.size >= MAX_SOURCES && first !== undefined) sources.delete(first)
  sources.set(repositoryKey(UNRECORDED), { ...UNRECORDED, access: 'unknown', isFromRegistry: true })
}

function sourceOf(
  { registry, name }: Repository,
  delivery: Delivery,
  isPublic: boolean,
  before: Recorded | undefined,
  now: number,
): Recorded {
  const isFromRegistry = delivery.from === 'upstream' || before?.isFromRegistry === true
  const said = delivery.from === 'upstream' ? 'unknown' : delivery.access
  const common = { registry, name, isFromRegistry }
  // What comes without credentials, or from a peer that was shown none, is as public as the repository was a moment ago.
  const isOpen = delivery.from === 'upstream' ? delivery.anonymous : delivery.isVouched !== true
  const at = isOpen ? now - GRACE : now
  if (isPublic || said === 'public') return { ...common, access: 'public', at: now }
  // Had without credentials once, it is no secret because it was had with some later.
  if (before?.access === 'public') return { ...before, isFromRegistry }
  const isImported = !isFromRegistry && (said === 'imported' || before?.access === 'imported')
  return { ...common, access: isImported ? 'imported' : 'unknown', at: before?.at ?? at }
}
