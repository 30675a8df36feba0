import { OciError } from '../../oci/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { type ByteSpan, type RangeRequest, type SeveralRanges, resolveRanges, spanOf } from '../../oci/range.ts'
import type { ContentStore } from '../../store/content-store.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import type { Audience } from '../access/audience.ts'
import type { BlobDelivery } from './blob-delivery.ts'
import type { Fills } from './fill.ts'
import { FillDeliveries } from './fill-deliveries.ts'
import type { GrowingDeliveries } from './growing-deliveries.ts'
import type { KnownSizes } from './known-sizes.ts'
import type { StoredSizes } from './stored-sizes.ts'
import { type PartsDelivery, openParts, partsOfFile } from './part-deliveries.ts'
import { planRuns } from './part-runs.ts'
import type { BlobRequest } from './blob-request.ts'
import type { RemoteBlobs } from './remote-blobs.ts'
import { type TransferOrigin, TransferRecord } from './transfer-record.ts'
import type { Rights } from '../access/rights.ts'

export interface BlobDeliveriesOptions {
  readonly store: Pick<ContentStore, 'open' | 'openGrowing'>
  readonly remote: RemoteBlobs
  readonly rights: Pick<Rights, 'access' | 'mayServe'>
  readonly growing: GrowingDeliveries
  readonly sizes: Pick<KnownSizes, 'of'>
  /** Fills `sizes`. */
  readonly storedSizes: Pick<StoredSizes, 'learn'>
  /** Present where Nabo fills the store itself. */
  readonly fills: Fills | undefined
  readonly log: Pick<Log, 'error'>
}

const LOCAL: TransferOrigin = { source: 'local' }

/** Where a blob comes from: this node, a fill under way, a neighbour, the upstream. */
export class BlobDeliveries {
  readonly #options: BlobDeliveriesOptions
  readonly #fills: FillDeliveries | undefined

  constructor(options: BlobDeliveriesOptions) {
    this.#options = options
    const { fills, remote } = options
    const mayRead = async (request: BlobRequest, signal: AbortSignal) =>
      (await this.#accessTo(request, { kind: 'node', caller: request.caller }, signal)) !== undefined
    this.#fills = fills && new FillDeliveries({ fills, remote, mayRead })
  }

  /** This node's copy, for peers also a growing one; undefined if absent or without access. Throws OciError for an unsatisfiable range. */
  async openLocal(
    request: BlobRequest,
    range: RangeRequest,
    audience: Audience,
    signal: AbortSignal,
  ): Promise<BlobDelivery | undefined> {
    const file = await this.#options.store.open(request.digest, { signal })
    if (file === undefined)
      return audience.kind === 'peer' ? this.#openGrowing(request, range, audience, signal) : undefined
    try {
      const access = await this.#accessTo(request, audience, signal)
      if (access === undefined) {
        await file.close()
        return undefined
      }
      const span = spanOf(range, file.size)
      const record = new TransferRecord()
      record.add('local', undefined, span.end - span.start)
      return { type: 'file', size: file.size, span, record, origin: LOCAL, access, file, close: () => file.close() }
    } catch (error) {
      await file.close()
      throw error
    }
  }

  #accessTo({ repository, digest }: BlobRequest, audience: Audience, signal: AbortSignal) {
    return this.#options.rights.access(repository, { kind: 'blobs', digest }, audience, { signal })
  }

