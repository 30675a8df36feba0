import { isLocalRegistry } from '../../oci/local-registry.ts'

/** `all`, `none`, or a list of registries. */
export type RegistrySet = 'all' | 'none' | ReadonlySet<string>

/** The registries that this node mirrors and fetches from. */
export interface RegistryPolicy {
  /** `--registries`: served by the mirror. */
  readonly mirrored: RegistrySet
  /** `--fallback`: fetched from upstream if no node holds the content. */
  readonly fallback: RegistrySet
  /** Registries with an `--upstream` of their own; none if absent. */
  readonly upstreams?: ReadonlySet<string>
}

export function includesRegistry(set: RegistrySet, registry: string): boolean {
  if (typeof set === 'string') return set === 'all'
  return set.has(registry)
}

/**
 * True if the operator named this registry in `--fallback`, `--upstream` or an explicit `--registries` list. `all` names none, since
 * anyone can run a registry.
 */
export function isNamedRegistry({ mirrored, fallback, upstreams }: RegistryPolicy, registry: string): boolean {
  const isListed = (set: RegistrySet) => typeof set !== 'string' && set.has(registry)
  return isListed(fallback) || isListed(mirrored) || upstreams?.has(registry) === true
}

/**
 * Why this node does not mirror a registry; undefined if it does. A local registry (`localhost:5000`) differs per node, so the mirror
 * contacts it only if `--upstream` names it.
 */
export function whyNotMirrored({ mirrored, upstreams }: RegistryPolicy, registry: string): string | undefined {
  if (!includesRegistry(mirrored, registry)) return `${registry} is not mirrored here: --registries leaves it out`
  if (!isLocalRegistry(registry) || upstreams?.has(registry) === true) return undefined
  return `${registry} is a registry of one machine: the mirror asks it only if --upstream ${registry}=<url> names it`
}

/** No node holds the content, and `--fallback` does not include its registry. */
export class NotFetchedError extends Error {
  override readonly name = 'NotFetchedError'

  constructor(registry: string, { fallback }: Pick<RegistryPolicy, 'fallback'>) {
    const fetched = typeof fallback === 'string' ? [] : [...fallback]
    super(`${registry} is not fetched by the mirror: --fallback ${[...fetched, registry].join(',')} would let it`)
  }
}
