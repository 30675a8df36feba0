import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { isLeftBehind } from './left-behind.ts'
import { eventually } from './poll.ts'

const ROOT = '/sys/fs/cgroup/cpu'
const PREFIX = 'nabo-cpu'
const PERIOD_US = 100_000

let count = 0

/** A cgroup that limits the CPU time of the processes in it. */
export class CpuGroup implements AsyncDisposable {
  readonly #path = join(ROOT, `${PREFIX}-${process.pid}-${count++}`)

  /** `cores`: the CPU time that all processes of the group get together, 0.25 for a quarter of a core. */
  constructor(cores: number) {
    mkdirSync(this.#path)
    writeFileSync(join(this.#path, 'cpu.cfs_period_us'), `${PERIOD_US}`)
    writeFileSync(join(this.#path, 'cpu.cfs_quota_us'), `${Math.round(cores * PERIOD_US)}`)
  }

  /** Moves a process with all its threads into the group; the processes that it starts from then on are in it too. */
  add(pid: number): void {
    writeFileSync(join(this.#path, 'cgroup.procs'), `${pid}`)
  }

  /** How often the group was out of CPU time for the rest of a period. */
  get throttled(): number {
    const stat = readFileSync(join(this.#path, 'cpu.stat'), 'utf8')
    return Number(/^nr_throttled (\d+)$/m.exec(stat)?.[1])
  }

  /** Removes the group, and what earlier processes left when they were killed. What ran in it must have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await remove(this.#path)
    for (const name of readdirSync(ROOT)) if (isLeftBehind(PREFIX, name)) await remove(join(ROOT, name))
  }
}

/** Why no CPU time can be limited here, in a sentence; undefined if it can. */
export function cpuGroupsUnavailable(): string | undefined {
  if (!existsSync(join(ROOT, 'cpu.cfs_quota_us'))) return 'limits of CPU time need the cpu controller of cgroup v1'
  const probe = join(ROOT, `${PREFIX}-${process.pid}-probe`)
  try {
    mkdirSync(probe)
    rmdirSync(probe)
    return undefined
  } catch (error) {
    return `cgroups cannot be made here: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** A group whose last process just ended is busy for a moment; another process may remove a stale group first. */
async function remove(path: string): Promise<void> {
  await eventually(`${path} is empty`, () => {
    if (existsSync(path)) rmdirSync(path)
    return true
  })
}
