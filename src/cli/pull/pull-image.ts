import { createHash } from 'node:crypto'

import { type Digest, digestAlgorithm, digestHex, digestOf, matchesDigest } from '../../oci/digest.ts'
import { type ImagePart, readImageContents } from '../../oci/image-contents.ts'
import { type IndexEntry, type Platform, bestMatch, formatPlatform } from '../../oci/platform.ts'
import { type ImageReference, repositoryKey, tagKey } from '../../oci/reference.ts'
import { CommandError } from '../run-command.ts'
import type { MirrorClient, Origin } from './mirror-client.ts'

export interface PullOptions {
  readonly client: Pick<MirrorClient, 'manifest' | 'blob'>
  readonly image: ImageReference
  readonly platform: Platform | 'all'
  /** Blobs at a time. */
  readonly parallel: number
  readonly signal: AbortSignal
  readonly observe: (event: PullEvent) => void
}

/** Something that is pulled. */
export interface PullContent {
  readonly kind: 'index' | 'manifest' | 'config' | 'layer'
  readonly digest: Digest
  /** In bytes. */
  readonly size: number
}

/** What happens, in order; of one content `started`, `progress` and, when its bytes have proved right, `done`. */
export type PullEvent =
  /** What the image is made of, manifests apart. */
  | { readonly event: 'planned'; readonly contents: readonly PullContent[] }
  | { readonly event: 'started'; readonly content: PullContent; readonly origin: Origin }
  | { readonly event: 'progress'; readonly content: PullContent; readonly bytes: number }
  | { readonly event: 'resumed'; readonly content: PullContent; readonly origin: Origin; readonly position: number }
  | { readonly event: 'done'; readonly content: PullContent; readonly origin: Origin; readonly ms: number }

export interface PullResult {
  /** In full: `docker.io/library/alpine:latest`. */
  readonly reference: string
  readonly digest: Digest
  readonly contents: number
  readonly bytes: number
  readonly ms: number
  /** Bytes by where the answers that brought them began to come from. */
  readonly sources: Readonly<Record<Origin['source'], number>>
}

/** A blob's answers may break off so often without a byte. */
const MAX_TRIES = 3
/** More than any index has. */
const MAX_MANIFESTS = 200

/** Reads an image through a mirror, checks all digests and keeps nothing. Throws CommandError when it cannot be had whole. */
export async function pullImage(options: PullOptions): Promise<PullResult> {
  const pull = new Pull(options)
  try {
    return await pull.run()
  } catch (error) {
    // The user gave a name, and not the digest at which the pull failed.
    if (!(error instanceof CommandError) || !STARTS_WITH_DIGEST.test(error.message)) throw error
    throw new CommandError(`${nameOf(options.image)}: ${error.message}`, { cause: error })
  } finally {
    pull.end()
  }
}

/** In full: `docker.io/library/alpine:latest`. */
function nameOf(image: ImageReference): string {
  return image.digest === undefined
    ? tagKey({ ...image, tag: image.tag ?? 'latest' })
    : `${repositoryKey(image)}@${image.digest}`
}

const STARTS_WITH_DIGEST = /^sha(?:256|512):/

class Pull {
  readonly #options: PullOptions
  readonly #failed = new AbortController()
  readonly #signal: AbortSignal
  readonly #sources: Record<Origin['source'], number> = { store: 0, peer: 0, upstream: 0, unknown: 0 }
  #contents = 0

  constructor(options: PullOptions) {
    this.#options = options
    this.#signal = AbortSignal.any([options.signal, this.#failed.signal])
  }

  end(): void {
    this.#failed.abort(new Error('the pull has ended'))
  }

