import { repositoryKey } from '../../src/oci/reference.ts'
import type { Peer } from '../../src/overlay/overlay.ts'
import type {
  Direction,
  Membership,
  SharedFailure,
  SharedTag,
  Swarm,
  SwarmItem,
  SwarmOutcome,
  SwarmQuestion,
} from '../../src/swarm/swarm.ts'
import { abortable } from '../../src/time/deadline.ts'

interface ItemState {
  readonly kind: SwarmItem['content']['kind']
  lease: { peer: Peer; serves: boolean } | undefined
  value: SharedTag | undefined
  failure: SharedFailure | undefined
  readonly complete: Map<string, Peer>
  /** Sources that one member has left, and those that are no good for anybody. */
  readonly left: Map<string, Set<string>>
  readonly disproved: Set<string>
  changed: PromiseWithResolvers<void>
}

const MAX_SOURCES = 4

/** A swarm in memory: one table for all its members, who hear of a change at once. Nothing in it expires. */
export class FakeSwarm {
  /** Who was sent upstream for what, in this order: `id docker.io/library/app:1`. */
  readonly grants: string[] = []
  /** Items that are prepared, by member. */
  readonly prepared = new Map<string, SwarmItem[]>()
  /** How each membership ended: `id item complete`. */
  readonly outcomes: string[] = []
  readonly #items = new Map<string, ItemState>()
  #down = false

  /** What one node sees of it. */
  member(self: Peer): Swarm {
    return {
      enter: (item) => this.#enter(self, item),
      prepare: (items) => void this.prepared.set(self.id, [...(this.prepared.get(self.id) ?? []), ...items]),
    }
  }

  /** From now on nobody answers: each is alone. */
  down(): void {
    this.#down = true
    for (const state of this.#items.values()) notify(state)
  }

  /** A node holds it already. */
  hold(peer: Peer, item: SwarmItem): void {
    this.#state(item).complete.set(peer.id, peer)
  }

  /** A node has gone without a word. */
  kill(id: string): void {
    for (const state of this.#items.values()) {
      state.complete.delete(id)
      if (state.lease?.peer.id === id) state.lease = undefined
      notify(state)
    }
  }

  /** Values and failures are kept for seconds only. */
  forget(): void {
    for (const state of this.#items.values()) {
      state.value = undefined
      state.failure = undefined
    }
  }

  #enter(self: Peer, item: SwarmItem): Membership {
    const state = this.#state(item)
    let over = false
    return {
      ask: (question, { signal }) => this.#ask(self, item, question, signal),
      progress: () => {},
      onRecall: () => {},
      leave: (outcome) => {
        if (over) return
        over = true
        this.outcomes.push(`${self.id} ${nameOf(item)} ${outcome.type}`)
        settle(state, self, outcome)
      },
    }
  }

  async #ask(self: Peer, item: SwarmItem, question: SwarmQuestion, signal: AbortSignal): Promise<Direction> {
    const state = this.#state(item)
    const bad = state.left.get(self.id) ?? new Set()
    state.left.set(self.id, bad)
    for (const { id, reason } of question.left) {
      bad.add(id)
      if (reason === 'absent' || reason === 'wrong') state.disproved.add(id)
    }
    for (;;) {
      signal.throwIfAborted()
      if (this.#down) return { type: 'alone' }
      const direction = this.#direct(self, item, question.serves)
      if (direction !== undefined) return direction
      await abortable(state.changed.promise, signal)
    }
  }

  /** undefined: nothing to say yet. */
  #direct(self: Peer, item: SwarmItem, serves: boolean): Direction | undefined {
    const state = this.#state(item)
    const isGood = (id: string) =>
      id !== self.id && state.left.get(self.id)?.has(id) !== true && !state.disproved.has(id)
    if (state.value !== undefined) return { type: 'known', value: state.value }
    if (state.failure !== undefined) return { type: 'failed', failure: state.failure, isOwn: false }
    const holders = [...state.complete.values()].filter((peer) => isGood(peer.id)).slice(0, MAX_SOURCES)
    if (holders.length > 0)
      return { type: 'follow', sources: holders.map((peer) => ({ peer, complete: true, level: 0 })) }
    const { lease } = state
    if (lease === undefined || lease.peer.id === self.id) {
      if (lease === undefined) this.grants.push(`${self.id} ${nameOf(item)}`)
      state.lease = { peer: self, serves }
      return { type: 'upstream' }
    }
    if (state.kind === 'tag' || !lease.serves || !isGood(lease.peer.id)) return undefined
    return { type: 'follow', sources: [{ peer: lease.peer, complete: false, level: 0 }] }
  }

  #state(item: SwarmItem): ItemState {
    const name = nameOf(item)
    let state = this.#items.get(name)
    if (state === undefined) {
      state = {
        kind: item.content.kind,
        lease: undefined,
        value: undefined,
        failure: undefined,
        complete: new Map(),
        left: new Map(),
        disproved: new Set(),
        changed: Promise.withResolvers<void>(),
      }
      this.#items.set(name, state)
    }
    return state
  }
}

function settle(state: ItemState, self: Peer, outcome: SwarmOutcome): void {
  if (state.lease?.peer.id === self.id) state.lease = undefined
  switch (outcome.type) {
    case 'complete':
      state.complete.set(self.id, self)
      break
    case 'resolved':
      state.value = outcome.value
      break
    case 'failed':
      state.failure = outcome.failure
      break
    case 'suspect':
      for (const id of outcome.senders) state.disproved.add(id)
      break
    case 'cancelled':
      break
  }
  notify(state)
}

function notify(state: ItemState): void {
  const { resolve } = state.changed
  state.changed = Promise.withResolvers<void>()
  resolve()
}

function nameOf({ repository, content }: SwarmItem): string {
  const key = repositoryKey(repository)
  return content.kind === 'tag' ? `${key}:${content.tag}` : `${key}@${content.digest}`
}
