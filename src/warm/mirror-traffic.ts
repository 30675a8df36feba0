import type { TransferShare } from '../delivery/blobs/transfer-record.ts'
import { type Repository, repositoryKey } from '../oci/reference.ts'

/** A request that the mirror listener has answered. */
export interface MirrorRequest {
  readonly kind?: string
  /** As `repositoryKey` writes it. */
  readonly repository?: string
  readonly status: number
  readonly shares?: readonly TransferShare[]
}

/** What this node's clients asked of the mirror for one repository. */
export interface Traffic {
  /** Requests about manifests, answered and refused. */
  manifests: number
  refused: number
  /** Bytes of blobs that came from other nodes, and from registries. */
  peer: number
  upstream: number
}

/** Counts what passes the mirror while somebody wants to know. */
export class MirrorTraffic {
  readonly #watched = new Set<{ readonly repository: string; readonly traffic: Traffic }>()

  /** Counts from now on; `end` it. */
  watch(repository: Repository): { readonly traffic: Traffic; end(): void } {
    const traffic: Traffic = { manifests: 0, refused: 0, peer: 0, upstream: 0 }
    const entry = { repository: repositoryKey(repository), traffic }
    this.#watched.add(entry)
    return { traffic, end: () => void this.#watched.delete(entry) }
  }

  note({ kind, repository, status, shares = [] }: MirrorRequest): void {
    for (const { repository: wanted, traffic } of this.#watched) {
      if (wanted !== repository) continue
      if (kind === 'manifest') traffic[status < 400 ? 'manifests' : 'refused'] += 1
      if (kind !== 'blob') continue
      for (const share of shares) if (share.source !== 'local') traffic[share.source] += share.bytes
    }
  }
}
