import { digestOf, matchesDigest, parseDigest, type Digest } from '../../oci/digest.ts'
import {
  MANIFEST_ACCEPT,
  MAX_MANIFEST_BYTES,
  UNKNOWN_MEDIA_TYPE,
  manifestMediaType,
  parseManifestType,
} from '../../oci/manifest.ts'
import { parseContentRange } from '../../oci/range.ts'
import { type Bandwidth, throttled } from '../../mover/bandwidth.ts'
import type { Repository } from '../../oci/reference.ts'
import {
  type SizedOptions,
  type Upstream,
  type UpstreamBlob,
  type UpstreamBlobOptions,
  UpstreamError,
  type UpstreamListing,
  type UpstreamManifest,
  type UpstreamOptions,
  type UpstreamProof,
  type UpstreamQuestion,
  type UpstreamTag,
} from '../upstream.ts'
import type { RegistryAnswer, RegistryRequest } from './address-client.ts'
import { discard, isEncoded, lengthOf, mediaTypeOf, readSmallBody } from './bodies.ts'
import { FetchedManifests } from './fetched-manifests.ts'
import type { HttpResponse } from './http-client.ts'
import { readProof } from './proof.ts'
import { exactSection, section } from './section.ts'
import type { RegistrySession } from './registry-session.ts'

export interface RegistryClientOptions {
  /** Limits how fast the bytes of blobs are read; no limit if absent. */
  readonly bandwidth?: Bandwidth | undefined
  /**
   * Whether a GET of a manifest, which may count as a pull, may follow a HEAD that is not answered, or without digest, size or media type. Allowed
   * at every registry if absent.
   */
  readonly mayGet?: (registry: string) => boolean
}

const MAX_LISTING_BYTES = 8 * 1024 * 1024

/** The pull half of the distribution API as registries really speak it. */
export class RegistryClient implements Upstream {
  readonly #session: RegistrySession
  readonly #bandwidth: Bandwidth | undefined
  readonly #mayGet: (registry: string) => boolean
  readonly #fetched = new FetchedManifests()

  constructor(session: RegistrySession, options: RegistryClientOptions = {}) {
    this.#session = session
    this.#bandwidth = options.bandwidth
    this.#mayGet = options.mayGet ?? (() => true)
  }

