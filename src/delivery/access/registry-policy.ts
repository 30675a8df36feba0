import { isLocalRegistry } from '../../oci/local-registry.ts'
import { repositoryKey, tagKey } from '../../oci/reference.ts'
import type { ImageFilter, NamedImage } from './image-filter.ts'

/** `all`, `none`, or a list of registries. */
export type RegistrySet = 'all' | 'none' | ReadonlySet<string>

/** The registries and images that this node mirrors, and the registries that it fetches from. */
export interface RegistryPolicy {
  /** `--registries`: served by the mirror. */
  readonly mirrored: RegistrySet
  /** `--include` and `--exclude`; no limit if absent. */
  readonly images?: Pick<ImageFilter, 'whyLeftOut'>
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
 * Whether the operator lets this node mirror an image: its registry is in `--registries`, and `--include` and `--exclude` let it through. Content of
 * other images is neither announced nor served to peers.
 */
export function isMirrored(policy: Pick<RegistryPolicy, 'mirrored' | 'images'>, image: NamedImage): boolean {
  return whyLeftOut(policy, image) === undefined
}

/** As {@link isMirrored}: the sentence for a client; undefined if the image is mirrored. */
export function whyLeftOut(
  { mirrored, images }: Pick<RegistryPolicy, 'mirrored' | 'images'>,
  image: NamedImage,
): string | undefined {
  const { registry, tag } = image
  if (!includesRegistry(mirrored, registry)) return `${registry} is not mirrored here: --registries leaves it out`
  const flag = images?.whyLeftOut(image)
  const name = tag === undefined ? repositoryKey(image) : tagKey({ ...image, tag })
  return flag === undefined ? undefined : `${name} is not mirrored here: ${flag} leaves it out`
}

/**
 * Why this node does not mirror an image; undefined if it does. A local registry (`localhost:5000`) differs per node, so the mirror
 * contacts it only if `--upstream` names it.
 */
export function whyNotMirrored(policy: RegistryPolicy, image: NamedImage): string | undefined {
  const why = whyLeftOut(policy, image)
  if (why !== undefined) return why
  const { upstreams } = policy
  const { registry } = image
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
