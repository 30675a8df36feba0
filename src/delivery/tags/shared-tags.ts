import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { MANIFEST_ACCEPT } from '../../oci/manifest.ts'
import { type TagReference, tagKey } from '../../oci/reference.ts'
import type { KnownTag } from '../../store/content-store.ts'
import { TAG_TTL } from '../../swarm/limits.ts'
import type { Membership, SharedTag, Swarm } from '../../swarm/swarm.ts'
import { ToldFailureError } from '../../swarm/told-failure.ts'
import { errorText } from '../../telemetry/log.ts'
import { abortable, withDeadline } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import type { Upstream, UpstreamOptions, UpstreamTag } from '../../upstream/upstream.ts'
import { askWithin } from '../ask-within.ts'
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
}

/** What the upstream said, and whether it said it to this node. */
export interface FreshTag extends KnownTag {
  readonly source: 'upstream' | 'peer'
}

/** Leaves time to ask the neighbours before the client's own deadline. */
const UPSTREAM_TIMEOUT = 4 * second
/** A node that waits for another one's answer asks by itself after this long: that one's upstream may use up its own time before. */
const SWARM_PATIENCE = 5 * second
/** What is left of the time for an upstream after that. */
const LATE_UPSTREAM_TIMEOUT = 2 * second
/** A clock that runs ahead must not win for ever. */
export const MAX_SKEW = 10 * minute
const MAX_RECENT = 1000
/** No longer text is told to other nodes. */
const MAX_REASON_LENGTH = 300

/**
 * What the upstream says about tags now, asked once for all nodes that want to know it at the same time; once for this node alone if answers are
 * not shared.
 */
export class SharedTags {
  readonly #options: SharedTagsOptions
  readonly #pending = new Map<string, Promise<FreshTag | undefined>>()
  /** This node's own answers where it shares none, for as long as the swarm keeps a shared one. */
  readonly #recent = new LRUCache<string, FreshTag>({ ...atMost(MAX_RECENT), ttl: TAG_TTL })

  constructor(options: SharedTagsOptions) {
    this.#options = options
  }

  /** undefined if the upstream says that it does not exist. Throws what went wrong there, here or at another node. */
  ask(tag: TagReference, signal: AbortSignal): Promise<FreshTag | undefined> {
    const key = tagKey(tag)
    let pending = this.#pending.get(key)
    if (pending === undefined) {
      // Not the first caller's signal: others wait for the same answer, and each step has a short deadline.
      pending = this.#together(tag).finally(() => this.#pending.delete(key))
      this.#pending.set(key, pending)
    }
    return abortable(pending, signal)
  }

  /** Asks the upstream without the swarm: for a caller's credentials, a narrower `accept`, or a private repository. */
  async askFor(
    tag: TagReference,
    accept: readonly string[],
    signal: AbortSignal,
    caller?: Caller,
  ): Promise<FreshTag | undefined> {
    const found = await this.#head(tag, accept, signal, { as: caller?.credential ?? 'node' })
    // For fewer media types the registry may choose another manifest: remember only answers that suit all clients.
    return this.#note(tag, found, { caller, isForAll: MANIFEST_ACCEPT.every((type) => accept.includes(type)) })
  }

  async #together(tag: TagReference): Promise<FreshTag | undefined> {
    const { signal } = new AbortController()
    const { swarm, rights } = this.#options
    if (!rights.mayShare(tag)) return this.askFor(tag, MANIFEST_ACCEPT, signal)
    if (!this.#options.isShared) return this.#askAlone(tag, signal)
    const membership = swarm.enter({ repository: tag, content: { kind: 'tag', tag: tag.tag } })
    const began = performance.now()
    const direction = await askWithin(SWARM_PATIENCE, membership, { serves: false, left: [] }, signal)
    const late = performance.now() - began > UPSTREAM_TIMEOUT
    switch (direction.type) {
      case 'known':
        membership.leave({ type: 'cancelled' })
        return this.#learn(tag, direction.value, signal)
      case 'failed':
        membership.leave({ type: 'cancelled' })
        throw new ToldFailureError(direction.failure)
      case 'upstream':
      case 'alone':
      case 'follow':
        return this.#lead(tag, membership, late ? LATE_UPSTREAM_TIMEOUT : UPSTREAM_TIMEOUT)
    }
  }

  async #askAlone(tag: TagReference, signal: AbortSignal): Promise<FreshTag | undefined> {
    const key = tagKey(tag)
    const recent = this.#recent.get(key)
    if (recent !== undefined) return recent
    const found = await this.askFor(tag, MANIFEST_ACCEPT, signal)
    if (found !== undefined) this.#recent.set(key, found)
    return found
  }

  async #lead(tag: TagReference, membership: Membership, timeout: number): Promise<FreshTag | undefined> {
    let found
    try {
      found = await this.#head(tag, MANIFEST_ACCEPT, new AbortController().signal, { timeout })
    } catch (error) {
      const message = errorText(error).slice(0, MAX_REASON_LENGTH)
      membership.leave({ type: 'failed', failure: { absent: false, message } })
      throw error
    }
    // A 404 is not shared: the tag may be pushed at this moment, and the next node that asks must find it.
    if (found === undefined) membership.leave({ type: 'cancelled' })
    else void this.#tell(tag, found, membership)
    return this.#note(tag, found)
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
  async #learn(tag: TagReference, value: SharedTag, signal: AbortSignal): Promise<FreshTag | undefined> {
    const { rights } = this.#options
    if (!value.anonymous && !rights.sharesAll) {
      rights.notePrivate(tag)
      return this.askFor(tag, MANIFEST_ACCEPT, signal)
    }
    if (value.anonymous) rights.heardPublic(tag)
    const known = { descriptor: value.descriptor, asOf: Math.min(value.date, Date.now() + MAX_SKEW) }
    this.#options.tags.note(tag, known)
    return { ...known, source: 'peer' }
  }

  #head(
    tag: TagReference,
    accept: readonly string[],
    signal: AbortSignal,
    { as = 'node', timeout = UPSTREAM_TIMEOUT }: { as?: UpstreamOptions['as']; timeout?: number } = {},
  ): Promise<UpstreamTag | undefined> {
    return withDeadline(timeout, `asking ${tag.registry} for a tag`, signal, (signal) =>
      this.#options.upstream.headManifest(tag, tag.tag, { signal, accept, as }),
    )
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
