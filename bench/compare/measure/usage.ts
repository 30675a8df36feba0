import type { MirrorProcess } from '../contenders/contender.ts'
import type { Run } from '../results.ts'
import { ProcessTree } from './process-tree.ts'

type MirrorUsage = NonNullable<Run['mirrors']>[number]

const EVERY_MS = 250

/**
 * CPU time and peak memory of a contender's processes, and of all that they start, from now on. They are looked at again and again, since a
 * process may be killed meanwhile. The peak is since the process began.
 */
export class UsageWatch {
  readonly #watched: readonly { readonly node: string; readonly tree: ProcessTree; readonly before: number }[]
  readonly #timer: NodeJS.Timeout

  constructor(processes: readonly MirrorProcess[]) {
    this.#watched = processes.map(({ node, pid }) => {
      const tree = new ProcessTree(pid)
      return { node, tree, before: tree.usage.cpuSeconds }
    })
    this.#timer = setInterval(() => this.#look(), EVERY_MS)
  }

  /** Ends the watch and says what it saw. */
  stop(): MirrorUsage[] {
    clearInterval(this.#timer)
    this.#look()
    return this.#watched.map(({ node, tree, before }) => {
      const { cpuSeconds, peakRssBytes } = tree.usage
      return { node, cpuSeconds: Math.max(0, Math.round((cpuSeconds - before) * 1000) / 1000), peakRssBytes }
    })
  }

  #look(): void {
    for (const { tree } of this.#watched) tree.look()
  }
}
