import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Makes a directory with the parents that are missing; nothing happens if it exists. Throws the system's error. Not `mkdir` with `recursive`:
 * where a parent cannot be made although its own parent exists (/proc/x), Node 26 tries again without end.
 */
export async function makeDirectories(path: string, { mode = 0o777 }: { mode?: number } = {}): Promise<void> {
  try {
    await mkdir(path, { mode })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return
    const parent = dirname(path)
    if (code !== 'ENOENT' || parent === path) throw error
    await makeDirectories(parent, { mode })
    await mkdir(path, { mode }).catch((again: NodeJS.ErrnoException) => {
      // Another process was faster.
      if (again.code !== 'EEXIST') throw again
    })
  }
}
