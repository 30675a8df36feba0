import { type Digest, matchesDigest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { readImageContents } from '../../oci/image-contents.ts'
import { type ChildDescriptor, MAX_MANIFEST_BYTES } from '../../oci/manifest.ts'
import { type IndexEntry, type Platform, bestMatch, formatPlatform } from '../../oci/platform.ts'
import { type ImageReference, type Repository, type TagReference, repositoryKey, tagKey } from '../../oci/reference.ts'
import type { PeerClient } from '../../peers/peer-client.ts'
import { keyOfDigest, keyOfTag } from '../../providers/index-key.ts'
import type { ContentStore } from '../../store/content-store.ts'
import { readAll } from '../../store/read-all.ts'
import { errorText } from '../../telemetry/log.ts'
import { withDeadline } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import {
  ContentLocator,
  type ContentLocatorOptions,
  type LocatedContents,
  type NamedContent,
} from './content-locator.ts'
import type { NamedContent as RegistryContent } from '../access/audience.ts'
import type { Manifests } from '../manifests/manifests.ts'
import { type RegistryPolicy, isMirrored, whyLeftOut } from '../access/registry-policy.ts'
import type { TagResolver } from '../tags/tag-resolver.ts'
import type { SourceKind } from '../blobs/transfer-record.ts'

export interface ImageFinderOptions extends ContentLocatorOptions {
  readonly store: Pick<ContentStore, 'open' | 'resolve'>
  readonly tags: Pick<TagResolver, 'resolve' | 'asksNeighbours'>
  readonly manifests: Pick<Manifests, 'get'>
  readonly peers: Pick<PeerClient, 'getManifest' | 'resolveTag'>
  readonly policy: RegistryPolicy
}

export interface FindRequest {
  readonly image: ImageReference | Digest
  /** Of an index, the manifest for this one. */
  readonly platform: Platform
  /**
   * Whether a content of the image may be shown; absent for the operator, who sees everything. The answer then reveals nothing about any
   * other content, not even whether a node holds it.
   */
  readonly isShown?: ((content: RegistryContent) => Promise<boolean>) | undefined
  /** Whether the upstream may be asked for a manifest that no node holds: that is what quotas count. */
  readonly upstream: boolean
}

/** Where an image is. */
export interface FoundImage extends LocatedContents {
  /** In full: `docker.io/library/alpine:latest`, or the digest that was asked for. */
  readonly reference: string
  readonly digest?: Digest
  /** Who said what the tag names. */
  readonly resolved?: { readonly source: SourceKind; readonly peer?: string; readonly asOf: number }
  readonly platform?: string
  /** Why this is not all there is to know; undefined if it is. */
  readonly problem?: string
}

const PEER_TIMEOUT = 2 * second
const MAX_PEERS_ASKED = 4

/**
 * Finds out which nodes hold an image. The operator sees the digests and sizes of every image that the cluster holds, private ones too;
 * others what `isShown` allows. Spends no quota unless the request says so.
 */
export class ImageFinder {
  readonly #options: ImageFinderOptions
  readonly #locator: ContentLocator

  constructor(options: ImageFinderOptions) {
    this.#options = options
    this.#locator = new ContentLocator(options)
  }

  /** Throws OciError when a tag cannot be resolved, and DENIED when the image may not be shown. */
  async find(request: FindRequest, signal: AbortSignal): Promise<FoundImage> {
    const { image } = request
    if (typeof image === 'string') return this.#findDigest(image, request, signal)
    const tag = { registry: image.registry, name: image.name, tag: image.tag ?? 'latest' }
    const reference = image.digest === undefined ? tagKey(tag) : `${repositoryKey(image)}@${image.digest}`
    const resolved = image.digest === undefined ? await this.#resolve(tag, request, signal) : undefined
    const digest = image.digest ?? resolved?.descriptor.digest
    if (digest === undefined) throw new OciError('MANIFEST_UNKNOWN')
    // Before anything of it is read: the time of an answer must not tell whether this node holds the image.
    if (!(await mayShow(request, { kind: 'manifest', digest }))) throw new OciError('DENIED')
    const opened = await this.#open({ ...request, repository: image, digest }, signal)
    const named = await shownOf(opened.named, request)
    const { source, peer, asOf } = resolved ?? {}
    return {
      reference,
      digest,
      ...(source === undefined || asOf === undefined
        ? {}
        : { resolved: { source, asOf, ...(peer === undefined ? {} : { peer }) } }),
      ...opened.about,
      ...(await this.#locator.locate(named, signal)),
    }
  }

  /** Only what this node holds itself can be looked into: other nodes give nothing without a repository's name. */
  async #findDigest(digest: Digest, request: FindRequest, signal: AbortSignal): Promise<FoundImage> {
    if (request.isShown !== undefined) throw new OciError('DENIED')
    const bytes = await this.#ownManifest(digest, signal)
    if (bytes === undefined || readImageContents(bytes) === undefined)
      return { reference: digest, digest, ...(await this.#locator.locate([{ kind: 'blob', digest }], signal)) }
    const opened = await this.#open({ ...request, digest, upstream: false }, signal)
    return { reference: digest, digest, ...opened.about, ...(await this.#locator.locate(opened.named, signal)) }
  }

  /** What a tag names, by the ordinary way; past who may see it where that way ends. */
  async #resolve(tag: TagReference, { isShown }: FindRequest, signal: AbortSignal): ReturnType<TagResolver['resolve']> {
    const { tags, store, index, peers, policy } = this.#options
    const why = whyLeftOut(policy, tag)
    let failure: unknown = new OciError('NAME_UNKNOWN', why === undefined ? {} : { message: why })
    if (why === undefined) {
      try {
        return await tags.resolve(tag, [], signal)
      } catch (error) {
        signal.throwIfAborted()
        failure = error
      }
    }
    if (isShown !== undefined) throw failure
    const own = await store.resolve(tag, { signal }).catch(() => undefined)
    if (own !== undefined) return { ...own, source: 'local' }
    if (!tags.asksNeighbours) throw failure
    const { holders } = await index.survey(keyOfTag(tag), { signal })
    for (const peer of holders.slice(0, MAX_PEERS_ASKED)) {
      const known = await within(signal, (limit) => peers.resolveTag(peer, tag, { signal: limit, verified: true }))
      if (known !== undefined) return { ...known, source: 'peer', peer: peer.address }
    }
    throw failure
  }

  /** A manifest, and what it names. */
  async #open(
    asked: FindRequest & { readonly repository?: Repository; readonly digest: Digest },
    signal: AbortSignal,
  ): Promise<{ named: readonly NamedContent[]; about: { platform?: string; problem?: string } }> {
    const read = await this.#manifest(asked, signal)
    const root = { digest: asked.digest }
    if (typeof read === 'string') return { named: [{ ...root, kind: 'manifest' }], about: { problem: read } }
    const contents = readImageContents(read)
    const self = { ...root, size: read.length, ...(contents === undefined ? {} : { mediaType: contents.mediaType }) }
    if (contents === undefined) return { named: [{ ...self, kind: 'blob' }], about: {} }
    if (contents.kind === 'image') {
      return { named: [{ ...self, kind: 'manifest' }, ...contents.parts], about: {} }
    }
    const index: NamedContent = { ...self, kind: 'index' }
    const chosen = bestMatch(asked.platform, contents.manifests)
    if (chosen === undefined) return { named: [index], about: { problem: notFor(asked.platform, contents.manifests) } }
    if (!(await mayShow(asked, { kind: 'manifest', digest: chosen.digest }))) return { named: [index], about: {} }
    const platform = formatPlatform(chosen.platform ?? asked.platform)
    const inner = await this.#open({ ...asked, digest: chosen.digest }, signal)
    const [first, ...rest] = inner.named
    return {
      named: [index, { ...descriptorOnly(chosen), kind: 'manifest', ...first }, ...rest],
      about: { platform, ...inner.about },
    }
  }

  /** The bytes, or why nobody gave them. */
  async #manifest(
    asked: FindRequest & { readonly repository?: Repository; readonly digest: Digest },
    signal: AbortSignal,
  ): Promise<Uint8Array | string> {
    const { repository, digest, upstream } = asked
    const own = await this.#ownManifest(digest, signal)
    if (own !== undefined) return own
    if (repository === undefined) return 'this node does not hold this manifest'
    const { holders } = await this.#options.index.survey(keyOfDigest(digest), { signal })
    for (const peer of holders.slice(0, MAX_PEERS_ASKED)) {
      const sent = await within(signal, (limit) =>
        this.#options.peers.getManifest(peer, repository, digest, {
          signal: limit,
          verified: asked.isShown === undefined,
        }),
      )
      if (sent !== undefined && matchesDigest(sent.bytes, digest)) return sent.bytes
    }
    if (upstream && isMirrored(this.#options.policy, repository)) {
      try {
        return (await this.#options.manifests.get(repository, digest, signal)).bytes
      } catch (error) {
        signal.throwIfAborted()
        return errorText(error)
      }
    }
    const who = holders.length === 0 ? 'no node is known to hold' : 'no node gave'
    return `${who} the manifest, so its layers are not known; --upstream asks ${repository.registry} for it, which counts as a pull there`
  }

  async #ownManifest(digest: Digest, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const blob = await this.#options.store.open(digest, { signal }).catch(() => undefined)
    const bytes = blob && (await readAll(blob, MAX_MANIFEST_BYTES).catch(() => undefined))
    return bytes !== undefined && matchesDigest(bytes, digest) ? bytes : undefined
  }
}

/** Contents whose registry is asked at a time whether it shows them. */
const CHECKED_AT_A_TIME = 8

async function mayShow(
  { isShown }: FindRequest,
  { kind, digest }: Pick<NamedContent, 'kind' | 'digest'>,
): Promise<boolean> {
  const isManifest = kind === 'index' || kind === 'manifest'
  return isShown === undefined || isShown({ kind: isManifest ? 'manifests' : 'blobs', digest })
}

async function shownOf(named: readonly NamedContent[], request: FindRequest): Promise<readonly NamedContent[]> {
  if (request.isShown === undefined) return named
  const shown: NamedContent[] = []
  for (let at = 0; at < named.length; at += CHECKED_AT_A_TIME) {
    const some = named.slice(at, at + CHECKED_AT_A_TIME)
    const may = await Promise.all(some.map((content) => mayShow(request, content)))
    shown.push(...some.filter((_, index) => may[index]))
  }
  return shown
}

function descriptorOnly({ digest, size, mediaType }: ChildDescriptor): ChildDescriptor {
  return { digest, mediaType, ...(size === undefined ? {} : { size }) }
}

function notFor(platform: Platform, entries: readonly IndexEntry[]): string {
  const offered = entries.flatMap((entry) => (entry.platform === undefined ? [] : [formatPlatform(entry.platform)]))
  const real = [...new Set(offered)].filter((name) => !name.startsWith('unknown/'))
  return `the image is not for ${formatPlatform(platform)}, but for ${real.join(', ') || 'no platform that it names'}`
}

/** What a peer says in time; undefined if it says nothing of use. */
async function within<T>(
  signal: AbortSignal,
  ask: (signal: AbortSignal) => Promise<T | undefined>,
): Promise<T | undefined> {
  try {
    return await withDeadline(PEER_TIMEOUT, 'asking a peer', signal, ask)
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}
