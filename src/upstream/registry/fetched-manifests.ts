import { LRUCache } from 'lru-cache'

import type { Digest } from '../../oci/digest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { second } from '../../time/units.ts'
import type { UpstreamManifest, UpstreamOptions } from '../upstream.ts'

/** The client asks for what its tag names at once. */
const LIFE = 15 * second
const MAX_KEPT = 4

/**
 * Manifests that had to be fetched to find out what a tag names, from registries whose HEAD does not say it. Each is given away once, so
 * that it is not fetched, and counted, a second time.
 */
export class FetchedManifests {
  readonly #kept = new LRUCache<string, UpstreamManifest>({ max: MAX_KEPT, ttl: LIFE })

  keep(repository: Repository, options: UpstreamOptions, manifest: UpstreamManifest): void {
    const key = keyOf(repository, manifest.descriptor.digest, options)
    if (key !== undefined) this.#kept.set(key, manifest)
  }

  take(repository: Repository, digest: Digest, options: UpstreamOptions): UpstreamManifest | undefined {
    // The node may also take what an anonymous request has fetched.
    const all = options.as === 'anonymous' ? [options] : [options, { ...options, as: 'anonymous' as const }]
    for (const one of typeof options.as === 'object' ? [] : all) {
      const key = keyOf(repository, digest, one)
      const manifest = key === undefined ? undefined : this.#kept.get(key)
      if (key === undefined || manifest === undefined) continue
      this.#kept.delete(key)
      return manifest
    }
    return undefined
  }
}

/** What was had with the credentials of one pull is for nobody else, and not kept. */
function keyOf(repository: Repository, digest: Digest, { as = 'node' }: UpstreamOptions): string | undefined {
  return typeof as === 'string' ? `${as} ${repositoryKey(repository)}@${digest}` : undefined
}
