import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import { warm } from '../contracts/node/warm.ts'
import type { NodeCaller } from '../contracts/node-caller.ts'
import { Semaphore } from '../async/semaphore.ts'
import { parseHostPort } from '../overlay/host-port.ts'
import type { Overlay, Peer } from '../overlay/overlay.ts'
import { PeerError } from '../peers/peer-transport.ts'
import { errorText } from '../telemetry/log.ts'
import { withDeadline } from '../time/deadline.ts'
import { second } from '../time/units.ts'
import type { WarmOrder, WarmStatus, WarmWish } from './messages.ts'
import type { WarmHandler } from './warm-jobs.ts'

/** Which nodes are to have an image, and how many of them get it at a time. */
export interface RolloutOrder extends WarmOrder {
  /** All zones if undefined. */
  readonly zones?: readonly string[] | undefined
  /** Ids, addresses with or without their port, or `self`; all nodes if undefined. */
  readonly nodes?: readonly string[] | undefined
  /** All at once if undefined. */
  readonly parallel?: number | undefined
}

/** How far one node is. */
export interface NodeProgress extends Omit<WarmStatus, 'state'> {
  /** Its id in the overlay, or what it was called where nobody is. */
  readonly node: string
  readonly address: string
  readonly state: Exclude<WarmStatus['state'], 'elsewhere'> | 'unreachable'
}

export interface RolloutOptions {
  readonly overlay: Pick<Overlay, 'self' | 'peers'>
  readonly self: WarmHandler
  /** undefined in a cluster without a secret: there nodes take no orders from each other. */
  readonly nodes: NodeCaller | undefined
  /** Between two questions to a node, in milliseconds. */
  readonly interval?: number
  /** A node that does not answer for so long is given up, in milliseconds. */
  readonly patience?: number
}

/** As the reason of a signal: this node stops, and what was ordered is left to the others. */
export class RolloutAbandoned extends Error {
  override readonly name = 'RolloutAbandoned'
}

const ASK_TIMEOUT = 8 * second
const CANCEL_TIMEOUT = 3 * second
const INTERVAL = 500
/** Of the time between two questions, for each node that is asked: a thousand nodes make a hundred questions a second. */
const INTERVAL_PER_NODE = 10
/** Longer than a daemon takes to start again. */
const PATIENCE = 20 * second
const NO_SECRET = 'without a cluster secret (--cluster-secret-file) nodes take no orders from each other'

/** Brings an image to many nodes: all are asked to pull it, and asked again until they have. */
export class Rollout {
  readonly #options: RolloutOptions
  readonly #order: RolloutOrder
  readonly #ticket = randomUUID()

  constructor(order: RolloutOrder, options: RolloutOptions) {
    this.#order = order
    this.#options = options
  }

