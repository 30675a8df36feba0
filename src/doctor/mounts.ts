import { readFile } from 'node:fs/promises'

import { followLinks } from './follow-links.ts'

/** One line of `/proc/self/mountinfo`, see proc_pid_mountinfo(5). */
interface Mount {
  /** Which directory of its file system is mounted. */
  readonly root: string
  readonly point: string
}

/** Whether a directory, or where it would be, lies in something that is mounted into this container, and not in the container's own root. */
export async function isMounted(directory: string): Promise<boolean> {
  const mount = mountOf(await followLinks(directory), await readMounts().catch(() => []))
  return mount !== undefined && mount.point !== '/'
}

/**
 * Whether two paths are one directory. In a container `there` may be a path of the node: the same directory then, if it ends with what is mounted
 * at `here`, as for MicroK8s, which writes a revision where others write `current`.
 */
export async function isSameDirectory(here: string, there: string, mounts = readMounts): Promise<boolean> {
  const [own, other] = await Promise.all([followLinks(here), followLinks(there)])
  if (own === other) return true
  const mount = mountOf(own, await mounts().catch(() => []))
  if (mount === undefined || mount.point === '/' || mount.root === '/') return false
  const origin = `${mount.root}${own.slice(mount.point.length)}`
  // The node may have that file system below a directory of its own. One name alone, such as `certs.d`, stands in many places.
  return other === origin || (origin.split('/').length > 2 && other.endsWith(origin))
}

function mountOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  return mounts
    .filter(({ point }) => point === '/' || path === point || path.startsWith(`${point}/`))
    .toSorted((a, b) => b.point.length - a.point.length)[0]
}

/** Rejects where there is no `/proc`. */
export async function readMounts(): Promise<readonly Mount[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).trimEnd().split('\n')
  return lines.map((line) => {
    const [, , , root = '', point = ''] = line.split(' ')
    return { root: unescaped(root), point: unescaped(point) }
  })
}

/** A blank is `\040` there. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}
