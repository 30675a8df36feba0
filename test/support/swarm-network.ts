import { setTimeout as sleep } from 'node:timers/promises'

import { digestOf } from '../../src/oci/digest.ts'
import { kadIdOf } from '../../src/overlay/distance.ts'
import type { IndexKey, Peer } from '../../src/overlay/overlay.ts'
import { NODE_PROTOCOL, type NodeHandler } from '../../src/contracts/node-protocol.ts'
import type { NodeCaller } from '../../src/contracts/node-caller.ts'
import type { NodeContract } from '../../src/contracts/node-contract.ts'
import { type NodeMessageParts, nodeHandlers } from '../../src/http/node-messages.ts'
import { PeerError } from '../../src/peers/peer-transport.ts'
import { swarmTransport } from '../../src/peers/transports.ts'
import type { JoinAnswer, JoinMessage, ReportMessage } from '../../src/swarm/messages.ts'
import { ReplicatedSwarm } from '../../src/swarm/replicated-swarm.ts'
import type { Direction, Membership, SwarmItem, SwarmQuestion } from '../../src/swarm/swarm.ts'
import { nameItem } from '../../src/swarm/swarm-item.ts'
import type { SwarmOptions, SwarmTimings } from '../../src/swarm/swarm-options.ts'
import type { SwarmHandler, SwarmTransport } from '../../src/swarm/swarm-transport.ts'
import { FakeCluster, type FakeOverlay } from './fake-overlay.ts'
import { decoded, encoded } from './wire.ts'

const JOIN = NODE_PROTOCOL.join as unknown as AnyContract
type AnyContract = NodeContract<unknown, unknown>

/** Quick enough for tests, slow enough for a busy machine. A cluster that has only just started is not waited for. */
const QUICK: Partial<SwarmTimings> = { grace: 0, reportInterval: 100, reportTimeout: 500 }

/** For tests that wait for timeouts to pass. */
export const IMPATIENT: Partial<SwarmTimings> = {
  attemptTimeout: 500,
  hedgeDelay: 300,
  forwardTimeout: 200,
  silenceLimit: 1_000,
  patience: 1_500,
  standInAfter: 200,
  hold: 100,
  forwardedHold: 50,
}

const repository = { registry: 'docker.io', name: 'library/app' }

export function blobNamed(name: string): SwarmItem {
  return { repository, content: { kind: 'blob', digest: digestOf(Buffer.from(name)) } }
}

export function tagNamed(tag: string): SwarmItem {
  return { repository, content: { kind: 'tag', tag } }
}

export interface SwarmNode {
  readonly id: string
  readonly overlay: FakeOverlay
  readonly swarm: ReplicatedSwarm
}

/**
 * What goes wrong between two nodes. `slow` answers after the hedge, `unanswered` does what it is told and says nothing, `denied` does not
 * believe the signature.
 */
export type SwarmFault = 'none' | 'refused' | 'denied' | 'frozen' | 'slow' | 'garbage' | 'unanswered'

export type Sent =
  | { readonly from: string; readonly to: string; readonly kind: 'join'; readonly request: JoinMessage }
  | { readonly from: string; readonly to: string; readonly kind: 'report'; readonly request: ReportMessage }

/** A network in memory whose messages go through the real codec, with faults to order. */
export class SwarmNetwork {
  readonly cluster = new FakeCluster()
  readonly nodes: SwarmNode[] = []
  readonly sent: Sent[] = []
  /** Complete holders by the index of every node. */
  readonly holders = new Map<IndexKey, Peer[]>()
  readonly disproved: string[] = []
  fault: (from: string, to: string, kind: Sent['kind']) => SwarmFault = () => 'none'
  /** What a node answers instead of the truth. */
  lie: (to: string, request: JoinMessage) => JoinAnswer | undefined = () => undefined
  readonly #handlers = new Map<string, SwarmHandler>()
  readonly #options: Partial<SwarmOptions & SwarmTimings>
  #side: ReadonlySet<string> = new Set()

  constructor(options: Partial<SwarmOptions & SwarmTimings> = {}) {
    this.#options = { ...QUICK, ...options }
  }

