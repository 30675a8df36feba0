import { isLocalRegistry } from '../oci/local-registry.ts'
import type { IndexKey } from '../overlay/overlay.ts'
import { keyOfDigest, keyOfTag } from '../providers/index-key.ts'
import type { ProviderIndex } from '../providers/provider-index.ts'
import type { ContentStore, StoreEntry } from '../store/content-store.ts'

/** Announces the store's content and follows its changes, except tags of local registries, useless to peers. Returns its stop function. */
export function announceContent(
  store: Pick<ContentStore, 'entries' | 'subscribe'>,
  index: Pick<ProviderIndex, 'announce' | 'withdraw'>,
): () => void {
  // Subscribe before listing, so that no change is missed.
  const end = store.subscribe(({ type, entry }) => {
    if (isOfThisMachine(entry)) return
    if (type === 'added') index.announce([keyOf(entry)])
    else index.withdraw([keyOf(entry)])
  })
  index.announce(
    store
      .entries()
      .filter((entry) => !isOfThisMachine(entry))
      .map(keyOf),
  )
  return end
}

function isOfThisMachine(entry: StoreEntry): boolean {
  return entry.type === 'tag' && isLocalRegistry(entry.tag.registry)
}

function keyOf(entry: StoreEntry): IndexKey {
  return entry.type === 'blob' ? keyOfDigest(entry.digest) : keyOfTag(entry.tag)
}
