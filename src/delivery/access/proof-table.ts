import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
const MAX_PROOFS = 20_000

/** The time of each proof, by repository and digest. Bounded; evicts the least recently used. */
export class ProofTable {
  readonly #byRepository = new Map<string, Set<string>>()
  readonly #since = new LRUCache<string, number>({
    ...atMost(MAX_PROOFS),
    dispose: (_, key, reason) => {
      if (reason !== 'set') this.#unlist(key)
    },
  })

  get(repository: string, digest: string): number | undefined {
    return this.#since.get(keyOf(repository, digest))
  }

  /** Keeps the later of two times. */
  set(repository: string, digest: string, since: number): void {
    const digests = this.#byRepository.get(repository) ?? new Set()
    this.#byRepository.set(repository, digests.add(digest))
    const key = keyOf(repository, digest)
    this.#since.set(key, Math.max(this.#since.get(key) ?? -Infinity, since))
  }

  delete(repository: string, digest: string): void {
    this.#since.delete(keyOf(repository, digest))
  }

  /** Removes all proofs of a repository. */
  drop(repository: string): void {
    for (const digest of [...(this.#byRepository.get(repository) ?? [])]) this.delete(repository, digest)
  }

  /** The `max` most recently used proofs, grouped by repository. */
  entries(max: number): ReadonlyMap<string, readonly (readonly [digest: string, since: number])[]> {
    const found = new Map<string, (readonly [string, number])[]>()
    let count = 0
    for (const [key, since] of this.#since.entries()) {
      if ((count += 1) > max) break
      const at = key.lastIndexOf('@')
      const contents = found.get(key.slice(0, at)) ?? []
      contents.push([key.slice(at + 1), since])
      found.set(key.slice(0, at), contents)
    }
    return found
  }

  #unlist(key: string): void {
    const at = key.lastIndexOf('@')
    const repository = key.slice(0, at)
    const digests = this.#byRepository.get(repository)
    digests?.delete(key.slice(at + 1))
    if (digests?.size === 0) this.#byRepository.delete(repository)
  }
}

function keyOf(repository: string, digest: string): string {
  return `${repository}@${digest}`
}
