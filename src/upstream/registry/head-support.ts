import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { repositoryKey } from '../../oci/reference.ts'
import { minute } from '../../time/units.ts'
import { UpstreamError } from '../upstream.ts'
import type { Asker } from './authorization.ts'
import { credentialId } from './credential.ts'

/** Then HEAD is tried again: a gateway may have been put right. */
const GET_LIFE = 10 * minute
/** Short: a right may be given at the registry. */
const REFUSAL_LIFE = 1 * minute
const MAX_REMEMBERED = 2000

interface Question extends Asker {
  /** The first part of the path: registries treat manifests and blobs differently. */
  readonly kind: string
}

/**
 * Remembers which addresses do not answer HEAD, so that not every request costs two. Some gateways answer it with 405 or 501, some with 403
 * for what a GET shows to anybody, and some storage signs its links for GET alone.
 */
export class HeadSupport {
  readonly #now: () => number
  readonly #getUntil = new LRUCache<string, number>(atMost(MAX_REMEMBERED))
  readonly #refusalUntil = new LRUCache<string, number>(atMost(MAX_REMEMBERED))

  /** `now` in milliseconds, monotonic. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  needsGet(question: Question): boolean {
    return (this.#getUntil.get(addressKey(question)) ?? 0) > this.#now()
  }

  /** Whether a GET may show more than the failed HEAD. `ownStatus`: the last one of the address itself, not of its token realm or CDN. */
  isWorthGet(question: Question, error: unknown, ownStatus: unknown): error is UpstreamError {
    if (!(error instanceof UpstreamError)) return false
    if (isUnsupported(error.status)) return true
    if (error.status !== 403 || (error.reason === 'denied' && ownStatus !== 403)) return false
    return (this.#refusalUntil.get(refusalKey(question)) ?? 0) <= this.#now()
  }

  /** A GET showed what HEAD did not. */
  getWorked(question: Question): void {
    this.#getUntil.set(addressKey(question), this.#now() + GET_LIFE)
  }

  /** A GET showed no more, so the asker's next refusal of a HEAD there counts as it is. */
  getShowedNothing(question: Question): void {
    this.#refusalUntil.set(refusalKey(question), this.#now() + REFUSAL_LIFE)
  }
}

/** True for a status by which a server says that it does not know the method (RFC 9110 15.5.6, 15.6.2). */
export function isUnsupported(status: number | undefined): boolean {
  return status === 405 || status === 501
}

function addressKey({ address, kind }: Question): string {
  return `${address.url.href} ${kind}`
}

function refusalKey(question: Question): string {
  const { repository, credential } = question
  return `${addressKey(question)} ${repositoryKey(repository)} ${credential === undefined ? '' : credentialId(credential)}`
}
