import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { MANIFEST_ACCEPT } from '../../oci/manifest.ts'
import { type TagReference, tagKey } from '../../oci/reference.ts'
import type { KnownTag } from '../../store/content-store.ts'
import { TAG_TTL } from '../../swarm/limits.ts'
import type { Membership, SharedTag, Swarm } from '../../swarm/swarm.ts'
import { ToldFailureError } from '../../swarm/told-failure.ts'
import { DeadlineError, withDeadline } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import { unexplainedText } from '../../upstream/unexplained-text.ts'
import { type Upstream, UpstreamError, type UpstreamOptions, type UpstreamTag } from '../../upstream/upstream.ts'
import { askWithin } from '../ask-within.ts'
import { type AnswerQuestion, LongQuestions } from './long-questions.ts'
import type { TagMemory } from './tag-memory.ts'
import { type Caller, GRACE } from '../access/audience.ts'
import type { Rights } from '../access/rights.ts'

export interface SharedTagsOptions {
  readonly swarm: Pick<Swarm, 'enter'>
  readonly upstream: Pick<Upstream, 'headManifest'>
  readonly rights: Rights
  readonly tags: Pick<TagMemory, 'note'>
  /** False: this node asks the upstream for itself, and takes no other node's answer. */
  readonly isShared: boolean
  /** Deadline for a registry's answer, in milliseconds. */
  readonly upstreamTimeout: number
}

export interface AskOptions {
  readonly signal: AbortSignal
  /** Waits for the answer of a slow registry; without it, the answer is `slow` after seconds. */
  readonly isPatient?: boolean
}

/** What the upstream said, and whether it said it to this node. */
export interface FreshTag extends KnownTag {
  readonly source: 'upstream' | 'peer'
}

/** How long an impatient client waits for a registry; leaves time for the rest before the client's own deadline. */
export const UPSTREAM_PATIENCE = 4 * second
/** A node that waits for another one's answer asks by itself after this long: that one's upstream may use up its own time before. */
const SWARM_PATIENCE = 5 * second
/** What is left of the time for an upstream after that. */
const LATE_UPSTREAM_PATIENCE = 2 * second
/** A clock that runs ahead must not win for ever. */
export const MAX_SKEW = 10 * minute
const MAX_RECENT = 1000
/** Cap on the HEADs that go on without a client. */
const MAX_UNATTENDED = 64
/** No longer text is told to other nodes. */
const MAX_REASON_LENGTH = 300

/**
 * What the upstream says about tags now, asked once for all nodes that want to know it at the same time; once for this node alone if answers are
 * not shared. A HEAD whose clients have gone runs on until the registry has answered.
 */
export class SharedTags {
  readonly #options: SharedTagsOptions
  readonly #questions = new LongQuestions<FreshTag | undefined>({ maxUnattended: MAX_UNATTENDED })
  /** This node's own answers where it shares none, and those that came late, for as long as the swarm keeps a shared one. */
  readonly #recent = new LRUCache<string, FreshTag>({ ...atMost(MAX_RECENT), ttl: TAG_TTL })

  constructor(options: SharedTagsOptions) {
    this.#options = options
  }

  /** undefined if the upstream says that it does not exist. Throws what went wrong there, here or at another node. */
  async ask(tag: TagReference, { signal, isPatient = false }: AskOptions): Promise<FreshTag | undefined | 'slow'> {
    const answer = (...how: Asking) => this.#together(tag, how)
    try {
      return await this.#questions.ask(tagKey(tag), answer, { signal, isPatient })
    } catch (error) {
      // Another node's patience is over, or its registry has failed.
      if (!isPatient || !(error instanceof ToldFailureError)) throw error
      return this.askFor(tag, MANIFEST_ACCEPT, { signal, isPatient })
    }
  }

  /** Asks the upstream without the swarm: for a caller's credentials, a narrower `accept`, or a private repository. */
  askFor(
    tag: TagReference,
    accept: readonly string[],
    { signal, isPatient = false, caller }: AskOptions & { readonly caller?: Caller | undefined },
  ): Promise<FreshTag | undefined | 'slow'> {
    const key = JSON.stringify([tagKey(tag), caller?.id, accept])
    return this.#questions.ask(key, (...how) => this.#askAlone(tag, accept, how, caller), { signal, isPatient })
  }

