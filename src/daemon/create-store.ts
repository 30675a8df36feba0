import { existsSync } from 'node:fs'

import type { ServeConfig } from '../config/serve-config.ts'
import { OfferedStore, type OfferedStoreOptions } from '../delivery/access/offered-store.ts'
import { includesRegistry } from '../delivery/access/registry-policy.ts'
import { Quarantine } from '../delivery/integrity/quarantine.ts'
import { SoundStore } from '../delivery/integrity/sound-store.ts'
import type { IsMirror } from '../oci/reference.ts'
import type { CacheStore } from '../store/cache-store.ts'
import type { ContentStore } from '../store/content-store.ts'
import { DirectoryStore } from '../store/directory/directory-store.ts'
import type { Log } from '../telemetry/log.ts'

export interface ChosenStore {
  readonly kind: 'containerd' | 'directory'
  /** Without what is in quarantine; where the operator lists registries, it tells of nothing that came from others alone. */
  readonly store: ContentStore
  /** All that is held and sound, whatever the node offers of it. */
  readonly held: Pick<ContentStore, 'entries'>
  /** What it is filled by, where Nabo does that itself. */
  readonly cache: CacheStore | undefined
  readonly quarantine: Quarantine
  /** containerd's socket, or the directory. */
  readonly place: string
  /** How many bytes it may hold, where Nabo decides that. */
  readonly maxBytes?: number
  /** Of all blobs that are held, in bytes. */
  usedBytes(): number
}

export interface StoreParts {
  readonly isMirror: IsMirror
  /** Whether the mirror goes by a host on some port. */
  readonly isMirrorHost: (host: string) => boolean
  /** Where Nabo saw blobs come from: then they are announced without waiting for labels. */
  readonly sourcesOf: OfferedStoreOptions['sourcesOf']
  readonly log: Log
}

/** Decides once which content store this node has. */
export async function createStore(
  config: ServeConfig,
  { isMirror, isMirrorHost, sourcesOf, log }: StoreParts,
): Promise<ChosenStore> {
  const wrapped = (store: ContentStore) => sound(store, config, sourcesOf, log)
  const kind =
    config.store === 'auto' ? (existsSync(config.containerdSocket) ? 'containerd' : 'directory') : config.store
  if (kind === 'directory') {
    log.info({ directory: config.cacheDir, bytes: config.cacheSize }, 'the content store is a directory of its own')
    const store = new DirectoryStore({ directory: config.cacheDir, maxBytes: config.cacheSize, log })
    const [place, maxBytes] = [config.cacheDir, config.cacheSize]
    return { kind, place, maxBytes, usedBytes: () => store.usedBytes, cache: store, ...wrapped(store) }
  }
  log.info({ socket: config.containerdSocket }, "the content store is containerd's")
  // gRPC is 20 MB and 70 ms that a node without containerd need not pay.
  const { ContainerdStore } = await import('../store/containerd/containerd-store.ts')
  const store = new ContainerdStore({
    socket: config.containerdSocket,
    ...(config.containerdNamespace.length === 0 ? {} : { namespaces: config.containerdNamespace }),
    ...(config.contentPath === undefined ? {} : { contentPath: config.contentPath }),
    isMirror,
    isMirrorHost,
    log,
  })
  const usedBytes = () => store.usedBytes
  return { kind, place: config.containerdSocket, usedBytes, cache: undefined, ...wrapped(store) }
}

function sound(store: ContentStore, { registries }: ServeConfig, sourcesOf: StoreParts['sourcesOf'], log: Log) {
  const quarantine = new Quarantine(log)
  const soundStore = new SoundStore(store, quarantine, log)
  if (registries === 'all') return { quarantine, held: soundStore, store: soundStore }
  const includes = (registry: string) => includesRegistry(registries, registry)
  return { quarantine, held: soundStore, store: new OfferedStore(soundStore, { includes, sourcesOf, log }) }
}
