import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Creates a directory and its missing parents; an existing one is left as it is. Throws the system's error. Not `mkdir` with `recursive`:
 * where a parent cannot be created although its own parent exists (/proc/x), Node 26 retries without end.
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
      // Another process made it meanwhile.
      if (again.code !== 'EEXIST') throw again
    })
  }
}