  async #askAlone(
    tag: TagReference,
    accept: readonly string[],
    [signal, asked]: Asking,
    caller?: Caller,
  ): Promise<FreshTag | undefined> {
    asked(UPSTREAM_PATIENCE)
    const found = await this.#head(tag, accept, signal, caller?.credential)
    // For fewer media types the registry may choose another manifest: remember only answers that suit all clients.
    return this.#note(tag, found, { caller, isForAll: MANIFEST_ACCEPT.every((type) => accept.includes(type)) })
  }

  async #together(tag: TagReference, how: Asking): Promise<FreshTag | undefined> {
    const [signal, asked] = how
    const { swarm, rights } = this.#options
    if (!rights.mayShare(tag)) return this.#askAlone(tag, MANIFEST_ACCEPT, how)
    const recent = this.#recent.get(tagKey(tag))
    if (recent !== undefined) return recent
    if (!this.#options.isShared) return this.#remember(tag, await this.#askAlone(tag, MANIFEST_ACCEPT, how))
    const membership = swarm.enter({ repository: tag, content: { kind: 'tag', tag: tag.tag } })
    const began = performance.now()
    const direction = await askWithin(SWARM_PATIENCE, membership, { serves: false, left: [] }, signal)
    const late = performance.now() - began > UPSTREAM_PATIENCE
    switch (direction.type) {
      case 'known':
        membership.leave({ type: 'cancelled' })
        return this.#learn(tag, direction.value, how)
      case 'failed':
        membership.leave({ type: 'cancelled' })
        throw new ToldFailureError(direction)
      case 'upstream':
      case 'alone':
      case 'follow': {
        const patience = late ? LATE_UPSTREAM_PATIENCE : UPSTREAM_PATIENCE
        asked(patience)
        return this.#lead(tag, membership, { signal, patience })
      }
    }
  }

  async #lead(
    tag: TagReference,
    membership: Membership,
    { signal, patience }: { signal: AbortSignal; patience: number },
  ): Promise<FreshTag | undefined> {
    const failed = (error: unknown) => {
      const message = unexplainedText(error).slice(0, MAX_REASON_LENGTH)
      membership.leave({ type: 'failed', failure: { absent: false, message } })
    }
    let isLate = false
    // The other nodes' clients are no more patient than this node's.
    const timer = setTimeout(() => {
      isLate = true
      failed(slowUpstream(tag, patience))
    }, patience)
    let found
    try {
      found = await this.#head(tag, MANIFEST_ACCEPT, signal)
    } catch (error) {
      failed(error)
      throw error
    } finally {
      clearTimeout(timer)
    }
    // A 404 is not shared: the tag may be pushed at this moment, and the next node that asks must find it.
    if (found === undefined) membership.leave({ type: 'cancelled' })
    else void this.#tell(tag, found, membership)
    const known = this.#note(tag, found)
    // The swarm has a failure for it: the next attempt of an impatient client must find the answer here.
    return isLate ? this.#remember(tag, known) : known
  }

  #remember(tag: TagReference, found: FreshTag | undefined): FreshTag | undefined {
    if (found !== undefined) this.#recent.set(tagKey(tag), found)
    return found
  }

  /** Shares the tag and whether it is public with waiting nodes; finding out costs a request if this node has credentials. */
  async #tell(tag: TagReference, { descriptor, date, anonymous }: UpstreamTag, membership: Membership): Promise<void> {
    const { rights } = this.#options
    const probe = { kind: 'manifests', reference: descriptor.digest } as const
    const options = { signal: new AbortController().signal, maxAge: GRACE }
    const isOpen = anonymous || (!rights.sharesAll && (await rights.standing(tag, probe, options)) === 'public')
    membership.leave({ type: 'resolved', value: { descriptor, date, anonymous: isOpen } })
  }

  /** Another node's answer counts only if the tag is public, or under `share`; otherwise this node asks the upstream. */
  async #learn(tag: TagReference, value: SharedTag, how: Asking): Promise<FreshTag | undefined> {
    const { rights } = this.#options
    if (!value.anonymous && !rights.sharesAll) {
      rights.notePrivate(tag)
      return this.#askAlone(tag, MANIFEST_ACCEPT, how)
    }
    if (value.anonymous) rights.heardPublic(tag)
    const known = { descriptor: value.descriptor, asOf: Math.min(value.date, Date.now() + MAX_SKEW) }
    this.#options.tags.note(tag, known)
    return { ...known, source: 'peer' }
  }

  async #head(
    tag: TagReference,
    accept: readonly string[],
    signal: AbortSignal,
    as: UpstreamOptions['as'] = 'node',
  ): Promise<UpstreamTag | undefined> {
    const { upstream, upstreamTimeout } = this.#options
    try {
      return await withDeadline(upstreamTimeout, `asking ${tag.registry} for a tag`, signal, (signal) =>
        upstream.headManifest(tag, tag.tag, { signal, accept, as }),
      )
    } catch (error) {
      throw error instanceof DeadlineError ? slowUpstream(tag, upstreamTimeout) : error
    }
  }

  #note(
    tag: TagReference,
    found: UpstreamTag | undefined,
    { caller, isForAll = true }: { caller?: Caller | undefined; isForAll?: boolean } = {},
  ): FreshTag | undefined {
    if (found === undefined) return undefined
    const known = { descriptor: found.descriptor, asOf: found.date }
    this.#options.rights.resolved(tag, known.descriptor.digest, { anonymous: found.anonymous, caller })
    if (isForAll && caller === undefined) this.#options.tags.note(tag, known)
    return { ...known, source: 'upstream' }
  }
}

/** What a question is asked with: its signal, and to whom it says that the registry is asked now. */
type Asking = Parameters<AnswerQuestion<unknown>>

/** The failure of a registry that has not answered for `ms` milliseconds. */
export function slowUpstream({ registry }: TagReference, ms: number): UpstreamError {
  return new UpstreamError('unreachable', `${registry} has not answered within ${Math.round(ms / second)} s`)
}
