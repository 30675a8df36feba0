import type { AddressView } from '../upstream/registry/addresses.ts'
import type { RegistryLabels } from './registry-labels.ts'

/**
 * Milliseconds by which the clock of a registry's address is ahead of this node's; undefined if it is not known, or if no flag names the registry: a client could
 * name many registries with a wrong clock.
 */
export function trustedClock(
  { registry, clockAhead }: AddressView,
  labels: Pick<RegistryLabels, 'names'>,
): number | undefined {
  return labels.names(registry) ? clockAhead : undefined
}
