import { readdir, stat, statfs } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'

import { type Check, error, ok, unknown, warning } from '../check.ts'
import { type Node, storeOf } from '../node.ts'
import { contentRoot } from './content.ts'

const GiB = 1024 ** 3
/** Below a tenth of a small disk, or this on a large one, the next image may not fit. */
const LITTLE = { share: 0.1, bytes: 10 * GiB, files: 0.05 }
/** Below this hardly any layer fits. */
const NONE = { share: 0.01, bytes: GiB / 2, files: 0.005 }

/** Whether the disk of the content has room. */
export const spaceCheck: Check = {
  id: 'space',
  title: 'free space',
  async run(node) {
    const isCache = (await storeOf(node)) === 'directory'
    const path = isCache ? resolve(node.settings.cacheDir) : await contentRoot(node)
    const disk = path === undefined ? undefined : await nearest(path)
    if (path === undefined || disk === undefined) return unknown('where the content is cannot be seen')
    const { free, size, files, ffree } = disk
    const says = `${show(free)} of ${show(size)} are free at ${path}`
    const fix = isCache
      ? 'make room, or choose --cache-dir on another disk'
      : 'make room: crictl rmi --prune removes images that nothing uses'
    const isBelow = (limit: typeof NONE) => free < Math.min(size * limit.share, limit.bytes)
    const { cacheSize } = node.settings
    const held = isCache ? await cachedBytes(node, path) : 0
    const isTooSmall = isCache && free + held < cacheSize
    const smaller = `set --cache-size below ${show(free + held)}, or choose --cache-dir on a larger disk`
    if (isBelow(NONE)) return error(says, isTooSmall ? `make room; or ${smaller}` : fix)
    if (isTooSmall)
      return warning(
        `the cache may take ${show(cacheSize)} (--cache-size), but ${says}, beside ${show(held)} in the cache`,
        smaller,
      )
    if (isBelow(LITTLE)) return warning(`only ${says}`, fix)
    // Some filesystems have no such limit, and say 0.
    if (files > 0 && ffree < files * NONE.files) return error(`no files are left to make at ${path} (inodes)`, fix)
    if (files > 0 && ffree < files * LITTLE.files) return warning(`few files are left to make at ${path} (inodes)`, fix)
    return ok(says)
  },
}

/** Bytes of the blobs in the cache, by its files where no daemon runs that knows. */
async function cachedBytes(node: Node, directory: string): Promise<number> {
  const daemon = await node.daemon()
  if (daemon.state === 'running') return daemon.storedBytes
  const entries = await readdir(join(directory, 'blobs'), { recursive: true, withFileTypes: true }).catch(() => [])
  const files = entries.filter((entry) => entry.isFile())
  const sizes = await Promise.all(
    files.map(({ parentPath, name }) => stat(join(parentPath, name)).catch(() => undefined)),
  )
  return sizes.reduce((sum, found) => sum + (found?.size ?? 0), 0)
}

interface Disk {
  /** In bytes. */
  readonly free: number
  readonly size: number
  readonly files: number
  readonly ffree: number
}

/** Of the path, or of what is there of it. */
async function nearest(path: string): Promise<Disk | undefined> {
  for (let at = path; ; at = dirname(at)) {
    try {
      const { bsize, blocks, bavail, files, ffree } = await statfs(at)
      return { free: bavail * bsize, size: blocks * bsize, files, ffree }
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || at === dirname(at)) return undefined
    }
  }
}

function show(bytes: number): string {
  const gib = bytes / GiB
  return gib < 1 ? `${Math.round(bytes / 1024 ** 2)} MiB` : `${gib.toFixed(gib < 100 ? 1 : 0)} GiB`
}
