/** Which candidate answered first with something, and what. */
export interface Winner<C, T> {
  readonly candidate: C
  readonly value: T
}

export interface FirstOfOptions<C, T> {
  /** Milliseconds without an answer after which the next candidate is asked as well. */
  readonly hedgeDelay: number
  readonly signal: AbortSignal
  /** Ends what a loser delivered all the same. */
  discard(value: T): void
  /** Told of each candidate that failed. */
  failed(candidate: C, error: unknown): void
}

/**
 * Asks candidates in their order until one answers: the next one is asked when the last has failed or has nothing (undefined), and
 * also when it is slow. The winner's signal lives on, for what it still streams; the losers' are aborted.
 */
export async function firstOf<C, T>(
  candidates: readonly C[],
  attempt: (candidate: C, options: { signal: AbortSignal }) => Promise<T | undefined>,
  options: FirstOfOptions<C, T>,
): Promise<Winner<C, T> | undefined> {
  options.signal.throwIfAborted()
  const controllers: AbortController[] = []
  const { promise, resolve, reject } = Promise.withResolvers<Winner<C, T> | undefined>()
  let running = 0
  let settled = false
  let timer: NodeJS.Timeout | undefined

  const settle = (winner: Winner<C, T> | undefined, own?: AbortController) => {
    settled = true
    for (const controller of controllers) if (controller !== own) controller.abort()
    resolve(winner)
  }
  const startNext = () => {
    clearTimeout(timer)
    if (settled) return
    const candidate = candidates[controllers.length]
    if (candidate === undefined) {
      if (running === 0) settle(undefined)
      return
    }
    const controller = new AbortController()
    controllers.push(controller)
    running += 1
    timer = setTimeout(startNext, options.hedgeDelay)
    Promise.try(attempt, candidate, { signal: controller.signal }).then(
      (value) => {
        running -= 1
        if (value === undefined) startNext()
        else if (settled) options.discard(value)
        else settle({ candidate, value }, controller)
      },
      (error: unknown) => {
        running -= 1
        if (settled) return
        options.failed(candidate, error)
        startNext()
      },
    )
  }
  const onAbort = () => {
    settled = true
    for (const controller of controllers) controller.abort(options.signal.reason)
    reject(options.signal.reason as Error)
  }
  // Stays for the winner's body: it goes when the request's own signal does.
  options.signal.addEventListener('abort', onAbort, { once: true })
  startNext()
  try {
    const winner = await promise
    if (winner === undefined) options.signal.removeEventListener('abort', onAbort)
    return winner
  } finally {
    clearTimeout(timer)
  }
}