  async headManifest(
    repository: Repository,
    reference: string,
    options: UpstreamOptions,
  ): Promise<UpstreamTag | undefined> {
    const asked = this.#head(repository, manifestRequest('HEAD', reference, options))
    return this.#session.request(repository, asked, options, async (answer, signal) => {
      const { response, anonymous } = answer
      if (answer.method === 'GET') return this.#keep(repository, options, await readManifest(answer, reference))
      await discard(response)
      const digest = parseDigest(reference) ?? parseDigest(response.header('docker-content-digest') ?? '')
      const size = lengthOf(response)
      const mediaType = manifestTypeOf(response)
      // Some registries leave these out of a HEAD: then only a GET can tell.
      if (digest === undefined || size === undefined || mediaType === undefined) {
        if (!this.#mayGet(repository.registry))
          throw mayNotGet(response, repository.registry, { digest, size, 'media type': mediaType })
        const fetched = await this.getManifest(repository, reference, { ...options, signal })
        return fetched && this.#keep(repository, options, fetched)
      }
      return { descriptor: { digest, size, mediaType }, date: dateOf(response), anonymous }
    })
  }

  async getManifest(
    repository: Repository,
    reference: string,
    options: UpstreamOptions,
  ): Promise<UpstreamManifest | undefined> {
    const digest = parseDigest(reference)
    const fetched = digest && this.#fetched.take(repository, digest, options)
    if (fetched !== undefined) return fetched
    const asked = manifestRequest('GET', reference, options)
    return this.#session.request(repository, asked, options, (answer) => readManifest(answer, reference))
  }

  async headBlob(repository: Repository, digest: Digest, options: SizedOptions): Promise<number | undefined> {
    const asked = this.#head(repository, blobHead(digest))
    return this.#session.request(repository, asked, options, async (answer) => {
      await discardBlob(answer)
      const { response } = answer
      const said =
        response.status === 206 ? parseContentRange(response.header('content-range'))?.size : lengthOf(response)
      const size = said ?? options.statedSize
      if (size === undefined) throw noSize(response, digest)
      return size
    })
  }

  async shows(
    repository: Repository,
    asked: UpstreamQuestion,
    options: UpstreamOptions,
  ): Promise<UpstreamProof | undefined> {
    const { kind, reference } = asked
    const head = kind === 'manifests' ? manifestRequest('HEAD', reference, options) : blobHead(reference)
    return this.#session.request(repository, this.#head(repository, head), options, async (answer) => {
      // A GET of a manifest may have cost quota: the pull that the proof is for takes it from here.
      if (kind === 'manifests' && answer.method === 'GET') {
        const { descriptor, anonymous } = this.#keep(repository, options, await readManifest(answer, reference))
        return { anonymous, digest: descriptor.digest }
      }
      await discardBlob(answer)
      return readProof(answer, asked)
    })
  }

  /** A HEAD that may become a GET: of a manifest where GETs may be sent to the registry, of a blob's first byte everywhere. */
  #head(repository: Repository, asked: RegistryRequest): RegistryRequest {
    // The first byte says the size of a blob as well as all of them, and counts for no quota.
    if (asked.path.startsWith('blobs/')) return { ...asked, orGet: { ...asked.headers, range: 'bytes=0-0' } }
    return this.#mayGet(repository.registry) ? { ...asked, orGet: asked.headers } : asked
  }

  #keep(repository: Repository, options: UpstreamOptions, fetched: UpstreamManifest): UpstreamManifest {
    this.#fetched.keep(repository, options, fetched)
    return fetched
  }

  async getBlob(
    repository: Repository,
    digest: Digest,
    options: UpstreamBlobOptions,
  ): Promise<UpstreamBlob | undefined> {
    const { start, end } = options
    const isWhole = start === 0 && end === undefined
    const range = `bytes=${start}-${end === undefined ? '' : end - 1}`
    const headers: Record<string, string> = isWhole ? {} : { range }
    const asked = { method: 'GET', path: `blobs/${digest}`, headers } as const
    return this.#session.request(repository, asked, options, async ({ response, address, anonymous }, signal) => {
      let said: number | undefined
      let size: number | undefined
      try {
        said = sizeOf(response, digest, options)
        size = said ?? options.statedSize ?? (await this.headBlob(repository, digest, { ...options, signal }))
        if (size === undefined) throw noSize(response, digest)
      } catch (error) {
        response.body.destroy()
        throw error
      }
      const share = this.#bandwidth?.share(signal)
      const cancel = () => {
        share?.close()
        response.body.destroy()
      }
      // An upstream that does not know Range sends all: what comes before `start` is read and dropped.
      const before = response.status === 206 ? 0 : start
      const count = Math.min(end ?? size, size) - start
      const whole = throttled(response.body, share)
      const isSized = said !== undefined || start + count < size
      const body = isSized ? section(whole, before, count) : exactSection(whole, before, count, response.url.host)
      return { size, address, anonymous, body, cancel }
    })
  }

  async getListing(repository: Repository, pathAndQuery: string, options: UpstreamOptions): Promise<UpstreamListing> {
    const asked = {
      method: 'GET',
      path: pathAndQuery,
      headers: { accept: 'application/json, application/vnd.oci.image.index.v1+json' },
    } as const
    // A mirror lists what it happens to have, and an empty list of referrers would mean that there are no signatures.
    const found = await this.#session.request(
      repository,
      asked,
      { ...options, itself: true },
      async ({ response }): Promise<UpstreamListing> => {
        const body = await readSmallBody(response, MAX_LISTING_BYTES)
        if (!isJson(body)) throw new UpstreamError('invalid', `${response.url.host} sent a list that is not JSON`)
        return {
          status: response.status,
          contentType: response.header('content-type') ?? 'application/json',
          link: response.header('link'),
          filtersApplied: response.header('oci-filters-applied'),
          body,
        }
      },
    )
    return found ?? { status: 404, contentType: 'application/json', link: undefined, body: Buffer.from('{}') }
  }
}

function manifestRequest(method: 'GET' | 'HEAD', reference: string, options: UpstreamOptions): RegistryRequest {
  const accept = (options.accept ?? MANIFEST_ACCEPT).join(', ')
  return { method, path: `manifests/${reference}`, headers: { accept } }
}

function blobHead(digest: string): RegistryRequest {
  return { method: 'HEAD', path: `blobs/${digest}`, headers: {} }
}

