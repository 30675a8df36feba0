import { Counter, Gauge, type Registry } from 'prom-client'

import type { StaleTags } from '../delivery/tags/stale-tags.ts'
import type { QuotaView } from '../upstream/quota/quota-view.ts'
import type { AddressView } from '../upstream/registry/addresses.ts'
import type { CredentialTrouble } from '../upstream/registry/credential-troubles.ts'
import type { Quota } from './quota.ts'
import type { RegistryLabels } from './registry-labels.ts'

/** Cap on the quotas shown: registries name what they count, and each credential of a client may be counted by itself. */
const MAX_QUOTAS = 20

/**
 * Adds the metrics of quotas, circuit breakers, credentials, and tags that were answered without their upstream. Registries that
 * `registryLabels` does not name are left out of gauges: a quota or a breaker of several registries has no value, and alerts watch them.
 */
export function observeUpstreams(
  registry: Registry,
  parts: {
    quota: Quota
    staleTags: Readonly<StaleTags>
    addresses: () => readonly AddressView[]
    credentialTroubles: () => readonly CredentialTrouble[]
    registryLabels: Pick<RegistryLabels, 'names' | 'of'>
  },
): void {
  const { quota, staleTags, registryLabels } = parts
  const registers = [registry]
  observeBreakers(registry, () => parts.addresses().filter((view) => registryLabels.names(view.registry)))
  observeCredentials(registry, parts.credentialTroubles, registryLabels)
  const quotaGauge = (name: string, help: string, read: (view: QuotaView) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['registry', 'source'],
      registers,
      collect() {
        this.reset()
        const named = quota.book.views().filter((view) => registryLabels.names(view.registry))
        const least = named.toSorted((a, b) => a.remaining - b.remaining).slice(0, MAX_QUOTAS)
        // Of two addresses of a registry that count one source, the one with less left is set last.
        for (const view of least.toReversed()) this.set({ registry: view.registry, source: view.source }, read(view))
      },
    })
  quotaGauge(
    'nabo_quota_limit',
    'Pulls that a registry of the flags allows in its window, by whom it counts them for: an address or an account. The 20 with the least left.',
    (view) => view.limit,
  )
  quotaGauge('nabo_quota_remaining', 'Those of them that remain, as last heard.', (view) => view.remaining)
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
  counter(
    'nabo_quota_refused_total',
    'Fetches of manifests that were not sent since nothing remained.',
    () => quota.gate.refused,
  )
  counter(
    'nabo_stale_tags_total',
    'Tags that were answered with what a node knew, since their registry could not be asked.',
    () => staleTags.total,
  )
  registry.registerMetric(
    new Gauge({
      name: 'nabo_stale_tag_age_seconds',
      help: 'How long before that the registry had said so: for the last such answer, and for the oldest.',
      labelNames: ['which'],
      registers: [],
      collect() {
        this.set({ which: 'last' }, staleTags.lastAge)
        this.set({ which: 'max' }, staleTags.maxAge)
      },
    }),
  )
}

function observeCredentials(
  registry: Registry,
  troubles: () => readonly CredentialTrouble[],
  labels: Pick<RegistryLabels, 'of'>,
): void {
  registry.registerMetric(
    new Gauge({
      name: 'nabo_credential_troubles',
      help: "Troubles with this node's own credentials that its last requests have shown, by reason: refused (a registry does not take an account), program (a credential helper or provider gives no answer), file (a file of credentials cannot be used). The registry is named for refused accounts.",
      labelNames: ['reason', 'registry'],
      registers: [],
      collect() {
        this.reset()
        for (const reason of ['refused', 'program', 'file'] as const) this.set({ reason, registry: '' }, 0)
        // A client may name a registry whose tokens come from another domain: that is no fault of this node.
        const own = troubles().filter(({ type }) => type !== 'withheld')
        for (const trouble of own)
          this.inc({ reason: trouble.type, registry: trouble.type === 'refused' ? labels.of(trouble.registry) : '' })
      },
    }),
  )
}

const BREAKER_VALUES = { closed: 0, 'half-open': 1, open: 2 } as const

function observeBreakers(registry: Registry, addresses: () => readonly AddressView[]): void {
  registry.registerMetric(
    new Gauge({
      name: 'nabo_upstream_breaker',
      help: 'Whether an address of a registry of the flags is in use: 0, left alone since it failed: 2, or about to be tried again: 1.',
      labelNames: ['registry', 'address'],
      registers: [],
      collect() {
        this.reset()
        for (const { registry, address, state } of addresses()) this.set({ registry, address }, BREAKER_VALUES[state])
      },
    }),
  )
}
