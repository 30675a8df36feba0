import { readdirSync } from 'node:fs'
import { STATUS_CODES } from 'node:http'

import { Counter, Gauge, Histogram, Registry } from 'prom-client'

import type { SourceKind } from '../delivery/blobs/transfer-record.ts'
import type { FinishedExchange } from '../http/exchange.ts'
import type { RegistryLabels } from './registry-labels.ts'

/** Values that are read for each scrape of `/metrics`. */
export interface MetricSources {
  isReady(): boolean
  peers(): number
  storedBlobs(): number
  index(): {
    peersInSync: number
    ownKeys: number
    claims: number
    claimsIgnored: number
    membersHeard: number
    announcementsSent: number
    announcementsFailed: number
    resyncsServed: number
  }
}

/** The daemon's metrics, in a registry of their own. */
export class Metrics {
  readonly registry = new Registry()
  /** Content bytes that clients of this node got since the start, by where they came from. */
  readonly clientBytes: Record<SourceKind, number> = { local: 0, peer: 0, upstream: 0 }
  /** Content bytes that other nodes got from this one since the start. */
  peerBytes = 0
  readonly #requests: Counter
  readonly #bytes: Counter
  readonly #seconds: Histogram
  readonly #upstream: Counter
  readonly #saved: Counter
  readonly #registryLabels: Pick<RegistryLabels, 'of'>

  constructor(sources: MetricSources, registryLabels: Pick<RegistryLabels, 'of'>) {
    this.#registryLabels = registryLabels
    const registers = [this.registry]
    this.#requests = new Counter({
      name: 'nabo_requests_total',
      help: 'Requests answered, by listener, what was asked for, status, and where the first bytes came from.',
      labelNames: ['listener', 'kind', 'status', 'source'],
      registers,
    })
    this.#bytes = new Counter({
      name: 'nabo_bytes_total',
      help: 'Content bytes sent, by listener and where they came from: local, peer or upstream.',
      labelNames: ['listener', 'source'],
      registers,
    })
    this.#seconds = new Histogram({
      name: 'nabo_request_seconds',
      help: 'Time from a request to the end of its answer.',
      labelNames: ['listener', 'kind'],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300],
      registers,
    })
    this.#upstream = new Counter({
      name: 'nabo_upstream_requests_total',
      help: 'Requests to registries, by registry (other: one that no flag names), method, what was asked for and how it ended. GET of manifests is what costs quota.',
      labelNames: ['registry', 'method', 'kind', 'outcome'],
      registers,
    })
    this.#saved = new Counter({
      name: 'nabo_upstream_bytes_saved_total',
      help: 'Content bytes that clients of this node got from this or another node instead of an upstream.',
      registers,
    })
    for (const source of ['local', 'peer', 'upstream']) this.#bytes.inc({ listener: 'mirror', source }, 0)
    this.#observe(sources)
  }

  request(listener: string, finished: FinishedExchange): void {
    const kind = finished.kind ?? 'other'
    const source = finished.shares?.[0]?.source ?? 'none'
    this.#requests.inc({ listener, kind, source, status: String(finished.status) })
    this.#seconds.observe({ listener, kind }, finished.durationMs / 1000)
    for (const { source, bytes } of finished.shares ?? []) {
      this.#bytes.inc({ listener, source }, bytes)
      if (listener === 'mirror') this.clientBytes[source] += bytes
      if (listener === 'peer') this.peerBytes += bytes
      if (listener === 'mirror' && source !== 'upstream') this.#saved.inc(bytes)
    }
  }

  upstreamRequest(event: { registry: string; method: string; kind: string; outcome: string }): void {
    const { registry, method, kind, outcome } = event
    this.#upstream.inc({ registry: this.#registryLabels.of(registry), method, kind, outcome: outcomeLabel(outcome) })
  }

  #observe(sources: MetricSources): void {
    const startTime = Math.round(performance.timeOrigin / 1000)
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers: [this.registry],
        collect() {
          this.set(read())
        },
      })
    const ignored = new Counter({
      name: 'nabo_index_claims_ignored_total',
      help: 'Claims of other nodes that were ignored because of the limits per node, per address or in total.',
      registers: [],
      collect() {
        this.reset()
        this.inc(sources.index().claimsIgnored)
      },
    })
    this.registry.registerMetric(ignored)
    // prom-client's own set would watch the event loop a hundred times a second: more CPU than all the rest of an idle daemon.
    gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', () => process.memoryUsage.rss())
    gauge('process_cpu_seconds_total', 'Total user and system CPU time spent in seconds.', cpuSeconds)
    gauge('process_start_time_seconds', 'Start time of the process since the epoch in seconds.', () => startTime)
    gauge('process_open_fds', 'Number of open file descriptors.', () => readdirSync('/proc/self/fd').length)
    gauge('nodejs_heap_size_used_bytes', 'Heap in use in bytes.', () => process.memoryUsage().heapUsed)
    gauge('nabo_ready', 'Whether the node is ready, 1 or 0.', () => (sources.isReady() ? 1 : 0))
    gauge('nabo_peers', 'Other nodes that are believed alive.', () => sources.peers())
    gauge('nabo_store_blobs', 'Blobs in the content store.', () => sources.storedBlobs())
    gauge('nabo_index_own_keys', 'Keys that this node announces: digests and tags.', () => sources.index().ownKeys)
    gauge('nabo_index_claims', 'Claims of other nodes that are known here.', () => sources.index().claims)
    gauge(
      'nabo_index_peers_in_sync',
      'Other nodes that know all that they should of this one.',
      () => sources.index().peersInSync,
    )
    gauge(
      'nabo_index_members_heard',
      'Other nodes whose claims are all known here.',
      () => sources.index().membersHeard,
    )
    gauge(
      'nabo_index_announcements_sent',
      'Announcements sent since the start.',
      () => sources.index().announcementsSent,
    )
    gauge(
      'nabo_index_announcements_failed',
      'Announcements that failed since the start.',
      () => sources.index().announcementsFailed,
    )
    gauge(
      'nabo_index_resyncs_served',
      'Times another node needed the whole set again.',
      () => sources.index().resyncsServed,
    )
  }
}

/** A registry may answer with any number of three digits: only registered statuses have a label value of their own. */
function outcomeLabel(outcome: string): string {
  return /^\d+$/.test(outcome) && !Object.hasOwn(STATUS_CODES, outcome) ? 'other' : outcome
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}
