import { lookup as systemLookup } from 'node:dns'
import type { LookupFunction } from 'node:net'

import { LRUCache } from 'lru-cache'
import { atMost } from '../../async/at-most.ts'
import { Agent, type Dispatcher, Pool, ProxyAgent, buildConnector } from 'undici'

import { isLocalAddress } from '../../oci/local-registry.ts'
import { isLocalhostOr, isPrivateAddress } from './private-address.ts'
import type { ChooseProxy } from './proxies.ts'
import type { TlsSettings } from './tls/registry-tls.ts'
import { SocketHistories } from './socket-histories.ts'

/** Resolves names and classifies IP addresses. */
export interface Network {
  readonly lookup: LookupFunction
  /** True outside the public Internet. */
  readonly isPrivate: (address: string) => boolean
  /** Loopback, unspecified or link-local: a different machine on each node. */
  readonly isLocal: (address: string) => boolean
}

/** Addresses that a connection may use: `remote` refuses local addresses, `public` all private ones. */
export type Reach = 'anything' | 'remote' | 'public'

export interface ConnectionsOptions {
  /** For a TCP and TLS connection, in milliseconds. */
  readonly connectTimeout: number
  readonly proxyFor: ChooseProxy
  readonly network: Network
}

/** A connection was refused because `reach` excludes its address. Nothing was sent there. */
export class AddressRefusedError extends Error {
  override readonly name = 'AddressRefusedError'
  readonly reach: Exclude<Reach, 'anything'>

  constructor(reach: Exclude<Reach, 'anything'>) {
    super()
    this.reach = reach
  }
}

export const SYSTEM_NETWORK: Network = {
  lookup: (hostname, options, callback) => systemLookup(hostname, options, callback),
  isPrivate: isPrivateAddress,
  isLocal: isLocalAddress,
}

const MAX_HEADER_BYTES = 64 * 1024
const MAX_ORIGINS = 5000
/** A certificate that is renewed leads to new agents. */
const MAX_AGENTS = 100

/** The kept connections to registries, their token realms and their CDNs. */
export class Connections {
  readonly #options: ConnectionsOptions
  /** By certificates, refused addresses, proxy, and whether connections are kept. One that is evicted ends when its requests have ended. */
  readonly #agents = new LRUCache<string, Dispatcher>({
    ...atMost(MAX_AGENTS),
    dispose: (agent, _key, reason) => reason === 'evict' && void agent.close().catch(() => {}),
  })
  /** True for an origin that was only ever met at private addresses. Evicts the origin whose last connection is the oldest. */
  readonly #origins = new LRUCache<string, boolean>(atMost(MAX_ORIGINS))
  readonly #sockets = new SocketHistories()

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /**
   * For a request to `url`. Throws AddressRefusedError for a literal address that `reach` excludes; requests fail with it if the name resolves to
   * such an address. A proxy resolves names itself, so only literal addresses are checked. With `isNew` the request gets a connection of its own,
   * which is not kept.
   */
  dispatcher(url: URL, reach: Reach, tls: TlsSettings, { isNew = false }: { isNew?: boolean } = {}): Dispatcher {
    if (reach !== 'anything' && isLocalhostOr(refusedBy(reach, this.#options.network), url.hostname))
      throw new AddressRefusedError(reach)
    const proxy = this.#options.proxyFor(url)
    const key = JSON.stringify([tls.key, proxy === undefined ? reach : proxy.href, isNew])
    let agent = this.#agents.get(key)
    if (agent === undefined) {
      agent = proxy === undefined ? this.#direct(tls, reach, isNew) : this.#through(proxy, tls, isNew)
      this.#agents.set(key, agent)
    }
    return agent
  }

  /** True if a request that began at `requestedAt` (`performance.now()`) may only have met a kept connection that was already given up. */
  wasStale(error: unknown, requestedAt: number): boolean {
    return this.#sockets.isStale(error, requestedAt)
  }

  /** True if a URL's host is private itself, as far as the connections to it have shown. What is not known is public. */
  isPrivate(url: URL): boolean {
    return isLocalhostOr(this.#options.network.isPrivate, url.hostname) || this.#origins.peek(url.origin) === true
  }

  async close(): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.destroy()))
  }

  #direct(tls: TlsSettings, reach: Reach, isNew: boolean): Dispatcher {
    const { network } = this.#options
    const lookup = reach === 'anything' ? network.lookup : lookupWithin(reach, network)
    const connect = this.#sockets.watching(buildConnector({ ...this.#tls(tls), lookup }))
    return new Agent({
      ...this.#limits(isNew),
      connect: (options, callback) =>
        connect(options, (...result) => {
          const [error, socket] = result
          if (error === null) {
            const origin = new URL(`${options.protocol}//${options.host ?? options.hostname}`).origin
            this.#note(origin, network.isPrivate(socket.remoteAddress ?? ''))
          }
          callback(...result)
        }),
    })
  }

  #through(proxy: URL, tls: TlsSettings, isNew: boolean): Dispatcher {
    return new ProxyAgent({
      ...this.#limits(isNew),
      uri: proxy.href,
      connectTimeout: this.#options.connectTimeout,
      requestTls: this.#tls(tls),
      factory: (origin, options: Pool.Options) => {
        const { connect } = options
        return new Pool(origin, {
          ...options,
          ...this.#limits(isNew),
          ...(typeof connect === 'function' ? { connect: this.#sockets.watching(connect) } : {}),
        })
      },
    })
  }

  /** HTTP/1.1: one connection a blob, and the kernel's flow control instead of a window of 64 KiB. */
  #limits(isNew: boolean) {
    return { maxHeaderSize: MAX_HEADER_BYTES, allowH2: false, pipelining: isNew ? 0 : 1 }
  }

  #tls({ secureContext, verifies }: TlsSettings) {
    const context = secureContext === undefined ? {} : { secureContext }
    return { timeout: this.#options.connectTimeout, allowH2: false, rejectUnauthorized: verifies, ...context }
  }

  /** Once public, always public: a name that leads elsewhere the next time must not earn trust by it. */
  #note(origin: string, isPrivate: boolean): void {
    this.#origins.set(origin, isPrivate && this.#origins.peek(origin) !== false)
  }
}

function refusedBy(reach: Exclude<Reach, 'anything'>, network: Network): (address: string) => boolean {
  switch (reach) {
    case 'remote':
      return network.isLocal
    case 'public':
      return network.isPrivate
  }
}

/** The check is on what is connected to, so that a name which is resolved anew cannot get round it. */
function lookupWithin(reach: Exclude<Reach, 'anything'>, network: Network): LookupFunction {
  const isRefused = refusedBy(reach, network)
  return (hostname, options, callback) => {
    network.lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, [])
      const all = Array.isArray(found) ? found : [{ address: found, family: found.includes(':') ? 6 : 4 }]
      const open = all.filter(({ address }) => !isRefused(address))
      const [first] = open
      if (first === undefined) return callback(new AddressRefusedError(reach), [])
      if (options.all === true) callback(null, open)
      else callback(null, first.address, first.family)
    })
  }
}
