import type { BufferPool } from '../../mover/buffer-pool.ts'
import { parseHostPort } from '../../overlay/host-port.ts'
import type { SwarmSource } from '../../swarm/swarm.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { withDeadline } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import type { BlobSources, PeerStream } from '../blobs/blob-sources.ts'
import type { BlobRequest } from '../blobs/blob-request.ts'
import { ResumingStream } from '../blobs/resuming-stream.ts'
import { type Spool, SpoolError, type SpoolFile } from './spool.ts'
import type { Suspects } from './suspects.ts'
import { verifiedChunks, WrongBytesError } from './verified-stream.ts'

export interface VettedSearchOptions {
  readonly sources: Pick<BlobSources, 'holders' | 'openPeer'>
  readonly suspects: Pick<Suspects, 'avoids' | 'wrong'>
  readonly spool: Pick<Spool, 'create'>
  readonly buffers: Pick<BufferPool, 'giveBack'>
  readonly log: Pick<Log, 'debug' | 'warn'>
}

/** A whole blob in a temporary file whose bytes passed the hash. */
export interface VettedCopy {
  readonly size: number
  readonly file: SpoolFile
  /** The answer that the bytes came from, now at its end. */
  readonly from: PeerStream
}

/** Holders that one search tries, one after the other. */
const MAX_HOLDERS = 32
/** Duration of one search at most: the kubelet cancels a pull that makes no progress for five minutes. */
export const SEARCH_TIMEOUT = 4 * minute
/** Time for one holder, plus that for the blob at {@link MIN_BYTES_PER_SECOND}: a slow holder must not use up the time of the others. */
const HOLDER_TIMEOUT = 10 * second
const MIN_BYTES_PER_SECOND = 4 * 1024 * 1024
/** For an address without a port, which peers do not advertise: only the host counts. */
const ANY_PORT = 1

/** Tries the holders of one blob until one has sent the right bytes. */
export class VettedSearch {
  /** The copy; undefined if no holder gave one. Never rejects. */
  readonly result: Promise<VettedCopy | undefined>
  readonly #options: VettedSearchOptions
  readonly #request: BlobRequest
  readonly #stopping = new AbortController()

  /** `size`: of the whole blob, in bytes; undefined if only holders can say it. */
  constructor(options: VettedSearchOptions, request: BlobRequest, size: number | undefined) {
    this.#options = options
    this.#request = request
    this.result = this.#run(size)
  }

  /** Ends the search, and frees the copy. Call it once, after the last reader. */
  async close(): Promise<void> {
    this.#stopping.abort(new Error('no request waits for the blob'))
    const copy = await this.result
    await copy?.file.close()
  }

  async #run(size: number | undefined): Promise<VettedCopy | undefined> {
    const { sources, log } = this.#options
    const { digest } = this.#request
    const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(SEARCH_TIMEOUT)])
    try {
      const holders = this.#inOrder(await sources.holders(this.#request, { signal }))
      for (const holder of holders) {
        signal.throwIfAborted()
        const copy = await this.#fetch(holder, size, signal)
        if (copy !== undefined) return copy
      }
      log.warn({ digest, holders: holders.length }, 'no peer sent the right bytes of a suspect blob')
    } catch (error) {
      if (!this.#stopping.signal.aborted)
        log.warn({ digest, err: errorText(error) }, 'the search for a right copy of a suspect blob ended')
    }
    return undefined
  }

  /**
   * In random order, with avoided holders last, and one holder of each host before a second one of any: a member can invent identities, but not
   * addresses of other hosts.
   */
  #inOrder(holders: readonly SwarmSource[]): readonly SwarmSource[] {
    const { digest } = this.#request
    const shuffled = holders.map((source) => ({ source, order: Math.random() })).sort((a, b) => a.order - b.order)
    const isAvoided = ({ source }: { source: SwarmSource }) => this.#options.suspects.avoids(digest, source.peer)
    const { avoided = [], others = [] } = Object.groupBy(shuffled, (one) => (isAvoided(one) ? 'avoided' : 'others'))
    const count = new Map<string, number>()
    // Count avoided holders first: another holder on the host of one then comes after the first holders of other hosts.
    const ranked = [...avoided, ...others].map(({ source }) => {
      const host = hostOf(source.peer.address)
      const rank = count.get(host) ?? 0
      count.set(host, rank + 1)
      return { source, rank }
    })
    const [last, first] = [ranked.slice(0, avoided.length), ranked.slice(avoided.length)]
    return [...first.sort((a, b) => a.rank - b.rank), ...last].slice(0, MAX_HOLDERS).map(({ source }) => source)
  }

  /** undefined if the holder did not give the right bytes in time. Throws SpoolError, and the signal's reason. */
  async #fetch(holder: SwarmSource, size: number | undefined, signal: AbortSignal): Promise<VettedCopy | undefined> {
    const { sources, spool, suspects, log } = this.#options
    const attempt = { position: 0, end: undefined, signal, left: () => {} }
    const stream = await sources.openPeer(this.#request, [holder], attempt)
    if (stream === undefined) return undefined
    let file: SpoolFile | undefined
    try {
      if (size !== undefined && stream.size !== size)
        throw new Error(`${stream.size} bytes where ${size} were expected`)
      file = await spool.create(stream.size)
      await this.#fill(file, stream, signal)
      return { size: stream.size, file, from: stream }
    } catch (error) {
      stream.cancel()
      await file?.close()
      signal.throwIfAborted()
      if (error instanceof SpoolError) throw error
      const { digest } = this.#request
      if (error instanceof WrongBytesError) suspects.wrong(digest, stream.from, { alone: true })
      log.debug({ digest, peer: holder.peer.address, err: errorText(error) }, 'a peer did not give the right bytes')
      return undefined
    }
  }

  async #fill(file: SpoolFile, stream: PeerStream, parent: AbortSignal): Promise<void> {
    const { digest } = this.#request
    const { size } = stream
    const timeout = HOLDER_TIMEOUT + Math.ceil(size / MIN_BYTES_PER_SECOND) * second
    await withDeadline(timeout, `a blob of ${size} bytes from ${stream.name}`, parent, async (signal) => {
      const onAbort = () => stream.cancel()
      signal.addEventListener('abort', onAbort, { once: true })
      const body = new ResumingStream({ first: stream, start: 0, signal, reopen: async () => undefined })
      let position = 0
      for await (const chunk of verifiedChunks(body.chunks(size), { digest, size, senders: () => stream.from })) {
        await file.write(chunk, position)
        position += chunk.length
        this.#options.buffers.giveBack(chunk)
      }
    })
  }
}

/** The host of `host:port`, as a key. */
function hostOf(address: string): string {
  return parseHostPort(address, ANY_PORT)?.host ?? address
}
