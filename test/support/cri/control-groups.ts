import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { isLeftBehind } from '../left-behind.ts'
import { eventually } from '../poll.ts'

const ROOT = '/sys/fs/cgroup'
const PREFIX = 'nabo-pods'

let count = 0

/** The cgroup that all pods of a test are in. */
export class ControlGroups implements AsyncDisposable {
  /** As runtimes want it: from the root of the hierarchy on. */
  readonly path = `/${PREFIX}-${process.pid}-${count++}`

  /** Makes a group for a node, with one named `system` in it for what is no pod. */
  async create(name: string): Promise<void> {
    for (const hierarchy of hierarchies()) {
      const top = join(hierarchy, this.path)
      for (const path of [top, join(top, name), join(top, name, 'system')]) {
        await mkdir(path, { recursive: true })
        // In the first version of cgroups a new group may use no CPU, and no memory.
        for (const file of ['cpuset.cpus', 'cpuset.mems'])
          await copySetting(join(hierarchy, file), join(path, file)).catch(ignoreMissing)
      }
      // Against what else runs on the machine, the test itself for one.
      await writeFile(join(top, 'cpu.shares'), '8192').catch(ignoreMissing)
    }
  }

  /** Moves a process into a group below this one. */
  async move(name: string, pid: number | undefined): Promise<void> {
    if (pid === undefined) throw new Error(`there is no process for ${name}`)
    for (const hierarchy of hierarchies()) await writeFile(join(hierarchy, this.path, name, 'cgroup.procs'), `${pid}`)
  }

  /** The processes of a group and of those below it whose command line has these words. */
  pidsOf(name: string, words: string): readonly number[] {
    const [hierarchy = ''] = hierarchies()
    const commandOf = (pid: number) => readOrNothing(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')
    return pidsIn(join(hierarchy, this.path, name)).filter((pid) => commandOf(pid).includes(words))
  }

  /** Ends every process of a group and of those below it. */
  async kill(name = ''): Promise<void> {
    await eventually(`nothing runs in ${this.path}/${name}`, () => this.killNow(name) === 0)
  }

  /** The same without waiting, for a process that is about to exit. Returns how many there were. */
  killNow(name = ''): number {
    return hierarchies().reduce((count, hierarchy) => count + killAll(join(hierarchy, this.path, name)), 0)
  }

  /** Ends every process of a group and removes it with those below it. */
  async remove(name: string): Promise<void> {
    await this.kill(name)
    for (const hierarchy of hierarchies()) await removeTree(join(hierarchy, this.path, name))
  }

  /** Removes them, and what earlier processes left when they were killed. What still runs in them is killed. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const hierarchy of hierarchies()) {
      const stale = (await readdir(hierarchy)).filter((name) => isLeftBehind(PREFIX, name))
      for (const path of [this.path, ...stale]) {
        await eventually(`nothing runs in ${path}`, () => killAll(join(hierarchy, path)) === 0)
        await removeTree(join(hierarchy, path))
      }
    }
  }
}

async function copySetting(from: string, to: string): Promise<void> {
  await writeFile(to, await readFile(from))
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT' && error.code !== 'EACCES') throw error
}

function pidsIn(directory: string): number[] {
  let names: string[]
  try {
    names = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  } catch {
    return []
  }
  const lists = names
    .filter((name) => name.endsWith('cgroup.procs'))
    .map((name) => readOrNothing(join(directory, name)))
  return lists.flatMap((list) => list.split('\n').flatMap((pid) => (pid === '' ? [] : [Number(pid)])))
}

/** A group or a process may just have ended. */
function readOrNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** How many processes there were. */
function killAll(directory: string): number {
  const pids = pidsIn(directory)
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended by itself.
    }
  }
  return pids.length
}

/** Why no container can be run here, in a sentence; undefined if they can. */
export async function containersUnavailable(): Promise<string | undefined> {
  try {
    const found = hierarchies()
    for (const hierarchy of found) {
      const probe = join(hierarchy, `${PREFIX}-${process.pid}-probe`)
      await mkdir(probe)
      await rmdir(probe)
    }
    return found.length === 0 ? 'containers need cgroups' : undefined
  } catch (error) {
    return `cgroups cannot be made here: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** Of the second version of cgroups there is one, of the first one for each controller. */
function hierarchies(): string[] {
  const entries = existsSync(ROOT) ? readdirSync(ROOT, { withFileTypes: true }) : []
  if (entries.some(({ name }) => name === 'cgroup.controllers')) return [ROOT]
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(ROOT, name))
}

/** Its files are the kernel's. A group whose last process just ended is busy for a moment; another process may remove a stale group first. */
async function removeTree(directory: string): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => undefined)
  if (entries === undefined) return
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(directory, entry.name))
  await eventually(`${directory} is empty`, async () => {
    await rmdir(directory).catch(ignoreMissing)
    return true
  })
}
