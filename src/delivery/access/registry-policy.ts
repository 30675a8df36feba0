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

/** Nobody may be asked for it: no node has it, and the daemon does not go to its registry. The message says which flag would change that. */
export class NotFetchedError extends Error {
  override readonly name = 'NotFetchedError'

  constructor(registry: string, { fallback }: Pick<RegistryPolicy, 'fallback'>) {
    const fetched = typeof fallback === 'string' ? [] : [...fallback]
    super(`${registry} is not fetched by the mirror: --fallback ${[...fetched, registry].join(',')} would let it`)
  }
}
