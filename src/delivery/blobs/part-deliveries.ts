import { OciError } from '../../oci/errors.ts'
import type { ByteSpan } from '../../oci/range.ts'
import type { OpenBlob } from '../../store/content-store.ts'
import type { BlobDelivery } from './blob-delivery.ts'
import type { PartsPlan, Run } from './part-runs.ts'
import { SpanReader } from './span-reader.ts'
import { type TransferOrigin, TransferRecord } from './transfer-record.ts'

/** Several parts of a blob on their way to a client. Close it in any case. */
export interface PartsDelivery {
  /** Of the whole blob, in bytes. */
  readonly size: number
  /** Of the parts, in their order; at least one, none of them empty. */
  readonly spans: readonly ByteSpan[]
  readonly record: TransferRecord
  /** Where the first bytes come from. */
  readonly origin: TransferOrigin
  /** The contents of the parts, in the order of `spans`. Each is read to its end before the next is taken. Can be read once. */
  contents(): AsyncIterable<PartContent>
  close(): Promise<void>
}

export type PartContent = { readonly span: ByteSpan } & (
  | { readonly type: 'file'; readonly file: OpenBlob }
  | { readonly type: 'stream'; readonly chunks: AsyncIterable<Uint8Array> }
)

/** Runs that are opened, the one that is sent included. What is opened ahead holds a connection and no more bytes than that buffers. */
const MAX_OPEN = 4

/** The parts of a file. */
export function partsOfFile(
  delivery: Extract<BlobDelivery, { type: 'file' }>,
  spans: readonly ByteSpan[],
): PartsDelivery {
  const { file, size, origin } = delivery
  const record = new TransferRecord()
  async function* contents(): AsyncGenerator<PartContent> {
    for (const span of spans) {
      record.add(origin.source, origin.peer, span.end - span.start)
      yield { type: 'file', span, file }
    }
  }
  return { size, spans, record, origin, contents, close: () => delivery.close() }
}

/** Parts that come by a few requests for single ranges, each of which `open` opens. Opens the first. Throws what `open` throws. */
export async function openParts(
  { size, spans, runs }: PartsPlan,
  open: (span: ByteSpan, signal: AbortSignal) => Promise<BlobDelivery>,
  signal: AbortSignal,
): Promise<PartsDelivery> {
  const ahead = new OpenAhead(
    runs,
    async (run, signal) => {
      const delivery = await open(run, signal)
      if (delivery.size === size) return delivery
      await delivery.close()
      throw new OciError('BLOB_UNKNOWN', { message: `a source says ${delivery.size} bytes where another said ${size}` })
    },
    signal,
  )
  const record = new TransferRecord()
  async function* contents(): AsyncGenerator<PartContent> {
    for (const run of runs) {
      const delivery = await ahead.next()
      try {
        yield* contentsOf(delivery, run, record)
      } finally {
        await delivery.close()
      }
    }
  }
  try {
    const { origin } = await ahead.first()
    return { size, spans, record, origin, contents, close: () => ahead.close() }
  } catch (error) {
    await ahead.close()
    throw error
  }
}

async function* contentsOf(delivery: BlobDelivery, run: Run, record: TransferRecord): AsyncGenerator<PartContent> {
  const note = (bytes: number) => {
    const { source, peer } = delivery.record.shares.at(-1) ?? delivery.origin
    record.add(source, peer, bytes)
  }
  if (delivery.type === 'file') {
    for (const span of run.spans) {
      note(span.end - span.start)
      yield { type: 'file', span, file: delivery.file }
    }
    return
  }
  await using reader = new SpanReader(delivery.chunks(), run.start)
  if (!run.isAscending) return yield* keptParts(reader, run, note)
  for (const span of run.spans) yield { type: 'stream', span, chunks: reader.read(span, note) }
}

/** Parts in any order, cut out of a run that is kept from the first of them on. Their bytes are noted as they go out. */
async function* keptParts(reader: SpanReader, run: Run, note: (bytes: number) => void): AsyncGenerator<PartContent> {
  let kept: Buffer | undefined
  async function* chunks(span: ByteSpan): AsyncGenerator<Uint8Array> {
    kept ??= Buffer.concat(await Array.fromAsync(reader.read(run, () => {})))
    note(span.end - span.start)
    yield kept.subarray(span.start - run.start, span.end - run.start)
  }
  for (const span of run.spans) yield { type: 'stream', span, chunks: chunks(span) }
}

/** Opens runs in their order, a few ahead of the one that is read. */
class OpenAhead {
  readonly #runs: readonly Run[]
  readonly #open: (run: Run) => Promise<BlobDelivery>
  readonly #controller = new AbortController()
  readonly #opening: Promise<BlobDelivery>[] = []
  #taken: BlobDelivery | undefined
  #next = 0

  constructor(
    runs: readonly Run[],
    open: (run: Run, signal: AbortSignal) => Promise<BlobDelivery>,
    signal: AbortSignal,
  ) {
    this.#runs = runs
    const either = AbortSignal.any([signal, this.#controller.signal])
    this.#open = (run) => open(run, either)
  }

  /** The first run, which the first {@link next} returns. Others are opened after it: a refusal must not cost several requests. */
  async first(): Promise<BlobDelivery> {
    this.#begin(1)
    return this.#opening[0] as Promise<BlobDelivery>
  }

  /** The next run; the caller closes it. */
  async next(): Promise<BlobDelivery> {
    this.#begin(MAX_OPEN)
    const opening = this.#opening.shift()
    if (opening === undefined) throw new Error('there is no further run')
    this.#taken = await opening
    return this.#taken
  }

  /** Ends what is being opened, and closes what was opened. Safe to call more than once. */
  async close(): Promise<void> {
    this.#controller.abort(new Error('the answer has ended'))
    const left = [...this.#opening.splice(0), ...(this.#taken === undefined ? [] : [Promise.resolve(this.#taken)])]
    await Promise.all(
      left.map((opening) =>
        opening.then(
          (delivery) => delivery.close(),
          () => {},
        ),
      ),
    )
  }

  #begin(count: number): void {
    while (!this.#controller.signal.aborted && this.#opening.length < count) {
      const run = this.#runs[this.#next]
      if (run === undefined) return
      this.#next += 1
      const opening = this.#open(run)
      opening.catch(() => {})
      this.#opening.push(opening)
    }
  }
}
