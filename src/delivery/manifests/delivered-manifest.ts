import type { Digest } from '../../oci/digest.ts'
import { type Descriptor, parseManifest } from '../../oci/manifest.ts'
import type { Access } from '../access/provenance.ts'
import type { SourceKind } from '../blobs/transfer-record.ts'

/** A verified manifest. */
export interface DeliveredManifest {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
  readonly source: SourceKind
  /** Why the client may read it. */
  readonly access: Access
  /** The address of the peer it came from, if it did. */
  readonly peer?: string
}

/** A manifest of another kind (schema 1, an artifact of its own) still has bytes and a digest. */
export function descriptorOf(digest: Digest, bytes: Uint8Array): Descriptor {
  const mediaType = parseManifest(bytes)?.mediaType ?? 'application/octet-stream'
  return { digest, size: bytes.length, mediaType }
}
