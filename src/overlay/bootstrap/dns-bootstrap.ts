import { lookup, Resolver } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'

import { formatHostPort, type HostPort } from '../host-port.ts'
import type { BootstrapSource, BootstrapTarget } from './bootstrap-source.ts'

/** A silent server is given up after this, so that the nodes found otherwise do not wait for it. */
const QUERY_TIMEOUT_MS = 1000

/** `getaddrinfo` cannot be cancelled, and holds one of libuv's four threads for as long as it takes. */
const LOOKUP_TIMEOUT_MS = 5000

/**
 * All A and AAAA records of a name. With a `server` only that one is asked; without, the system's servers, and then what
 * `getaddrinfo` knows besides (`/etc/hosts`, search domains). Rejects with the servers that were asked if the name cannot be resolved.
 */
export class DnsBootstrap implements BootstrapSource {
  readonly #name: string
  readonly #port: number
  readonly #server: HostPort | undefined
  #pendingLookup: Promise<readonly string[]> | undefined

  constructor(options: { name: string; port: number; server?: HostPort }) {
    this.#name = options.name
    this.#port = options.port
    this.#server = options.server
  }

  async candidates({ signal }: { signal: AbortSignal }): Promise<readonly BootstrapTarget[]> {
    const hosts = await this.#hosts(signal)
    return [...new Set(hosts)].map((host) => ({ type: 'host', host, port: this.#port }))
  }

  async #hosts(signal: AbortSignal): Promise<readonly string[]> {
    const { hosts, error, servers } = await this.#query(signal)
    if (hosts.length > 0) return hosts
    signal.throwIfAborted()
    if (this.#server !== undefined) {
      // The name has no address yet.
      if (error === undefined) return []
      const asked = `${formatHostPort(this.#server)}, which --bootstrap-dns names (in the chart clusterDNS),`
      throw new Error(`${asked} gives no address of ${this.#name}`, { cause: error })
    }
    try {
      return await this.#lookUp(signal)
    } catch (cause) {
      signal.throwIfAborted()
      const asked =
        servers.length === 0 ? 'this host, which knows no DNS server,' : `the DNS of this host (${servers.join(', ')})`
      const advice = 'if another server knows it, name that one with --bootstrap-dns (in the chart clusterDNS)'
      throw new Error(`${asked} gives no address of ${this.#name}; ${advice}`, { cause })
    }
  }

  async #query(signal: AbortSignal): Promise<{ hosts: readonly string[]; error: unknown; servers: readonly string[] }> {
    // a resolver of its own each time: it reads the system's configuration anew and can be cancelled alone
    const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: 1 })
    if (this.#server !== undefined) resolver.setServers([formatHostPort(this.#server)])
    const cancel = () => resolver.cancel()
    signal.addEventListener('abort', cancel, { once: true })
    try {
      const answers = await Promise.allSettled([resolver.resolve4(this.#name), resolver.resolve6(this.#name)])
      const failure = answers.find((answer) => answer.status === 'rejected' && !isEmpty(answer.reason))
      return {
        servers: resolver.getServers(),
        hosts: answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : [])),
        error: failure?.status === 'rejected' ? failure.reason : undefined,
      }
    } finally {
      signal.removeEventListener('abort', cancel)
    }
  }

  /** Never more than one at a time, so that a dead server cannot fill the thread pool. */
  async #lookUp(signal: AbortSignal): Promise<readonly string[]> {
    this.#pendingLookup ??= lookup(this.#name, { all: true })
      .then((records) => records.map((record) => record.address))
      .finally(() => {
        this.#pendingLookup = undefined
      })
    const enough = new AbortController()
    const deadline = sleep(LOOKUP_TIMEOUT_MS, undefined, { signal: AbortSignal.any([signal, enough.signal]) })
    try {
      return await Promise.race([
        this.#pendingLookup,
        deadline.then(() => Promise.reject(new Error(`no answer for ${this.#name} in ${LOOKUP_TIMEOUT_MS} ms`))),
      ])
    } finally {
      enough.abort()
    }
  }
}

/** The name has no record of this type: an answer, not a failure. That there is no such name may mean that it is the wrong server. */
function isEmpty(reason: unknown): boolean {
  return reason instanceof Error && 'code' in reason && reason.code === 'ENODATA'
}
