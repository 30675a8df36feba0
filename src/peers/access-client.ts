import { z } from 'zod'

import { type Digest, parseDigest } from '../oci/digest.ts'
import { type Repository, parseRepositoryKey, repositoryKey } from '../oci/reference.ts'
import type { Peer } from '../overlay/overlay.ts'
import { InvalidMessage, decode } from '../providers/messages.ts'
import { second } from '../time/units.ts'
import type { PeerClient } from './peer-client.ts'

export const ACCESS_PATH = '/nabo/v1/access'
/** No valid message or answer is longer, in bytes of JSON. */
export const MAX_ACCESS_BYTES = 1_024

/** What one node asks another about a repository, or tells it. */
export interface AccessMessage {
  readonly repository: Repository
  /** Result that the sender reports; absent in a question. */
  readonly found?: 'public' | 'closed' | undefined
  /** The manifest or blob to prove, if the question is about a single digest. */
  readonly content?: NamedContent | undefined
}

/** A manifest or blob of a repository. */
interface NamedContent {
  readonly kind: 'manifests' | 'blobs'
  readonly digest: Digest
}

/** A registry's answer about a digest to an anonymous request, and the age of that answer in milliseconds. */
export interface SharedWord {
  readonly word: 'shown' | 'refused' | 'absent' | 'unknown'
  readonly age: number
}

const requestSchema = z.strictObject({
  repository: z.string().max(512),
  found: z.enum(['public', 'closed']).optional(),
  content: z.strictObject({ kind: z.enum(['manifests', 'blobs']), digest: z.string().max(256) }).optional(),
})
const ageSchema = z.number().int().min(0).max(1e9)
const answerSchema = z.strictObject({
  ageSeconds: ageSchema.nullable(),
  word: z.enum(['shown', 'refused', 'absent', 'unknown']).optional(),
})

/** Exchanges with peers which content registries serve anonymously. Throws PeerError and InvalidMessage. */
export class AccessClient {
  readonly #client: Pick<PeerClient, 'post'>

  constructor(client: Pick<PeerClient, 'post'>) {
    this.#client = client
  }

  /** How long ago a registry showed the repository to anybody, in milliseconds; undefined if the peer does not know. */
  async ask(peer: Peer, repository: Repository, options: { signal: AbortSignal }): Promise<number | undefined> {
    const { ageSeconds } = await this.#post(peer, { repository }, options)
    return ageSeconds === null ? undefined : ageSeconds * second
  }

  async tell(peer: Peer, repository: Repository, isPublic: boolean, options: { signal: AbortSignal }): Promise<void> {
    await this.#post(peer, { repository, found: isPublic ? 'public' : 'closed' }, options)
  }

  /** Asks the peer whether the registry serves a digest anonymously; the peer sends a HEAD unless it knows the answer. */
  async prove(
    peer: Peer,
    repository: Repository,
    content: NamedContent,
    options: { signal: AbortSignal },
  ): Promise<SharedWord> {
    const { ageSeconds, word = 'unknown' } = await this.#post(peer, { repository, content }, options)
    return { word, age: (ageSeconds ?? 0) * second }
  }

  async #post(peer: Peer, { repository, found, content }: AccessMessage, options: { signal: AbortSignal }) {
    const body = Buffer.from(JSON.stringify({ repository: repositoryKey(repository), found, content }))
    const answer = await this.#client.post(peer, ACCESS_PATH, body, { ...options, limit: MAX_ACCESS_BYTES })
    return decode(answerSchema, answer, MAX_ACCESS_BYTES)
  }
}

/** Reads a message. Throws InvalidMessage. */
export function decodeAccess(body: Uint8Array): AccessMessage {
  const { repository: text, found, content } = decode(requestSchema, body, MAX_ACCESS_BYTES)
  const repository = parseRepositoryKey(text)
  if (repository === undefined) throw new InvalidMessage('the repository is not one')
  if (content === undefined) return { repository, found }
  const digest = parseDigest(content.digest)
  if (digest === undefined) throw new InvalidMessage('the digest is not one')
  return { repository, found, content: { kind: content.kind, digest } }
}

/** `age` in milliseconds; undefined if nothing is known. `word`: the answer to a question about a single digest. */
export function encodeAccessAnswer(age: number | undefined, word?: SharedWord['word']): string {
  return JSON.stringify({ ageSeconds: age === undefined ? null : Math.ceil(age / second), word })
}