  async add(id?: string, options: Partial<SwarmOptions & SwarmTimings> = {}): Promise<SwarmNode> {
    const overlay = this.cluster.overlay(id === undefined ? {} : { id })
    const swarm = new ReplicatedSwarm(overlay, this.#transport(overlay.self), {
      replicas: 3,
      treeChildren: 3,
      zone: undefined,
      holders: (key) => this.holders.get(key) ?? [],
      disprove: (_, peer) => this.disproved.push(peer.id),
      load: () => ({ sending: 0, capacity: 32 }),
      upstreamRate: () => undefined,
      kadId: (id) => kadIdOf(Buffer.from(id)),
      ...this.#options,
      ...options,
    })
    const node = { id: overlay.self.id, overlay, swarm }
    await overlay.start()
    await swarm.start()
    this.#handlers.set(node.id, swarm)
    this.nodes.push(node)
    return node
  }

  async addMany(count: number): Promise<SwarmNode[]> {
    return await Promise.all(Array.from({ length: count }, () => this.add()))
  }

  /** Its process ends without a word; the others' overlays notice if they are told. */
  async kill(node: SwarmNode, { noticed = true } = {}): Promise<void> {
    this.#forget(node)
    if (noticed) node.overlay.kill()
    await node.swarm.stop({ signal: AbortSignal.abort() })
  }

  async stop(node: SwarmNode): Promise<void> {
    await node.swarm.stop({ signal: AbortSignal.timeout(5_000) })
    this.#forget(node)
    await node.overlay.stop()
  }

  partition(side: readonly SwarmNode[]): void {
    this.#side = new Set(side.map((node) => node.id))
    this.cluster.partition(side.map((node) => node.overlay))
  }

  heal(): void {
    this.#side = new Set()
    this.cluster.heal()
  }

  /** The nodes closest to an item, nearest first. */
  async ranked(item: SwarmItem): Promise<SwarmNode[]> {
    const [any] = this.nodes
    const signal = AbortSignal.timeout(1_000)
    const peers = (await any?.overlay.closest(nameItem(item).key, this.nodes.length, { signal })) ?? []
    return peers.flatMap((peer) => this.nodes.find((node) => node.id === peer.id) ?? [])
  }

  /** An item that a node coordinates; another one for each name. */
  async itemOf(node: SwarmNode, name: string): Promise<SwarmItem> {
    for (let n = 0; ; n++) {
      const item = blobNamed(`${name}-${n}`)
      if ((await this.ranked(item))[0] === node) return item
    }
  }

  sum(pick: (stats: ReturnType<ReplicatedSwarm['stats']>) => number): number {
    return this.nodes.reduce((sum, node) => sum + pick(node.swarm.stats()), 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.slice().map((node) => this.kill(node)))
  }

  #forget(node: SwarmNode): void {
    this.#handlers.delete(node.id)
    const at = this.nodes.indexOf(node)
    if (at >= 0) this.nodes.splice(at, 1)
  }

  /** The messages pass through the contracts and through the handlers of the peer listener; signatures are left out. */
  #transport(self: Peer): SwarmTransport {
    const signatures = { sign: (message: JoinMessage) => message, accepts: () => true }
    const from = { ...self, remoteAddress: self.address.slice(0, self.address.lastIndexOf(':')) }
    const carry = (peer: Peer, contract: AnyContract, request: unknown, { signal }: { signal: AbortSignal }) => {
      const kind = contract === JOIN ? 'join' : 'report'
      this.sent.push({ from: self.id, to: peer.id, kind, request } as Sent)
      const decode = (body: string) => decoded(contract.answer, body)
      return this.#carry(self.id, peer.id, kind, signal, decode, async (swarm) => {
        const asked = decoded(contract.request, encoded(contract.request, request))
        const lie = kind === 'join' ? this.lie(peer.id, asked as JoinMessage) : undefined
        const handlers = nodeHandlers({ swarm, joins: signatures } as unknown as NodeMessageParts)
        const handle = handlers[kind] as NodeHandler<AnyContract>
        return encoded(contract.answer, lie ?? (await handle(asked, { from, signal })))
      })
    }
    return swarmTransport({ call: carry } as NodeCaller, signatures)
  }

  async #carry<T>(
    from: string,
    to: string,
    kind: Sent['kind'],
    signal: AbortSignal,
    decode: (body: string) => T,
    ask: (handler: SwarmHandler) => Promise<string>,
  ): Promise<T> {
    const fault = this.fault(from, to, kind)
    if (fault === 'frozen') return await new Promise(() => {})
    await sleep(fault === 'slow' ? (this.#options.hedgeDelay ?? 700) * 1.5 : 0)
    signal.throwIfAborted()
    const handler = this.#handlers.get(to)
    const isCut = this.#side.has(from) !== this.#side.has(to)
    if (handler === undefined || isCut || fault === 'refused') throw new Error('connection refused')
    if (fault === 'denied') throw new PeerError('refused', 'it answered 403', { status: 403 })
    const answer = await ask(handler)
    if (fault === 'unanswered') throw new Error('connection reset')
    return decode(fault === 'garbage' ? '{"type":"surprise"}' : answer)
  }
}

/** A transfer of a node, and what it was told. */
export class Pull {
  readonly node: SwarmNode
  readonly membership: Membership
  recalls = 0
  direction: Direction | undefined

  constructor(node: SwarmNode, item: SwarmItem) {
    this.node = node
    this.membership = node.swarm.enter(item)
    this.membership.onRecall(() => this.recalls++)
  }

  static async begin(node: SwarmNode, item: SwarmItem, question: Partial<SwarmQuestion> = {}): Promise<Pull> {
    const pull = new Pull(node, item)
    await pull.ask(question)
    return pull
  }

  async ask(question: Partial<SwarmQuestion> = {}): Promise<Direction> {
    this.direction = await this.membership.ask(
      { position: 0, size: 100_000_000, serves: true, left: [], ...question },
      { signal: AbortSignal.timeout(20_000) },
    )
    return this.direction
  }

  get type(): Direction['type'] | undefined {
    return this.direction?.type
  }

  /** The ids of the nodes that it follows. */
  get sources(): string[] {
    return this.direction?.type === 'follow' ? this.direction.sources.map((source) => source.peer.id) : []
  }
}