  async #openGrowing(
    request: BlobRequest,
    range: RangeRequest,
    audience: Audience,
    signal: AbortSignal,
  ): Promise<BlobDelivery | undefined> {
    const { growing } = this.#options
    // The first source records the provenance that the access check reads; earlier, it would ask the registry needlessly.
    if (!(await growing.begun(request.digest, signal))) return undefined
    if ((await this.#accessTo(request, audience, signal)) === undefined) return undefined
    const arriving = await growing.open(request.digest, signal)
    if (arriving === undefined) return undefined
    try {
      const span = spanOf(range, arriving.blob.size)
      const record = new TransferRecord()
      const file = growing.asFile(request.digest, arriving.blob, { record, signal })
      const { path } = arriving
      // Without `access`: the bytes are not verified yet, so this node claims nothing about them.
      return { type: 'file', size: file.size, span, record, origin: LOCAL, file, path, close: () => file.close() }
    } catch (error) {
      await arriving.blob.close()
      throw error
    }
  }

  /** Opens it from this node, a fill, peers or the upstream. Throws OciError if none has it. `signal` lives as long as the client. */
  async open(request: BlobRequest, range: RangeRequest, signal: AbortSignal): Promise<BlobDelivery> {
    const local = await this.#openOwn(request, range, signal)
    if (local !== undefined) return local
    await this.#learnSize(request, signal)
    return (await this.#fills?.open(request, range, signal)) ?? this.#passThrough(request, range, signal)
  }

  /**
   * Opens several ranges for one answer. From elsewhere they come by requests for single ranges, since registries answer several with all of the
   * blob or not at all. Throws OciError. `signal` lives as long as the client.
   */
  async openRanges(request: BlobRequest, ranges: SeveralRanges, signal: AbortSignal): Promise<PartsDelivery> {
    const own = await this.#openOwn(request, { type: 'whole' }, signal)
    if (own?.type === 'file') {
      try {
        return partsOfFile(own, resolveRanges(ranges, own.size))
      } catch (error) {
        await own.close()
        throw error
      }
    }
    const open = (span: ByteSpan, signal: AbortSignal) =>
      this.open(request, { type: 'from', start: span.start, end: span.end - 1 }, signal)
    return openParts(await this.#resolve(request, ranges, signal), open, signal)
  }

  /** A client learns the size, by a refusal, only if a source tells it to the client: what a manifest has said is no right to know it. */
  async #resolve({ repository, digest, ...request }: BlobRequest, ranges: SeveralRanges, signal: AbortSignal) {
    const { sizes, remote } = this.#options
    await this.#options.storedSizes.learn(repository, digest, { signal })
    const known = sizes.of(repository, digest)
    if (known !== undefined) {
      try {
        return planRuns({ size: known, spans: resolveRanges(ranges, known) })
      } catch {
        // The size is asked for before the request is refused.
      }
    }
    const size = await remote.head({ ...request, repository, digest }, { signal })
    return planRuns({ size, spans: resolveRanges(ranges, size) })
  }

  /** Whether a blob that has not been opened yet is on its way here, or the swarm looks for a source of it. */
  isComing(digest: Digest): boolean {
    return this.#options.remote.isComing(digest)
  }

  /** Size in bytes, from this node, a peer or the upstream. Throws OciError if none has the blob. */
  async size(request: BlobRequest, signal: AbortSignal): Promise<number> {
    const local = await this.#openOwn(request, { type: 'whole' }, signal)
    if (local === undefined) {
      await this.#learnSize(request, signal)
      return this.#options.remote.head(request, { signal })
    }
    await local.close()
    return local.size
  }

  /** The registry may not say the size, nor does containerd of a blob that it is writing. */
  #learnSize({ repository, digest }: BlobRequest, signal: AbortSignal): Promise<void> {
    return this.#options.storedSizes.learn(repository, digest, { signal })
  }

  /** A store that cannot be read (a broken disk, a missing right) must not fail a pull that others can serve. */
  async #openOwn(request: BlobRequest, range: RangeRequest, signal: AbortSignal): Promise<BlobDelivery | undefined> {
    try {
      return await this.openLocal(request, range, { kind: 'node', caller: request.caller }, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof OciError) throw error
      this.#options.log.error({ digest: request.digest, err: errorText(error) }, 'the content store cannot be read')
      return undefined
    }
  }

  async #passThrough(request: BlobRequest, range: RangeRequest, signal: AbortSignal): Promise<BlobDelivery> {
    const { stream, span } = await this.#openSpan(request, range, signal)
    return {
      type: 'stream',
      size: stream.size,
      span,
      record: stream.record,
      origin: stream.origin,
      chunks: () => stream.chunks(span.end),
      close: async () => stream.cancel(),
    }
  }

  /**
   * Whether peers can read this transfer while it grows. containerd opens its ingest before it sends the request: without an ingest the
   * client is another program and keeps nothing. Beside a fill, the fill is the growing copy.
   */
  async #serves({ repository, digest }: BlobRequest, signal: AbortSignal): Promise<boolean> {
    const { store, sizes, fills } = this.#options
    if (fills !== undefined) return false
    try {
      const growing = await store.openGrowing(digest, { size: sizes.of(repository, digest), signal })
      await growing?.close()
      return growing !== undefined
    } catch {
      signal.throwIfAborted()
      return false
    }
  }

  async #openSpan(request: BlobRequest, range: RangeRequest, signal: AbortSignal) {
    const { remote } = this.#options
    const { start, end } =
      range.type === 'suffix' ? spanOf(range, await remote.head(request, { signal })) : offsetsOf(range)
    let stream
    try {
      const serves = await this.#serves(request, signal)
      // Beside a cache that does not keep the blob, nothing else shows that the bytes are right when the next client asks for them.
      stream = await remote.open(request, { start, end, serves, hashes: this.#options.fills !== undefined, signal })
    } catch (error) {
      // No source sends bytes past the end: then report the range instead.
      if (start > 0 && error instanceof OciError) spanOf(range, await remote.head(request, { signal }))
      throw error
    }
    try {
      return { stream, span: spanOf(range, stream.size) }
    } catch (error) {
      stream.cancel()
      throw error
    }
  }
}

/** `end`: exclusive; undefined for the end of the blob. */
function offsetsOf(range: Exclude<RangeRequest, { type: 'suffix' }>): { start: number; end: number | undefined } {
  if (range.type === 'whole') return { start: 0, end: undefined }
  return { start: range.start, end: range.end === undefined ? undefined : range.end + 1 }
}
