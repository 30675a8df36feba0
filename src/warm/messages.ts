import type { Digest } from '../oci/digest.ts'
import type { Platform } from '../oci/platform.ts'
import { type ImageReference, repositoryKey } from '../oci/reference.ts'

/** One node asks another to have an image, or how far it is: the same message starts, joins and asks. */
export interface WarmWish {
  /** Whose wish it is; random, one for each node and order. */
  readonly ticket: string
  readonly order: WarmOrder
  /** Nodes of other zones leave it; undefined for every zone. */
  readonly zones?: readonly string[] | undefined
  /** The wish is taken back. */
  readonly cancel?: boolean | undefined
}

/** The image that a node is to have. */
export interface WarmOrder {
  /** With a tag or a digest. */
  readonly reference: ImageReference
  /** What the reference stood for when the order was given; undefined if nobody said. */
  readonly digest?: Digest | undefined
  /** The node's own if absent. */
  readonly platform?: Platform | undefined
  /** Of containerd; the usual one if absent. */
  readonly namespace?: string | undefined
}

export const WARM_STATES = [
  'queued',
  'pulling',
  'done',
  'failed',
  'unsupported',
  'cancelled',
  /** The node is in none of the zones that were named. */
  'elsewhere',
] as const
export type WarmState = (typeof WARM_STATES)[number]

/** How far a node is. */
export interface WarmStatus {
  readonly state: WarmState
  readonly zone?: string | undefined
  /** Of the image's layers and config, here already. */
  readonly bytes?: number | undefined
  readonly total?: number | undefined
  /** Since the pull began. */
  readonly seconds?: number | undefined
  /** Bytes that the pull got from other nodes and from registries. */
  readonly fromPeers?: number | undefined
  readonly fromUpstream?: number | undefined
  /** Why the job failed, or a warning. */
  readonly message?: string | undefined
}

/** `docker.io/library/app:1`, `docker.io/library/app@sha256:…`, or both. */
export function formatReference(reference: ImageReference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`
  return `${repositoryKey(reference)}${tag}${digest}`
}
