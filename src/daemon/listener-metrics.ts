import { Gauge, type Registry } from 'prom-client'

import type { AddressBinder } from './address-binder.ts'

/** Registers the metrics of the listeners' addresses. */
export function observeListeners(registry: Registry, binder: Pick<AddressBinder, 'missing'>): void {
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
}
