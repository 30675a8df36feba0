import type { Digest } from '../../oci/digest.ts'
import {
  type Descriptor,
  type ToldMediaType,
  UNKNOWN_MEDIA_TYPE,
  manifestMediaType,
  tellsMediaType,
} from '../../oci/manifest.ts'
import type { Access } from '../access/provenance.ts'
import type { SourceKind } from '../blobs/transfer-record.ts'

/** A verified manifest. */
export interface DeliveredManifest {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
  /** True if the media type is the word of the repository's registry, and no hint. */
  readonly isRegistrys: boolean
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

/**
 * A manifest with the media type of the tag that named it. From the upstream that is the registry's last word, which may be later than what this node
 * has kept; from anywhere else it is a hint.
 */
export function asTagged(
  manifest: DeliveredManifest,
  { descriptor: { mediaType }, source }: { readonly descriptor: Descriptor; readonly source: SourceKind },
): DeliveredManifest {
  const isRegistrys = source === 'upstream'
  if (mediaType === UNKNOWN_MEDIA_TYPE || (manifest.isRegistrys && !isRegistrys)) return manifest
  const { bytes, descriptor } = manifest
  return { ...manifest, descriptor: descriptorOf(descriptor.digest, { bytes, told: { mediaType, isRegistrys } }) }
}

/**
 * What a node tells a peer of a cluster with a secret about the media type. The peer keeps it as the registry's word where the bytes tell nothing, so a hint
 * is not told there.
 */
export function toldToPeer({
  descriptor,
  bytes,
  isRegistrys,
}: Omit<DeliveredManifest, 'source' | 'access'>): Descriptor {
  return isRegistrys || tellsMediaType(bytes) ? descriptor : { ...descriptor, mediaType: UNKNOWN_MEDIA_TYPE }
}

/** Describes a manifest of any kind, also one that Nabo cannot read: it still has bytes, a digest and a media type. */
export function descriptorOf(digest: Digest, { bytes, told }: HeldManifest): Descriptor {
  return { digest, size: bytes.length, mediaType: manifestMediaType(bytes, told) }
}
