import type { Digest } from '../../oci/digest.ts'
import { isLocalRegistry } from '../../oci/local-registry.ts'
import { parseRepositoryPath, repositoryKey } from '../../oci/reference.ts'
import { type ContentSource, type ContentStore, UNRECORDED } from '../../store/content-store.ts'
import { GRACE } from './audience.ts'
import type { Provenance } from './provenance.ts'
import { type RegistryPolicy, isNamedRegistry } from './registry-policy.ts'

export interface ContentSourcesOptions {
  readonly store: Pick<ContentStore, 'sources'>
  readonly provenance: Pick<Provenance, 'of'>
  readonly registries: RegistryPolicy
  /** True for a host, without a port, under which clients address this mirror. */
  readonly isMirrorHost?: (host: string) => boolean
}

/** The sources of content that this node holds: those in the store's records, and those that this process saw. */
export class ContentSources {
  readonly #options: ContentSourcesOptions

  constructor(options: ContentSourcesOptions) {
    this.#options = options
  }

  /** Each repository once. Content with any source at a registry does not count as imported. Rejects as the store does. */
  async of(digest: Digest, options: { signal: AbortSignal }): Promise<readonly ContentSource[]> {
    const merged = new Map<string, ContentSource>()
    const held = await this.#options.store.sources(digest, options)
    const seen = this.#options.provenance.of(digest)
    for (const source of this.#isExplained(held, seen) ? [] : held)
      merged.set(repositoryKey(source), { ...source, ...withGrace(source) })
    for (const source of seen) {
      const key = repositoryKey(source)
      if (merged.get(key)?.access !== 'public') merged.set(key, source)
    }
    const all = [...merged.values()].filter((source) => !this.#isMirrorName(source, seen))
    const fromRegistries = all.filter(({ access }) => access !== 'imported')
    return fromRegistries.length > 0 ? fromRegistries : all
  }

  /**
   * True if the store does not know the sources yet and this process fetched the content from registries that the operator named. With any
   * other registry the content could have come from a client's pull past the mirror, and the registry only claimed it.
   */
  #isExplained(held: readonly ContentSource[], seen: readonly ContentSource[]): boolean {
    const isUnsettled = held.length === 1 && held[0]?.registry === UNRECORDED.registry
    return (
      isUnsettled &&
      seen.length > 0 &&
      seen.every(({ registry }) => isNamedRegistry(this.#options.registries, registry))
    )
  }

  /**
   * True for a label that names this node's mirror: containerd labels a pull of `127.0.0.1:7950/org/app` with `127.0.0.1=org/app`. A local
   * registry could have the same name, so the label counts as the mirror's only if the content passed through this process.
   */
  #isMirrorName({ registry, name }: ContentSource, seen: readonly ContentSource[]): boolean {
    if (!isLocalRegistry(registry) || this.#options.isMirrorHost?.(registry) !== true) return false
    const named = parseRepositoryPath(name)
    return named !== undefined && seen.some((source) => repositoryKey(source) === repositoryKey(named))
  }
}

/**
 * Content from before this process began may have come through an earlier process without credentials, so it gets the grace of such content.
 * Content that came later and was not recorded came past Nabo: nothing is known about the credentials.
 */
function withGrace({ at }: ContentSource): { at?: number } {
  return at === undefined ? {} : { at: at < 0 ? at - GRACE : at }
}
