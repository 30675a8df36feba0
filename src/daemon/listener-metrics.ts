import { Counter, Gauge, type Registry } from 'prom-client'

import type { MirrorSources } from '../http/mirror-sources.ts'
import type { AddressBinder } from './address-binder.ts'

/** Registers the metrics of the listeners' addresses, and of the connections that the mirror refused. */
export function observeListeners(
  registry: Registry,
  binder: Pick<AddressBinder, 'missing'>,
  sources: Pick<MirrorSources, 'refused'>,
): void {
  registry.registerMetric(
    new Gauge({
      name: 'nabo_missing_addresses',
      help: 'Advertised addresses that this machine does not have yet, by the listener that waits for them: peer, router, metrics.',
      labelNames: ['listener'],
      registers: [],
      collect() {
        for (const [listener, addresses] of Object.entries(binder.missing)) this.set({ listener }, addresses.length)
      },
    }),
  )
  registry.registerMetric(
    new Counter({
      name: 'nabo_mirror_connections_refused_total',
      help: 'Connections to the mirror that were refused, since --mirror-from does not have their address.',
      registers: [],
      collect() {
        this.reset()
        this.inc(sources.refused)
      },
    }),
  )
}
