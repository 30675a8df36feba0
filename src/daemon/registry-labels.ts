import { type RegistryPolicy, isNamedRegistry } from '../delivery/access/registry-policy.ts'
import { DOCKER_HUB } from '../oci/reference.ts'

/** The label value of every registry that the operator has not named. */
const OTHER_REGISTRY = 'other'

/**
 * Which registries metrics name. Clients choose the names of registries (`ns`), and Prometheus keeps each label value as time series of
 * their own: so only the registries of the flags and Docker Hub have one.
 */
export class RegistryLabels {
  readonly #policy: RegistryPolicy

  constructor(policy: RegistryPolicy) {
    this.#policy = policy
  }

  names(registry: string): boolean {
    return registry === DOCKER_HUB || isNamedRegistry(this.#policy, registry)
  }

  of(registry: string): string {
    return this.names(registry) ? registry : OTHER_REGISTRY
  }
}
