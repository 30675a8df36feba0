import type { Digest } from '../../../src/oci/digest.ts'
import type { Image } from '../image-maker.ts'
import type { HubFaults } from './faults.ts'
import type { HubCounters, HubRequest, HubTransfer } from './ledger.ts'

/** A stand-in for Docker Hub: a registry, its token server and its CDN, three origins that behave like the real ones. */
export interface Hub {
  /** What an upstream is set to, as `http://127.0.0.1:40001`. */
  readonly registryUrl: string
  readonly authUrl: string
  readonly cdnUrl: string
  /** Puts an image under a tag. `repository` is `library/app` or `org/app`; `app` means `library/app`. */
  publish(repository: string, tag: string, image: Image): Promise<void>
  /** Points a tag at a manifest that the repository already has. */
  retag(repository: string, tag: string, digest: Digest): Promise<void>
  /** Takes a repository and its tags away. */
  remove(repository: string): Promise<void>
  /** Changes how it fails from now on; what is not named stays. An origin's faults are replaced as a whole. */
  setFaults(faults: Partial<HubFaults>): Promise<void>
  /** Makes every token that was given out worthless. */
  revokeTokens(): Promise<void>
  /** Every token that was given out since the start or the last {@link revokeTokens}, oldest first. */
  issuedTokens(): Promise<readonly string[]>
  counters(): Promise<HubCounters>
  /** The requests since the start or the last reset, oldest first; the last 10,000. */
  requests(): Promise<readonly HubRequest[]>
  /** The blobs that the CDN sent or is sending, since the start or the last reset, oldest first; the last 10,000. */
  transfers(): Promise<readonly HubTransfer[]>
  /** Ends all faults, sets all counters and quotas back. What is published stays. */
  reset(): Promise<void>
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** All of it can be sent to another process. Addresses default to 127.0.0.1 and a free port. */
export interface HubOptions {
  readonly registry?: HubAddress
  readonly auth?: HubAddress
  /** The URL of the token server in challenges, where clients know `auth` by another name. */
  readonly realm?: string
  readonly cdn?: HubAddress
  /** false: a registry that lets everybody pull, as most mirrors do. */
  readonly tokens?: boolean
  /** Wants the name and password of one of its users with every request, and has no token server. */
  readonly basic?: boolean
  /** false: the token server knows GET alone. */
  readonly oauth?: boolean
  /** What is said to who is known and has no right to a repository; 401 if absent, as Docker Hub does. */
  readonly refusal?: 401 | 403 | 404
  /** Sends blobs itself, without a CDN. */
  readonly directBlobs?: boolean
  readonly users?: readonly HubUser[]
  /** Repositories that only the users who are named with them may pull. */
  readonly privateRepositories?: readonly string[]
  /** Manifest GETs that are allowed in a window. No quota and no such headers if absent, as for paid accounts. */
  readonly quota?: HubQuota
  /** Requests a minute from one client, beyond which the bare 429 comes. */
  readonly abuseLimit?: number
  /** `expires_in` of a token, 300 if absent; 0 leaves the field out, which means 60. */
  readonly tokenSeconds?: number
  /** Waits this long before each answer of any origin, as when they are far away. */
  readonly latencyMs?: number
  /** What the CDN sends in all; each transfer has an equal share. As fast as it goes if absent. */
  readonly bytesPerSecond?: number
  /** TLS for all three origins. PEM. */
  readonly tls?: { readonly key: string; readonly cert: string }
}

/** What mirror.gcr.io does: it has some public images, knows nobody, and says 404 to all else without a word of quota. */
export const PUBLIC_MIRROR: HubOptions = { tokens: false, directBlobs: true }

export interface HubQuota {
  readonly anonymous: number
  /** Twice as many if absent. */
  readonly user?: number
  /** 6 hours if absent. */
  readonly windowSeconds?: number
  /** Everybody comes from this address, as from behind one NAT. */
  readonly sharedAddress?: string
}

export interface HubAddress {
  readonly host?: string
  readonly port?: number
}

export interface HubUser {
  readonly name: string
  readonly password: string
  /** A refresh token that was given out at a login long ago: an identity token, in the words of the CRI. */
  readonly identityToken?: string
  /** Private repositories that this user may pull. */
  readonly mayPull?: readonly string[]
}
