/** Abort reason of an attempt that did not win. */
class OutrunError extends Error {
  override readonly name = 'OutrunError'
}

/** The candidate whose value came first, and the value. */
export interface Winner<C, T> {
  readonly candidate: C
  readonly value: T
}

export interface HedgeOptions<C, T> {
  /** Milliseconds without a value after which the next candidate is asked as well. */
  readonly delay: number
  /** Upper bound in milliseconds of a random pause after an attempt that gave no value; no pause if absent. */
  readonly jitter?: number
  readonly signal: AbortSignal
  /** Called for each failed attempt, unless the race is over. */
  onFailure?(candidate: C, error: unknown): void
  /** True for a failure that ends the race. */
  isFinal?(candidate: C, error: unknown): boolean
  /** Releases a value that comes after the end of the race. */
  discard?(value: T): void
}

/**
 * Asks candidates in their order until one gives a value (hedged requests): the next candidate is asked when an attempt fails, has
 * nothing (undefined) or takes longer than `delay`. Returns undefined when no candidate gave a value. Throws the signal's reason, or a
 * failure that `isFinal`. The signals of the other attempts are aborted at the end; the winner's depends only on the caller's signal
 * from then on, since a body may still be read under it.
 */
export async function hedge<C, T>(
  candidates: readonly C[],
  attempt: (candidate: C, options: { signal: AbortSignal }) => Promise<T | undefined>,
  options: HedgeOptions<C, T>,
): Promise<Winner<C, T> | undefined> {
  const { delay, jitter = 0, signal } = options
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<Winner<C, T> | undefined>()
  const controllers: AbortController[] = []
  let running = 0
  let isOver = false
  let winning: AbortController | undefined
  let timer: NodeJS.Timeout | undefined

  const end = (settle: () => void) => {
    isOver = true
    settle()
  }
  const launch = () => {
    const candidate = candidates[controllers.length]
    if (candidate === undefined) return
    const controller = new AbortController()
    controllers.push(controller)
    running += 1
    if (controllers.length < candidates.length) timer = setTimeout(launch, delay)
    Promise.try(attempt, candidate, { signal: AbortSignal.any([signal, controller.signal]) })
      .then(
        (value) => onValue(candidate, controller, value),
        (error: unknown) => onFailure(candidate, error),
      )
      .catch((error: unknown) => end(() => reject(error)))
  }
  const launchNext = () => {
    clearTimeout(timer)
    if (controllers.length === candidates.length) {
      if (running === 0) end(() => resolve(undefined))
    } else if (jitter === 0) launch()
    else timer = setTimeout(launch, Math.random() * jitter)
  }
  const onValue = (candidate: C, controller: AbortController, value: T | undefined) => {
    running -= 1
    if (isOver) return value === undefined ? undefined : options.discard?.(value)
    if (value === undefined) return launchNext()
    winning = controller
    end(() => resolve({ candidate, value }))
  }
  const onFailure = (candidate: C, error: unknown) => {
    running -= 1
    if (isOver) return
    options.onFailure?.(candidate, error)
    if (options.isFinal?.(candidate, error) === true) throw error
    launchNext()
  }
  const onAbort = () => end(() => reject(signal.reason as Error))

  signal.addEventListener('abort', onAbort, { once: true })
  try {
    if (candidates.length === 0) return undefined
    launch()
    return await promise
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    for (const controller of controllers) if (controller !== winning) controller.abort(new OutrunError())
  }
}
