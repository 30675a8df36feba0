import { readFile, realpath } from 'node:fs/promises'

/** What a folder is on, as `ext4 on /dev/vda` or `tmpfs`; undefined if the kernel does not say. */
export async function fileSystemOf(folder: string): Promise<string | undefined> {
  try {
    return fileSystemIn(await readFile('/proc/self/mountinfo', 'utf8'), await realpath(folder))
  } catch {
    return undefined
  }
}

/** Finds the mount that a path without links is on. The format: `man 5 proc_pid_mountinfo`. */
export function fileSystemIn(mountinfo: string, path: string): string | undefined {
  let found: { readonly point: string; readonly words: string } | undefined
  for (const line of mountinfo.split('\n')) {
    const [before = '', after] = line.split(' - ', 2)
    const point = unescaped(before.split(' ')[4] ?? '')
    if (after === undefined || !isUnder(path, point)) continue
    const [type = '', source = ''] = after.split(' ').map(unescaped)
    const words = source.includes('/') ? `${type} on ${source}` : type
    // Of two mounts on the same point the later one hides the other.
    if (found === undefined || point.length >= found.point.length) found = { point, words }
  }
  return found?.words.slice(0, 200)
}

function isUnder(path: string, point: string): boolean {
  return point === '/' || path === point || path.startsWith(`${point}/`)
}

/** Spaces and the like are octal there. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, code: string) => String.fromCodePoint(Number.parseInt(code, 8)))
}
