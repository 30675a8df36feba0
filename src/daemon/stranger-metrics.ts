import { Counter, Gauge, type Registry } from 'prom-client'

import type { Refusal } from '../strangers/stranger-table.ts'

interface Strangers {
  readonly size: number
  readonly refused: Readonly<Record<Refusal, number>>
}

/** Registers the metrics of connections that have not proved membership. */
export function observeStrangers(registry: Registry, listeners: Readonly<Record<'peer' | 'router', Strangers>>): void {
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
  for (const metric of [refused, open]) registry.registerMetric(metric)
}
