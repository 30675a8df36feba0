import { readFileSync, readdirSync } from 'node:fs'

/** Of `/proc/<pid>/stat`: USER_HZ, which Linux fixes for programs. */
const TICKS_PER_SECOND = 100

/** One process as /proc shows it at a moment. */
interface ProcessSample {
  readonly pid: number
  readonly parent: number
  /** In ticks since boot: with the pid it tells a process from a later one of the same number. */
  readonly began: number
  /** Its own, and that of its children that it has waited for. */
  readonly cpuSeconds: number
  readonly rssBytes: number
  /** Since it began; the kernel keeps it. */
  readonly peakRssBytes: number
}

export interface Usage {
  readonly cpuSeconds: number
  readonly peakRssBytes: number
}

/**
 * A process and all that comes from it, looked at again and again. CPU time of those that have ended stays counted; one that ends unwaited
 * for, its parent gone, counts as it was last seen. Those that begin and end between two looks count when their parent waits for them.
 */
export class ProcessTree {
  /** By pid, those that run as far as is known. */
  #known = new Map<number, ProcessSample>()
  #lostCpuSeconds = 0
  #cpuSeconds = 0
  #peakRssBytes = 0

  constructor(root: number) {
    const first = sampleProcess(root)
    if (first !== undefined) this.#known.set(root, first)
    this.look()
  }

  /** CPU seconds since the processes began. The peak of memory is the kernel's for one process, and for several the largest sum that was seen. */
  get usage(): Usage {
    return { cpuSeconds: this.#cpuSeconds, peakRssBytes: this.#peakRssBytes }
  }

  look(): void {
    const now = new Map<number, ProcessSample>()
    // Also from those whose parent has ended: they are no longer found from the root.
    const open = [...this.#known.values()].map(({ pid }) => pid)
    for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
      if (now.has(pid)) continue
      const sample = sampleProcess(pid)
      const before = this.#known.get(pid)
      if (sample === undefined || (before !== undefined && before.began !== sample.began)) continue
      now.set(pid, sample)
      open.push(...childrenOf(pid))
    }
    for (const ended of this.#known.values()) {
      // Otherwise its parent has waited for it, and has its time.
      if (!now.has(ended.pid) && !now.has(ended.parent)) this.#lostCpuSeconds += ended.cpuSeconds
    }
    this.#known = now
    const samples = [...now.values()]
    const running = samples.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0)
    // One that ends between the look at its parent and at itself is in neither, until the next look.
    this.#cpuSeconds = Math.max(this.#cpuSeconds, running + this.#lostCpuSeconds)
    const together = samples.reduce((sum, { rssBytes }) => sum + rssBytes, 0)
    this.#peakRssBytes = Math.max(this.#peakRssBytes, together, ...samples.map(({ peakRssBytes }) => peakRssBytes))
  }
}

/** All that a process has started and that still comes from it, the process itself not among them. */
export function descendantsOf(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)])
}

/** undefined if there is no such process any more. */
export function sampleProcess(pid: number): ProcessSample | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // What is before the last bracket is the program's name, which may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const field = (number: number) => Number(fields[number - 3])
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    // One that has ended and was not waited for yet has no memory.
    const bytes = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0)
    return {
      pid,
      parent: field(4),
      began: field(22),
      // utime, stime, cutime, cstime: proc_pid_stat(5).
      cpuSeconds: (field(14) + field(15) + field(16) + field(17)) / TICKS_PER_SECOND,
      rssBytes: bytes('VmRSS'),
      peakRssBytes: bytes('VmHWM'),
    }
  } catch {
    return undefined
  }
}

/** Each thread has children of its own. None where the kernel does not tell (CONFIG_PROC_CHILDREN). */
function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) => childrenOfThread(pid, thread))
  } catch {
    return []
  }
}

function childrenOfThread(pid: number, thread: string): number[] {
  try {
    return (readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').match(/\d+/g) ?? []).map(Number)
  } catch {
    return []
  }
}
