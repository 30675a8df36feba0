import { readlink } from 'node:fs/promises'
import { dirname, isAbsolute, join, resolve } from 'node:path'

/** As many as Linux follows in one path, see path_resolution(7). */
const MAX_LINKS = 40

/**
 * The absolute path without symbolic links. Its last parts need not exist: in a container, the target of a link of the node may not be mounted. A loop
 * of links leads to one of them.
 */
export async function followLinks(path: string): Promise<string> {
  const pending = partsOf(resolve(path))
  let reached = '/'
  for (let links = 0; pending.length > 0;) {
    const part = pending.shift() ?? ''
    if (part === '..') {
      reached = dirname(reached)
      continue
    }
    const next = join(reached, part)
    const target = links < MAX_LINKS ? await readlink(next).catch(() => undefined) : undefined
    if (target === undefined) {
      reached = next
      continue
    }
    links += 1
    if (isAbsolute(target)) reached = '/'
    pending.unshift(...partsOf(target))
  }
  return reached
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.')
}
