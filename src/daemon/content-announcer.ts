import type { IndexKey } from '../overlay/overlay.ts'
import { keyOfDigest, keyOfTag } from '../providers/index-key.ts'
import type { ProviderIndex } from '../providers/provider-index.ts'
import type { ContentStore, StoreEntry } from '../store/content-store.ts'

/** Announces what the store holds, and keeps that true. Returns its own end. */
export function announceContent(
  store: Pick<ContentStore, 'entries' | 'subscribe'>,
  index: Pick<ProviderIndex, 'announce' | 'withdraw'>,
): () => void {
  // First subscribe, then list: nothing is lost in between.
  const end = store.subscribe(({ type, entry }) => {
    if (type === 'added') index.announce([keyOf(entry)])
    else index.withdraw([keyOf(entry)])
  })
  index.announce(store.entries().map(keyOf))
  return end
}

function keyOf(entry: StoreEntry): IndexKey {
  return entry.type === 'blob' ? keyOfDigest(entry.digest) : keyOfTag(entry.tag)
}
