/** `all`, `none`, or the registries that were named. */
export type RegistrySet = 'all' | 'none' | ReadonlySet<string>

/** What this node does for which registry. */
export interface RegistryPolicy {
  /** Served at all. */
  readonly mirrored: RegistrySet
  /** Fetched from the upstream by the daemon when no node has it. */
  readonly fallback: RegistrySet
}

export function includesRegistry(set: RegistrySet, registry: string): boolean {
  if (typeof set === 'string') return set === 'all'
  return set.has(registry)
}
