import { isLocalRegistry } from '../../oci/local-registry.ts'

/** `all`, `none`, or the registries that were named. */
export type RegistrySet = 'all' | 'none' | ReadonlySet<string>

/** What this node does for which registry. */
export interface RegistryPolicy {
  /** Served at all. */
  readonly mirrored: RegistrySet
  /** Fetched from the upstream by the daemon when no node has it. */
  readonly fallback: RegistrySet
  /** Registries with an `--upstream` of their own; none if absent. */
  readonly upstreams?: ReadonlySet<string>
}

export function includesRegistry(set: RegistrySet, registry: string): boolean {
  if (typeof set === 'string') return set === 'all'
  return set.has(registry)
}

/**
 * Whether the operator named this registry, in `--fallback`, `--upstream` or an explicit `--registries` list. `all` names no registry:
 * everybody can run one.
 */
export function isNamedRegistry({ mirrored, fallback, upstreams }: RegistryPolicy, registry: string): boolean {
  const isListed = (set: RegistrySet) => typeof set !== 'string' && set.has(registry)
  return isListed(fallback) || isListed(mirrored) || upstreams?.has(registry) === true
}

/**
 * Why a registry is not mirrored by this node; undefined if it is. A local registry (`localhost:5000`) is another one on each node, so
 * the mirror asks it only where `--upstream` names it.
 */
export function whyNotMirrored({ mirrored, upstreams }: RegistryPolicy, registry: string): string | undefined {
  if (!includesRegistry(mirrored, registry)) return `${registry} is not mirrored here: --registries leaves it out`
  if (!isLocalRegistry(registry) || upstreams?.has(registry) === true) return undefined
  return `${registry} is a registry of one machine: the mirror asks it only if --upstream ${registry}=<url> names it`
}

/** The registry may not be asked: no node has the content, and `--fallback` leaves the registry out. The message says so. */
export class NotFetchedError extends Error {
  override readonly name = 'NotFetchedError'

  constructor(registry: string, { fallback }: Pick<RegistryPolicy, 'fallback'>) {
    const fetched = typeof fallback === 'string' ? [] : [...fallback]
    super(`${registry} is not fetched by the mirror: --fallback ${[...fetched, registry].join(',')} would let it`)
  }
}