  /**
   * Tells of each change at each node, and returns when none is under way any more. When the signal fires, what was ordered is
   * taken back (unless the reason is {@link RolloutAbandoned}), and its reason is thrown.
   */
  async run(tell: (progress: NodeProgress) => void, { signal }: { signal: AbortSignal }): Promise<void> {
    const { chosen, missing } = chooseNodes(this.#options.overlay, this.#order.nodes)
    for (const node of missing)
      tell({
        node,
        address: '',
        state: 'unreachable',
        message: 'no node of this name or address is in the cluster now',
      })
    const permits = new Semaphore(this.#order.parallel ?? chosen.length)
    const interval = Math.max(this.#options.interval ?? INTERVAL, chosen.length * INTERVAL_PER_NODE)
    const started = new Set<Peer>()
    try {
      await Promise.all(
        chosen.map(async (peer) => {
          this.#announce(peer, tell)
          const work = async () => {
            started.add(peer)
            await this.#warm(peer, interval, tell, signal)
            started.delete(peer)
          }
          await permits.run(work, { signal })
        }),
      )
    } finally {
      const isLeft = signal.reason instanceof RolloutAbandoned
      if (!isLeft) await Promise.allSettled([...started].map((peer) => this.#takeBack(peer)))
    }
  }

  #announce({ id, address }: Peer, tell: (progress: NodeProgress) => void): void {
    // Only the node itself knows its zone: with zones it may turn out not to be meant.
    if (this.#order.zones === undefined) tell({ node: id, address, state: 'queued' })
  }

  async #warm(
    peer: Peer,
    interval: number,
    tell: (progress: NodeProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { patience = PATIENCE } = this.#options
    const named = { node: peer.id, address: peer.address }
    let heard = performance.now()
    // What is told of all before they are asked.
    let last = this.#order.zones === undefined ? JSON.stringify({ state: 'queued' }) : ''
    for (;;) {
      const answer = await this.#ask(peer, signal)
      if (answer.type === 'status') {
        heard = performance.now()
        const { state } = answer.status
        if (state === 'elsewhere') return
        const text = JSON.stringify({ ...answer.status, seconds: undefined })
        if (text !== last) tell({ ...answer.status, ...named, state })
        last = text
        if (state !== 'queued' && state !== 'pulling') return
      } else if (answer.type === 'refused' || performance.now() - heard > patience) {
        const state = answer.type === 'refused' ? 'unsupported' : 'unreachable'
        return tell({ ...named, state, message: answer.message })
      }
      await sleep(interval, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
  }

  async #ask(
    peer: Peer,
    signal: AbortSignal,
  ): Promise<
    | { readonly type: 'status'; readonly status: WarmStatus }
    | { readonly type: 'refused' | 'silent'; readonly message: string }
  > {
    try {
      return { type: 'status', status: await this.#send(peer, {}, ASK_TIMEOUT, signal) }
    } catch (error) {
      signal.throwIfAborted()
      const isRefusal = error instanceof PeerError && error.reason === 'refused'
      return { type: isRefusal ? 'refused' : 'silent', message: errorText(error) }
    }
  }

  async #takeBack(peer: Peer): Promise<void> {
    await this.#send(peer, { cancel: true }, CANCEL_TIMEOUT, new AbortController().signal)
  }

  #send(peer: Peer, extra: Pick<WarmWish, 'cancel'>, timeout: number, signal: AbortSignal): Promise<WarmStatus> {
    const { overlay, self, nodes } = this.#options
    const { reference, digest, platform, namespace, zones } = this.#order
    const wish = { ticket: this.#ticket, order: { reference, digest, platform, namespace }, zones, ...extra }
    return withDeadline(timeout, `asking ${peer.address}`, signal, async (signal) => {
      if (peer.id === overlay.self.id) return self.handleWarm(wish)
      if (nodes === undefined) throw new PeerError('refused', NO_SECRET)
      return nodes.call(peer, warm, wish, { signal })
    })
  }
}

/** The nodes that are meant, this one first, and the names that nobody has. */
function chooseNodes(
  overlay: Pick<Overlay, 'self' | 'peers'>,
  names: readonly string[] | undefined,
): { readonly chosen: readonly Peer[]; readonly missing: readonly string[] } {
  const { self } = overlay
  const all = [self, ...overlay.peers()]
  if (names === undefined) return { chosen: all, missing: [] }
  const isNamed = (peer: Peer, name: string) =>
    (name === 'self' && peer === self) || namesOf(peer).includes(name.toLowerCase()) || peer.id === name
  return {
    chosen: all.filter((peer) => names.some((name) => isNamed(peer, name))),
    missing: names.filter((name) => !all.some((peer) => isNamed(peer, name))),
  }
}

/** `10.0.0.7:7951` and `10.0.0.7`; `[fd00::7]:7951` and `fd00::7`. */
function namesOf({ address }: Peer): string[] {
  const host = parseHostPort(address, 0)?.host
  return [address.toLowerCase(), ...(host === undefined ? [] : [host.toLowerCase()])]
}
