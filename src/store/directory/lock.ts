import { randomUUID } from 'node:crypto'
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'

import { errorCode } from '../file-blob.ts'

/** A directory is in use by another process. */
export class LockedError extends Error {
  override readonly name = 'LockedError'
}

const ATTEMPTS = 5

/**
 * Takes the lock file at `path` for this process; returns what gives it back. The lock of a process that is gone is taken
 * over. Throws LockedError if its process lives. Processes that cannot see each other (containers) must not share one.
 */
export async function takeLock(path: string): Promise<() => Promise<void>> {
  const own = `${path}-${randomUUID()}`
  await writeFile(own, JSON.stringify({ pid: process.pid, started: await startOf(process.pid) }))
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        // Unlike an exclusive create, a link is never there without its content.
        await link(own, path)
        return () => rm(path, { force: true })
      } catch (error) {
        if (errorCode(error) !== 'EEXIST') throw error
      }
      await removeIfStale(path, `${own}.old`)
    }
    throw new LockedError(`could not take the lock ${path}`)
  } finally {
    await rm(own, { force: true })
  }
}

async function removeIfStale(path: string, aside: string): Promise<void> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  if (text === undefined) return
  const pid = await livingHolder(text)
  if (pid !== undefined) throw new LockedError(`${path} is held by process ${pid}: two Nabos cannot share a directory`)
  await rename(path, aside).catch(() => {})
  const moved = await readFile(aside, 'utf8').catch(() => undefined)
  // Another process was quicker and this is its fresh lock: give it back.
  if (moved !== undefined && moved !== text) await link(aside, path).catch(() => {})
  await rm(aside, { force: true })
}

async function livingHolder(text: string): Promise<number | undefined> {
  const [, pidText = '', started = ''] = /^\{"pid":(\d+),"started":"([^"]*)"\}$/.exec(text) ?? []
  const pid = Number(pidText)
  return pid > 0 && (await startOf(pid)) === started ? pid : undefined
}

/** Names one run of a process: after a reboot, or in a new container, the same number means another process. */
async function startOf(pid: number): Promise<string> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    // proc_pid_stat(5): the 22nd field; the 2nd one, in parentheses, may contain anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return `${boot.trim()} ${fields[19] ?? ''}`
  } catch {
    return 'gone'
  }
}
