import type { Connection, IdentifyResult, PeerId, PeerInfo } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { Multiaddr } from '@multiformats/multiaddr'

import { closestTo, type KadId, kadIdOf } from '../distance.ts'
import { formatHostPort } from '../host-port.ts'
import type { IndexKey, Overlay, OverlayEvent, Peer } from '../overlay.ts'
import { second } from '../../time/units.ts'
import { parseNodeAddress, peerAddresses, routerAddresses, routerMultiaddr } from './addresses.ts'
import { Bootstrapper } from './bootstrapper.ts'
import { ConnectionKeeper } from './connection-keeper.ts'
import { Dialler } from './dialler.ts'
import { findClosest, forgetInRoutingTable } from './dht.ts'
import { Heartbeat } from './heartbeat.ts'
import { createHost, type Host } from './host.ts'
import { MemberExchange } from './member-exchange.ts'
import { MemberTable } from './member-table.ts'
import type { Libp2pOverlayOptions } from './overlay-options.ts'
import { RegionCache } from './region-cache.ts'
import { RememberedRouters } from './remembered-routers.ts'
import { openRouter } from './router-listener.ts'

/** How often the parts look whether something is due: a fraction of their shortest pause. */
const TICK_MS = 250

const STOP_TIMEOUT_MS = 5 * second

/** Milliseconds that never go back. */
const clock = () => performance.now()

interface Node {
  readonly peer: Peer
  readonly kadId: KadId
}

/** What exists between start and stop. */
interface Running {
  readonly host: Host
  readonly dialler: Dialler
  readonly exchange: MemberExchange
  readonly heartbeat: Heartbeat
  /** One for the bootstrap source, one for the routers that are remembered: each waits for its own source only. */
  readonly bootstrappers: readonly Bootstrapper[]
  readonly remembered: RememberedRouters
  readonly ending: AbortController
  readonly timer: NodeJS.Timeout
}

/** The cluster as libp2p connections: whoever is connected and announces a peer listener is a member. */
export class Libp2pOverlay implements Overlay {
  readonly self: Peer
  readonly #options: Libp2pOverlayOptions
  readonly #members = new MemberTable()
  readonly #regions = new RegionCache<Node>()
  readonly #selfNode: Node
  #running: Running | undefined

  constructor(options: Libp2pOverlayOptions) {
    const [host] = options.advertise
    if (host === undefined) throw new Error('the overlay needs an address to advertise')
    const peerId = peerIdFromPrivateKey(options.identity)
    this.#options = options
    this.self = { id: peerId.toString(), address: formatHostPort({ host, port: options.peerPort }) }
    this.#selfNode = { peer: this.self, kadId: kadIdOf(peerId.toMultihash().bytes) }
  }

  /** Where this node's router is, as peers are told: multiaddrs with the peer id. Empty unless started. */
  routers(): readonly Multiaddr[] {
    const addresses = this.#running?.host.getMultiaddrs() ?? []
    return addresses
      .filter((address) => parseNodeAddress(address)?.listener === 'router')
      .map((address) => address.encapsulate(`/p2p/${this.self.id}`))
  }

