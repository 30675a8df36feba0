import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { Semaphore } from '../../async/semaphore.ts'

const MAX_RUNNING = 4
/** Less than MAX_RUNNING: the images that clients name in one registry leave a permit to the other registries. */
const MAX_RUNNING_IN_GROUP = 3
/** A node that starts pulls some dozens of images of one registry. */
const MAX_WAITING_IN_GROUP = 100
const MAX_WAITING = 200
const MAX_GROUPS = 1000

interface Group {
  readonly single: Semaphore
  readonly several: Semaphore
  /** Whether the last answer was for its own question alone. */
  isAnsweredSingly: boolean
}

/** How a question got its answer. */
export interface Turn<T> {
  /** What was found or asked. */
  readonly result: T
  /** Whether the program has answered this question alone, so that others of the group have to be asked as well. */
  readonly isSingle: boolean
}

/**
 * Permits for programs that give credentials. The questions of one group (a program and a registry) take turns, so that those that wait
 * find the answer of the first. If its answers are for one question each, a few of them run at the same time.
 */
export class QuestionTurns {
  readonly #groups = new LRUCache<string, Group>(atMost(MAX_GROUPS))
  readonly #processes = new Semaphore(MAX_RUNNING, { maxWaiting: MAX_WAITING })

  /** `find` looks for an answer that came meanwhile. Throws QueueFullError, the signal's reason, and what `ask` throws. */
  async run<T>(
    name: string,
    { find, ask }: { find: () => T | undefined; ask: () => Promise<Turn<T>> },
    options: { signal: AbortSignal },
  ): Promise<T> {
    const group = this.#groups.get(name) ?? this.#create(name)
    const askUnlessFound = async () => {
      const found = find()
      if (found !== undefined) return found
      const { result, isSingle } = await ask()
      group.isAnsweredSingly = isSingle
      return result
    }
    // Look before the wait for a process too: a question with an answer needs none.
    const take = async () => find() ?? (await this.#processes.run(askUnlessFound, options))
    if (!group.isAnsweredSingly) {
      const taken = await group.single.run(async () => (group.isAnsweredSingly ? undefined : await take()), options)
      if (taken !== undefined) return taken
    }
    return group.several.run(take, options)
  }

  /** No question waits for one that was asked before. */
  forget(): void {
    this.#groups.clear()
  }

  #create(name: string): Group {
    const limit = { maxWaiting: MAX_WAITING_IN_GROUP }
    const group = {
      single: new Semaphore(1, limit),
      several: new Semaphore(MAX_RUNNING_IN_GROUP, limit),
      isAnsweredSingly: false,
    }
    this.#groups.set(name, group)
    return group
  }
}