  async run(): Promise<PullResult> {
    const { image, observe } = this.#options
    const began = performance.now()
    const named = image.digest ?? image.tag ?? 'latest'
    const root = await this.#manifest(named, undefined)
    const parts = await this.#partsOf(root.digest, root.bytes)
    const distinct = [...new Map(parts.map((part) => [part.digest, part])).values()]
    observe({ event: 'planned', contents: distinct })
    await this.#inParallel(distinct, (part) => this.#blob(part))
    const bytes = Object.values(this.#sources).reduce((sum, share) => sum + share, 0)
    return {
      reference: nameOf(image),
      digest: root.digest,
      contents: this.#contents,
      bytes,
      ms: performance.now() - began,
      sources: this.#sources,
    }
  }

  /** What an image or the images of an index are made of. */
  async #partsOf(digest: Digest, bytes: Buffer): Promise<readonly PullContent[]> {
    const contents = readImageContents(bytes)
    if (contents === undefined) throw new CommandError(`${digest} is no manifest that can be pulled`)
    if (contents.kind === 'image') return sized(contents.parts)
    const chosen = this.#choose(contents.manifests)
    const parts: PullContent[][] = []
    await this.#inParallel(chosen, async (entry) => {
      const inner = await this.#manifest(entry.digest, entry.size)
      const image = readImageContents(inner.bytes)
      if (image?.kind === 'image') parts.push(sized(image.parts))
    })
    return parts.flat()
  }

  #choose(entries: readonly IndexEntry[]): readonly IndexEntry[] {
    const { platform } = this.#options
    if (entries.length > MAX_MANIFESTS) throw new CommandError(`the index names ${entries.length} manifests`)
    if (platform === 'all') return entries
    const match = bestMatch(platform, entries)
    if (match !== undefined) return [match]
    const names = entries.flatMap((entry) => (entry.platform === undefined ? [] : [formatPlatform(entry.platform)]))
    const real = [...new Set(names)].filter((name) => !name.startsWith('unknown/'))
    throw new CommandError(
      `the image is not for ${formatPlatform(platform)}, but for ${real.join(', ') || 'no platform that it names'}`,
    )
  }

  async #manifest(reference: string, size: number | undefined): Promise<{ digest: Digest; bytes: Buffer }> {
    const { client, image, observe } = this.#options
    const began = performance.now()
    const { bytes, origin } = await client.manifest(image, reference, { signal: this.#signal })
    const expected = reference.includes(':') ? (reference as Digest) : undefined
    if ((expected !== undefined && !matchesDigest(bytes, expected)) || (size !== undefined && size !== bytes.length))
      throw new CommandError(`the mirror sent wrong bytes for the manifest ${reference}`)
    const digest = expected ?? digestOf(bytes)
    const kind = readImageContents(bytes)?.kind === 'index' ? 'index' : 'manifest'
    const content: PullContent = { kind, digest, size: bytes.length }
    observe({ event: 'started', content, origin })
    this.#took(content, origin, began)
    this.#sources[origin.source] += bytes.length
    return { digest, bytes }
  }

  async #blob(content: PullContent): Promise<void> {
    const { client, image, observe } = this.#options
    const began = performance.now()
    const hash = createHash(digestAlgorithm(content.digest))
    let position = 0
    let first: Origin | undefined
    for (let tries = 0; first === undefined || position < content.size; tries += 1) {
      const { size, digest } = content
      const blob = await client.blob(image, digest, { start: position, size, signal: this.#signal })
      const { origin } = blob
      observe(
        first === undefined ? { event: 'started', content, origin } : { event: 'resumed', content, origin, position },
      )
      first ??= origin
      const before = position
      try {
        for await (const chunk of blob.body) {
          hash.update(chunk)
          position += chunk.length
          this.#sources[origin.source] += chunk.length
          observe({ event: 'progress', content, bytes: position })
        }
      } catch (cause) {
        this.#signal.throwIfAborted()
        if (position > before) tries = 0
        if (tries >= MAX_TRIES) throw new CommandError(`${digest}: the mirror broke off at byte ${position}`, { cause })
      } finally {
        blob.close()
      }
    }
    if (position !== content.size || hash.digest('hex') !== digestHex(content.digest))
      throw new CommandError(`the mirror sent wrong bytes for ${content.digest}, from ${originText(first)}`)
    this.#took(content, first, began)
  }

  #took(content: PullContent, origin: Origin, began: number): void {
    this.#contents += 1
    this.#options.observe({ event: 'done', content, origin, ms: performance.now() - began })
  }

  /** The first failure ends the others. */
  async #inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
    const waiting = items.values()
    const worker = async () => {
      for (const item of waiting) {
        this.#signal.throwIfAborted()
        await work(item)
      }
    }
    const workers = Array.from({ length: Math.min(this.#options.parallel, items.length) }, worker)
    try {
      await Promise.all(workers)
    } catch (error) {
      this.#failed.abort(new Error('the pull has failed'))
      await Promise.allSettled(workers)
      throw error
    }
  }
}

/** Throws CommandError for a manifest that does not state all sizes: no other end of a transfer is sure to be the end. */
function sized(parts: readonly ImagePart[]): PullContent[] {
  return parts.map(({ kind, digest, size }) => {
    if (size !== undefined) return { kind, digest, size }
    throw new CommandError(`the manifest states no size of ${digest}, so nabo pull cannot tell when it is complete`)
  })
}

/** `this node`, a peer's address, `upstream`. */
export function originText({ source, peer }: Origin): string {
  switch (source) {
    case 'store':
      return 'this node'
    case 'peer':
      return peer ?? 'another node'
    case 'upstream':
      return 'upstream'
    case 'unknown':
      return 'the mirror'
  }
}
