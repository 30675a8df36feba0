import { Counter, Gauge, type Metric, type Registry } from 'prom-client'

import type { ProofRefusal } from '../authentication/request-verifier.ts'
import type { Mismatch } from '../overlay/refused-nodes.ts'
import type { StrangerRefusal } from '../strangers/stranger-table.ts'

interface Strangers {
  readonly size: number
  readonly refused: Readonly<Record<StrangerRefusal, number>>
}

/** What this node has refused since its start, by reason. */
interface Refusals {
  readonly authentication: { readonly verifier: { readonly refused: Readonly<Record<ProofRefusal, number>> } }
  readonly refusedNodes: { readonly total: Readonly<Record<Mismatch, number>> }
}

/** Registers the metrics of connections that have not proved membership, of requests whose proof does not hold, and of nodes that could not join. */
export function observeStrangers(
  registry: Registry,
  listeners: Readonly<Record<'peer' | 'router', Strangers>>,
  cluster: () => Refusals,
): void {
  const entries = Object.entries(listeners)
  const refused = new Counter({
    name: 'nabo_strangers_refused_total',
    help: 'Connections without a proof of membership that were closed or refused, by listener (peer, router) and reason: silent (no request in time), address (limit of one address), total (limit of all addresses), full (no connection left), bytes (bodies of all strangers).',
    labelNames: ['listener', 'reason'],
    registers: [],
    collect() {
      this.reset()
      for (const [listener, strangers] of entries)
        for (const [reason, count] of Object.entries(strangers.refused)) this.inc({ listener, reason }, count)
    },
  })
  const open = new Gauge({
    name: 'nabo_stranger_connections',
    help: 'Open connections without a proof of membership, by listener. In a cluster without a secret, all connections of the peer listener.',
    labelNames: ['listener'],
    registers: [],
    collect() {
      for (const [listener, { size }] of entries) this.set({ listener }, size)
    },
  })
  const unproved = new Counter({
    name: 'nabo_peer_requests_refused_total',
    help: 'Requests to the peer listener without a valid proof, by reason: no-proof, wrong-secret, wrong-proof, other-target (for another node), no-record, too-many-members.',
    labelNames: ['reason'],
    registers: [],
    collect() {
      this.reset()
      for (const [reason, count] of Object.entries(cluster().authentication.verifier.refused))
        this.inc({ reason }, count)
    },
  })
  const mismatched = new Counter({
    name: 'nabo_nodes_refused_total',
    help: 'Connections between this node and a node of Nabo that cannot be a member of the same cluster, in either direction, by reason: secret (it has another cluster secret), version (it speaks another version of the protocol).',
    labelNames: ['reason'],
    registers: [],
    collect() {
      this.reset()
      for (const [reason, count] of Object.entries(cluster().refusedNodes.total)) this.inc({ reason }, count)
    },
  })
  for (const metric of [refused, open, unproved, mismatched] as Metric[]) registry.registerMetric(metric)
}
