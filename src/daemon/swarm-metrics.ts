import { Counter, Gauge, type Registry } from 'prom-client'

import type { DeliveryCounters } from '../delivery/blobs/delivery-counters.ts'

/** What is looked up when `/metrics` is asked for. */
export interface SwarmMetricSources {
  swarm(): {
    items: number
    members: number
    leases: number
    leasesGranted: number
    leasesMoved: number
    unanswered: number
  }
  readonly counters: Pick<DeliveryCounters, 'states' | 'sourcesLeft' | 'resumes' | 'recalls'>
  /** Nodes that are sent what is still arriving here. */
  followers(): number
  suspicion(): { suspectBlobs: number; caughtHolders: number; quarantines: number; quarantined: number }
}

/** Adds to a registry what there is to know about following, leading and suspecting. */
export function observeSwarm(registry: Registry, sources: SwarmMetricSources): void {
  const registers = [registry]
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  const { counters } = sources
  registry.registerMetric(
    new Gauge({
      name: 'nabo_transfers',
      help: 'Blobs on their way to this node, by where they come from now: upstream, a complete holder, or a node that is getting it.',
      labelNames: ['state'],
      registers: [],
      collect() {
        for (const [state, count] of Object.entries(counters.states)) this.set({ state }, count)
      },
    }),
  )
  registry.registerMetric(
    new Counter({
      name: 'nabo_sources_left_total',
      help: 'Sources that transfers left before the end, by reason: stalled, broken, busy, refused, absent or wrong.',
      labelNames: ['reason'],
      registers: [],
      collect() {
        this.reset()
        for (const [reason, count] of counters.sourcesLeft) this.inc({ reason }, count)
      },
    }),
  )
  counter(
    'nabo_stalls_total',
    'Sources that sent nothing for too long.',
    () => counters.sourcesLeft.get('stalled') ?? 0,
  )
  counter('nabo_resumes_total', 'Times a transfer went on at its byte with another source.', () => counters.resumes)
  counter('nabo_recalls_total', 'Times a transfer was told that there is a better source.', () => counters.recalls)
  gauge('nabo_followers', 'Nodes that are sent what is still arriving here.', () => sources.followers())
  gauge('nabo_swarm_items', 'Things that this node coordinates the fetching of.', () => sources.swarm().items)
  gauge('nabo_swarm_members', 'Transfers of all nodes that this node coordinates.', () => sources.swarm().members)
  gauge('nabo_swarm_leases', 'Rights to go upstream that are given now.', () => sources.swarm().leases)
  counter('nabo_leases_granted_total', 'Rights to go upstream that were given.', () => sources.swarm().leasesGranted)
  counter('nabo_leases_moved_total', 'Those of them that another node had before.', () => sources.swarm().leasesMoved)
  counter(
    'nabo_swarm_unanswered_total',
    'Questions of this node that no coordinator answered in time.',
    () => sources.swarm().unanswered,
  )
  counter(
    'nabo_suspect_blobs_total',
    'Blobs that did not turn up in the content store, or were asked for again.',
    () => sources.suspicion().suspectBlobs,
  )
  counter(
    'nabo_caught_holders_total',
    'Times another node sent a whole blob with wrong bytes.',
    () => sources.suspicion().caughtHolders,
  )
  counter(
    'nabo_quarantines_total',
    'Stored blobs of this node that failed their own hash.',
    () => sources.suspicion().quarantines,
  )
  gauge('nabo_quarantined_blobs', 'Those of them that are still stored.', () => sources.suspicion().quarantined)
}
