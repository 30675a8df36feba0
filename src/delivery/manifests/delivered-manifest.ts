import type { Digest } from '../../oci/digest.ts'
import { type Descriptor, type ToldMediaType, UNKNOWN_MEDIA_TYPE, manifestMediaType } from '../../oci/manifest.ts'
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

/** A manifest that this node has, and its media type as far as a record or its sender tells it. */
export interface HeldManifest {
  readonly bytes: Uint8Array
  readonly told: ToldMediaType | undefined
}

/** A manifest with the media type of the tag that named it: the registry's last word, which may be later than what this node has kept. */
export function asTagged(manifest: DeliveredManifest, { mediaType }: Descriptor): DeliveredManifest {
  return mediaType === UNKNOWN_MEDIA_TYPE
    ? manifest
    : { ...manifest, descriptor: { ...manifest.descriptor, mediaType } }
}

/** Describes a manifest of any kind, also one that Nabo cannot read: it still has bytes, a digest and a media type. */
export function descriptorOf(digest: Digest, { bytes, told }: HeldManifest): Descriptor {
  return { digest, size: bytes.length, mediaType: manifestMediaType(bytes, told) }
}
