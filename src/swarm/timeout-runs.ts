import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'

/** Times of `performance.now()`. */
interface Run {
  /** When the first message of the run was sent. */
  readonly first: number
  /** When the last one was given up. */
  readonly last: number
}

const MAX_NODES = 1_000

/** For each node, by id, the messages that it has left unanswered in a row. Times are in milliseconds. */
export class TimeoutRuns {
  readonly #runs: LRUCache<string, Run>

  /** Messages that are further apart than `memory` are not one run. */
  constructor(memory: number) {
    this.#runs = new LRUCache({ ...atMost(MAX_NODES), ttl: memory })
  }

  /** A message that was sent at `began`, of `performance.now()`, is given up now. */
  add(id: string, began: number): void {
    const first = Math.min(began, this.#runs.get(id)?.first ?? began)
    this.#runs.set(id, { first, last: performance.now() })
  }

  /** The node has answered. */
  end(id: string): void {
    this.#runs.delete(id)
  }

  clear(): void {
    this.#runs.clear()
  }

  /** From the first message of the run to the end of the last one; 0 for a node without one. */
  lengthOf(id: string): number {
    const run = this.#runs.get(id)
    return run === undefined ? 0 : run.last - run.first
  }

  /** Since the last message of the run was given up; infinite for a node without one. */
  ageOf(id: string): number {
    const run = this.#runs.get(id)
    return run === undefined ? Number.POSITIVE_INFINITY : performance.now() - run.last
  }
}
