import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** mulberry32: small, and the same everywhere. */
export function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)
}

/**
 * From the lowest sample of the first half to that of the second, without the first tenth. Between two full collections, which are minutes
 * apart in a daemon with little to do, the heap grows by tens of megabytes and shrinks again: only its floor shows a leak.
 */
export function growthOf(samples: readonly number[]): number {
  const [start, middle] = [Math.floor(samples.length / 10), Math.floor(samples.length / 2)]
  return Math.min(...samples.slice(middle)) - Math.min(...samples.slice(start, middle))
}

/** Resident bytes of a process. */
export function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}

/** What the open descriptors of a process lead to. */
export function descriptorsOf(pid: number): string[] {
  const directory = `/proc/${pid}/fd`
  return readdirSync(directory).flatMap((fd) => {
    try {
      return [readlinkSync(`${directory}/${fd}`)]
    } catch {
      return []
    }
  })
}

export function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[Math.floor(samples.length / 2)] ?? 0
}
