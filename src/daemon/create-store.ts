import { existsSync } from 'node:fs'
import { access, constants } from 'node:fs/promises'

import type { ServeConfig } from '../config/serve-config.ts'
import { OfferedStore, type OfferedStoreOptions } from '../delivery/access/offered-store.ts'
import { isMirrored } from '../delivery/access/registry-policy.ts'
import { ImageFilter, type NamedImage } from '../delivery/access/image-filter.ts'
import { Quarantine } from '../delivery/integrity/quarantine.ts'
import { SoundStore } from '../delivery/integrity/sound-store.ts'
import type { IsMirror } from '../oci/reference.ts'
import type { CacheStore } from '../store/cache-store.ts'
import type { ContentStore } from '../store/content-store.ts'
import { DirectoryStore } from '../store/directory/directory-store.ts'
import type { Log } from '../telemetry/log.ts'

export interface ChosenStore {
  readonly kind: 'containerd' | 'directory'
  /** Without quarantined content; where `--registries`, `--include` or `--exclude` leave images out, it reports only content with another source. */
  readonly store: ContentStore
  /** All content outside quarantine, offered to peers or not. */
  readonly held: Pick<ContentStore, 'entries'>
  /** Present if Nabo fills the store itself. */
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
  /** Whether a host names the mirror, whatever the port. */
  readonly isMirrorHost: (host: string) => boolean
  /** Sources that Nabo recorded for a blob: it is announced without waiting for containerd's labels. */
  readonly sourcesOf: OfferedStoreOptions['sourcesOf']
  readonly log: Log
}

/** Decides once which content store this node has. Throws an Error with one sentence for the operator if this user may not use it. */
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
  await requireAccess(config.containerdSocket)
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

/** Throws an Error of one sentence if this user may not talk to containerd, which another user would have to change. A missing socket may come. */
async function requireAccess(socket: string): Promise<void> {
  try {
    await access(socket, constants.R_OK | constants.W_OK)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code !== 'EACCES' && code !== 'EPERM') return
    throw new Error(
      `this user may not talk to containerd at ${socket} (run Nabo as root, or keep a cache of its own with --store directory): ${code}`,
      { cause },
    )
  }
}

function sound(store: ContentStore, config: ServeConfig, sourcesOf: StoreParts['sourcesOf'], log: Log) {
  const quarantine = new Quarantine(log)
  const soundStore = new SoundStore(store, quarantine, log)
  const images = new ImageFilter(config)
  if (config.registries === 'all' && images.isOpen) return { quarantine, held: soundStore, store: soundStore }
  const includes = (image: NamedImage) => isMirrored({ mirrored: config.registries, images }, image)
  return { quarantine, held: soundStore, store: new OfferedStore(soundStore, { includes, sourcesOf, log }) }
}