  /** Throws ListenError if an address cannot be listened on. */
  async start(): Promise<void> {
    if (this.#running !== undefined) return
    const host = await createHost(this.#options)
    const ending = new AbortController()
    const running = this.#assemble(host, ending)
    try {
      await running.exchange.serve(ending.signal)
      await running.heartbeat.serve()
      await host.start()
      await this.#listen(host, ending.signal)
    } catch (error) {
      clearInterval(running.timer)
      ending.abort()
      await stopHost(host)
      throw error
    }
    this.#running = running
  }

  async stop(): Promise<void> {
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    clearInterval(running.timer)
    running.ending.abort()
    try {
      await stopHost(running.host)
    } finally {
      for (const connection of running.host.getConnections()) connection.abort(new Error('the overlay stops'))
      for (const { id } of this.#members.peers()) this.#members.remove(id)
    }
  }

  peers(): readonly Peer[] {
    return this.#members.peers()
  }

  async closest(key: IndexKey, count: number, { signal }: { signal: AbortSignal }): Promise<readonly Peer[]> {
    signal.throwIfAborted()
    const bytes = Buffer.from(key, 'hex')
    const target = kadIdOf(bytes)
    const nodes = new Map<string, Node>([[this.self.id, this.#selfNode]])
    for (const member of this.#members.list()) nodes.set(member.peer.id, member)
    const running = this.#running
    if (running?.dialler.crowded === true) {
      for (const node of await this.#lookUp(running.host, target, bytes, signal)) {
        if (!nodes.has(node.peer.id)) nodes.set(node.peer.id, node)
      }
    }
    return closestTo(target, nodes.values(), count).map((node) => node.peer)
  }

  subscribe(listener: (event: OverlayEvent) => void): () => void {
    return this.#members.subscribe(listener)
  }

  /** A lookup that fails leaves the caller with the nodes that are connected. */
  async #lookUp(host: Host, target: KadId, key: Uint8Array, signal: AbortSignal): Promise<readonly Node[]> {
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    try {
      return await Promise.race([this.#regions.get(target, clock(), () => findClosest(host, key)), aborted])
    } catch (error) {
      signal.throwIfAborted()
      this.#options.log.debug({ error: String(error) }, 'a lookup failed')
      return []
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  async #listen(host: Host, ending: AbortSignal): Promise<void> {
    const { listen, bind = (_address, attempt) => attempt() } = this.#options
    for (const address of listen)
      await bind(address, async () => {
        ending.throwIfAborted()
        return openRouter(host.services.transports, address, listen)
      })
  }

  #assemble(host: Host, ending: AbortController): Running {
    const { log, maxConnections, bootstrap, kept } = this.#options
    const dialler = new Dialler({ host, maxConnections, clock, log })
    const exchange = new MemberExchange({
      host,
      members: this.#members,
      hear: ({ peerId, routers }) => dialler.hear(peerId, routers),
      log,
    })
    const isAlone = () => this.#members.size === 0
    const remembered = new RememberedRouters({
      kept: kept?.routers ?? [],
      clock,
      isAlone,
      onChange: (routers) => kept?.save(routers),
    })
    const bootstrappers = [bootstrap, remembered].map(
      (source) =>
        new Bootstrapper({
          source,
          host,
          isMember: (router) => this.#isConnected(router),
          hasRoom: () => dialler.room > 0,
          onFailure: (router) => remembered.failed(router),
          log,
        }),
    )
    const heartbeat = new Heartbeat({ host, members: this.#members, log })
    const identified = new WeakSet<Connection>()
    const keeper = new ConnectionKeeper({
      host,
      identify: (connection, options) => host.services.identify.identify(connection, options),
      isIdentified: (connection) => identified.has(connection),
      log,
    })
    const timer = setInterval(() => {
      if (host.status !== 'started') return
      const now = clock()
      for (const bootstrapper of bootstrappers) bootstrapper.tick(now, isAlone(), ending.signal)
      exchange.tick(now, ending.signal)
      dialler.tick(ending.signal)
      keeper.tick(now, ending.signal)
      heartbeat.tick(now, ending.signal)
    }, TICK_MS)
    const running = { host, dialler, exchange, heartbeat, bootstrappers, remembered, ending, timer }
    host.addEventListener('peer:identify', ({ detail }) => {
      identified.add(detail.connection)
      this.#handle('identify', () => this.#admit(running, detail))
    })
    host.addEventListener('peer:discovery', ({ detail }) =>
      this.#handle('discovery', () => this.#discover(running, detail)),
    )
    host.addEventListener('peer:disconnect', ({ detail }) =>
      this.#handle('disconnect', () => this.#dismiss(running, detail)),
    )
    return running
  }

  /** Node ends the process for an error in a listener of an EventTarget, and other nodes decide what these listeners read. */
  #handle(event: string, listener: () => void): void {
    try {
      listener()
    } catch (error) {
      this.#options.log.debug({ event, error: String(error) }, 'an event of the overlay failed')
    }
  }

  #admit(
    { host, exchange, remembered, ending }: Running,
    { connection, listenAddrs, signedPeerRecord }: IdentifyResult,
  ): void {
    const peerId = connection.remotePeer
    if (ending.signal.aborted || host.getConnections(peerId).length === 0) return
    // the connection proves who says this; the stored record may be older than a clock that was set back
    const announced = listenAddrs.length > 0 ? listenAddrs : (signedPeerRecord?.addresses ?? [])
    const addresses = peerAddresses(announced, connection.remoteAddr)
    const [address] = addresses
    if (address === undefined) return
    const id = peerId.toString()
    const known = this.#members.get(id)
    // of several connections the first one says which address works
    if (known !== undefined && addresses.includes(known.peer.address)) return
    const kadId = known?.kadId ?? kadIdOf(peerId.toMultihash().bytes)
    const routers = routerAddresses(announced, connection.remoteAddr)
    this.#options.log.info({ peer: id, address }, 'a peer has joined')
    this.#members.put({ peer: { id, address }, peerId, kadId, routers })
    remembered.joined({ id, from: parseNodeAddress(connection.remoteAddr)?.host, routers })
    // where there is one newcomer there may be more
    exchange.hurry(clock())
  }

  /** The DHT has heard of a node. */
  #discover({ host, dialler, ending }: Running, { id, multiaddrs }: PeerInfo): void {
    if (ending.signal.aborted || host.status !== 'started') return
    const routers = multiaddrs.flatMap((address) => {
      const parsed = parseNodeAddress(address)
      return parsed?.listener === 'router' ? [routerMultiaddr(parsed)] : []
    })
    dialler.hear(id, routers)
  }

  #dismiss({ host, dialler, bootstrappers, remembered, exchange, ending }: Running, peerId: PeerId): void {
    forgetInRoutingTable(host, peerId)
    const member = this.#members.remove(peerId.toString())
    if (member === undefined || ending.signal.aborted) return
    this.#options.log.info({ peer: member.peer.id, address: member.peer.address }, 'a peer has left')
    const now = clock()
    dialler.lose(peerId, member.routers)
    remembered.left(member.peer.id)
    for (const bootstrapper of bootstrappers) bootstrapper.hurry(now)
    exchange.hurry(now)
  }

  #isConnected(router: Multiaddr): boolean {
    const wanted = parseNodeAddress(router)
    if (wanted === undefined) return false
    const text = routerMultiaddr(wanted).toString()
    for (const member of this.#members.list()) {
      if (member.routers.some((known) => known.toString() === text)) return true
    }
    return false
  }
}

/** A stop that hangs is left alone. */
async function stopHost(host: Host): Promise<void> {
  const { promise: deadline, resolve: giveUp } = Promise.withResolvers<void>()
  const timer = setTimeout(giveUp, STOP_TIMEOUT_MS)
  try {
    await Promise.race([host.stop(), deadline])
  } finally {
    clearTimeout(timer)
  }
}
