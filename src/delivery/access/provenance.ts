import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { Digest } from '../../oci/digest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { type ContentSource, UNRECORDED } from '../../store/content-store.ts'
import { hour } from '../../time/units.ts'
import { GRACE } from './audience.ts'

/** A holder's claim about content that it serves. `open`: public, but perhaps not in the requested repository. */
export type Access = ContentSource['access'] | 'open'

/** How content came to this node: from its registry, or from a peer that claims `access`. */
export type Delivery =
  /** `at`: when the registry answered, by `performance.now()`; now if absent. */
  | { readonly from: 'upstream'; readonly anonymous: boolean; readonly at?: number }
  /** `isVouched`: this node claimed a right of its client, so the peer may have served private content. */
  | { readonly from: 'peer'; readonly access: Access; readonly isVouched?: boolean }

interface Recorded extends ContentSource {
  /** True if a registry served the content, so it is not imported. */
  readonly isFromRegistry: boolean
}

const MAX_DIGESTS = 20_000
const MAX_SOURCES = 64
/** Cap over all digests; one source takes some hundred bytes. */
const MAX_ALL_SOURCES = 40_000
/** As long as a proof for everybody counts before the registry is asked again. */
const OPEN_LIFE = 24 * hour

/**
 * The sources of content that passed through this process. containerd's labels also record sources, but later, without ports, and any pull
 * can add to them. Held in memory; evicts the least recently used.
 */
export class Provenance {
  readonly #now: () => number
  readonly #sources = new LRUCache<Digest, ReadonlyMap<string, Recorded>>({
    max: MAX_DIGESTS,
    maxSize: MAX_ALL_SOURCES,
    sizeCalculation: ({ size }) => Math.max(1, size),
  })
  /** When a trusted peer claimed that the content is public. */
  readonly #open = new LRUCache<Digest, number>(atMost(MAX_DIGESTS))

  /** `now`: a monotonic clock in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** `isPublic`: the registry served the content to a request without credentials, and the bytes are verified. */
  record(repository: Repository, digest: Digest, delivery: Delivery, isPublic = false): void {
    const sources = new Map(this.#sources.get(digest))
    const source = sourceOf(repository, delivery, isPublic, sources.get(repositoryKey(repository)), this.#now())
    const key = repositoryKey(source)
    if (sources.has(key) || sources.size < MAX_SOURCES) sources.set(key, source)
    else if (source.access !== 'public') {
      // Content counts as public if all its sources are public, so drop a public source rather than one that may be private.
      const [lost = ''] = [...sources].find(([, kept]) => kept.access === 'public') ?? []
      if (sources.delete(lost)) sources.set(key, source)
      else mark(sources)
    }
    this.#sources.set(digest, sources)
  }

  /** Records that content has a source that this process did not see. */
  recordUnknown(digest: Digest): void {
    if (this.#sources.has(digest)) return
    const sources = new Map<string, Recorded>()
    mark(sources)
    this.#sources.set(digest, sources)
  }

  /** Records a trusted peer's claim that content is public, without a repository. */
  noteOpen(digest: Digest): void {
    this.#open.set(digest, this.#now())
  }

  /** True if a trusted peer claimed within the last day that the content is public. */
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
  // No credentials were involved: the content is as public as the repository was within the grace period.
  const isOpen = delivery.from === 'upstream' ? delivery.anonymous : delivery.isVouched !== true
  const at = isOpen ? now - GRACE : now
  if (isPublic || said === 'public') return { ...common, access: 'public', at: now }
  // A later delivery with credentials does not make public content private.
  if (before?.access === 'public') return { ...before, isFromRegistry }
  const isImported = !isFromRegistry && (said === 'imported' || before?.access === 'imported')
  return { ...common, access: isImported ? 'imported' : 'unknown', at: before?.at ?? at }
}
