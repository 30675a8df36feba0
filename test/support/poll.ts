import { setTimeout as sleep } from 'node:timers/promises'

/** Waits until `look` gives something other than undefined or false. Throws after the deadline, with what it last threw as cause. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  options: { timeoutMs?: number; everyMs?: number; signal?: AbortSignal } = {},
): Promise<T> {
  const { timeoutMs = 30_000, everyMs = 50, signal } = options
  const deadline = performance.now() + timeoutMs
  let cause: unknown
  for (;;) {
    try {
      const found = await look()
      if (found !== undefined && found !== false) return found
    } catch (error) {
      cause = error
    }
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`, { cause })
    await sleep(everyMs, undefined, signal === undefined ? {} : { signal })
  }
}
