import type { ByteSpan } from '../../oci/range.ts'
import type { OpenBlob } from '../../store/content-store.ts'
import type { Access } from '../access/provenance.ts'
import type { TransferOrigin, TransferRecord } from './transfer-record.ts'

/** A blob on its way to a client: the size is known, the bytes flow when they are asked for. Close it in any case. */
export type BlobDelivery = {
  /** Of the whole blob, in bytes. */
  readonly size: number
  readonly span: ByteSpan
  readonly record: TransferRecord
  /** Where its first bytes come from. */
  readonly origin: TransferOrigin
  /** Why the client may read it; present only for a complete copy on this node. */
  readonly access?: Access
  /** Present if it is still arriving here: the ids of the nodes that it comes through, the root first, without this one. */
  readonly path?: readonly string[]
  close(): Promise<void>
} & (
  | { readonly type: 'file'; readonly file: OpenBlob }
  | { readonly type: 'stream'; chunks(): AsyncIterable<Uint8Array> }
)
