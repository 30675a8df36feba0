import { createHash } from 'node:crypto'

/** A point of Kademlia's key space: 32 bytes. */
export type KadId = Uint8Array

/** Where kad-dht puts what `bytes` name: a key's bytes, or the bytes of a peer id's multihash. */
export function kadIdOf(bytes: Uint8Array): KadId {
  return createHash('sha256').update(bytes).digest()
}

/** Orders `a` and `b` by their XOR distance to `target`: negative if `a` is nearer. */
export function compareDistance(target: KadId, a: KadId, b: KadId): number {
  for (let i = 0; i < target.length; i++) {
    const difference = ((a[i] ?? 0) ^ (target[i] ?? 0)) - ((b[i] ?? 0) ^ (target[i] ?? 0))
    if (difference !== 0) return difference
  }
  return 0
}

/** The `count` candidates XOR-closest to `target`, nearest first. */
export function closestTo<T extends { readonly kadId: KadId }>(
  target: KadId,
  candidates: Iterable<T>,
  count: number,
): T[] {
  if (count <= 0) return []
  const nearest: T[] = []
  for (const candidate of candidates) {
    const last = nearest.length < count ? undefined : nearest[nearest.length - 1]
    if (last !== undefined && compareDistance(target, candidate.kadId, last.kadId) >= 0) continue
    let at = nearest.length
    while (at > 0 && compareDistance(target, candidate.kadId, nearest[at - 1]!.kadId) < 0) at--
    nearest.splice(at, 0, candidate)
    if (nearest.length > count) nearest.pop()
  }
  return nearest
}