/** Ends an answer whose headers say enough. The body of a GET with 200 is the whole blob. */
async function discardBlob({ response, method }: RegistryAnswer): Promise<void> {
  if (method === 'GET' && response.status === 200) response.body.destroy()
  else await discard(response)
}

async function readManifest({ response, anonymous }: RegistryAnswer, reference: string): Promise<UpstreamManifest> {
  const bytes = await readSmallBody(response, MAX_MANIFEST_BYTES)
  const wanted = parseDigest(reference) ?? parseDigest(response.header('docker-content-digest') ?? '')
  if (wanted !== undefined && !matchesDigest(bytes, wanted)) {
    throw new UpstreamError('invalid', `${response.url.host} sent a manifest that is not ${wanted}`)
  }
  // A proxy in front of the registry may answer 200 with a page of its own, whose digest must not become the tag's.
  if (wanted === undefined && manifestMediaType(bytes) === UNKNOWN_MEDIA_TYPE) {
    throw new UpstreamError('invalid', `${response.url.host} sent something that is no manifest`)
  }
  const told = manifestTypeOf(response)
  const mediaType = manifestMediaType(bytes, told === undefined ? undefined : { mediaType: told, isRegistrys: true })
  const descriptor = { digest: wanted ?? digestOf(bytes), size: bytes.length, mediaType }
  return { bytes, descriptor, date: dateOf(response), anonymous }
}

/** Of the whole blob, undefined if the answer does not say; throws UpstreamError if it is not what was asked for. */
function sizeOf(
  response: HttpResponse,
  digest: Digest,
  { start, end, statedSize }: UpstreamBlobOptions,
): number | undefined {
  const { status, url } = response
  if (isEncoded(response)) {
    throw new UpstreamError('invalid', `${url.host} sent ${digest} in an encoding nobody asked for`, { status })
  }
  // A gateway in front of the registry (login, maintenance) sends a page with 200 too.
  if (/^\s*text\/html\b/i.test(response.header('content-type') ?? ''))
    throw new UpstreamError('invalid', `${url.host} sent a page where ${digest} should be`, { status })
  const length = lengthOf(response)
  if (status !== 206) {
    if (length !== undefined && length < start)
      throw new UpstreamError('invalid', `${url.host} says that ${digest} ends before byte ${start}`, { status })
    return length
  }
  // A server that produces the blob as it goes may not know where it ends.
  const said = response.header('content-range')
  const range = parseContentRange(statedSize === undefined ? said : said?.replace(/\/\*$/, `/${statedSize}`))
  const isRight = range?.start === start && range.end === Math.min(end ?? range.size, range.size)
  if (!isRight || (length !== undefined && length !== range.end - start)) {
    throw new UpstreamError('invalid', `${url.host} sent another part of ${digest} than it was asked for`, { status })
  }
  return range.size
}

function noSize({ url, status }: HttpResponse, digest: Digest): UpstreamError {
  const message = `${url.host} does not say the size of ${digest}, nor does a manifest that this node has seen`
  return new UpstreamError('unsized', message, { status })
}

function isJson(body: Uint8Array): boolean {
  try {
    JSON.parse(Buffer.from(body).toString('utf8'))
    return true
  } catch {
    return false
  }
}

/** Throws UpstreamError for a page (maintenance, a login): no manifest is text, and containerd 2.1 takes it for one of an old kind. */
function manifestTypeOf(response: HttpResponse): string | undefined {
  const type = mediaTypeOf(response) ?? ''
  if (type.toLowerCase().startsWith('text/'))
    throw new UpstreamError('invalid', `${response.url.host} sent a page of type ${type} where a manifest should be`)
  return parseManifestType(type)
}

/** `said`: the fields of a tag's descriptor, undefined for each that the HEAD answer lacks. */
function mayNotGet({ url, status }: HttpResponse, registry: string, said: Record<string, unknown>): UpstreamError {
  const lacking = Object.keys(said).filter((name) => said[name] === undefined)
  const message = `${url.host} answers HEAD without the ${lacking.join(', ')} of the manifest, and no GET is sent: --fallback leaves ${registry} out`
  return new UpstreamError('failed', message, { status })
}

function dateOf(response: HttpResponse): number {
  const date = Date.parse(response.header('date') ?? '')
  return Number.isNaN(date) ? Date.now() : date
}
