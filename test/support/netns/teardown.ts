import type { ControlGroups } from '../cri/control-groups.ts'
import { demolish, demolishNow } from './namespaces.ts'
import type { Network } from './network.ts'

export interface Teardown {
  /** Runs once, whoever calls first: the test, or a signal. */
  readonly end: () => Promise<void>
  /** To be asked after each wait while the cluster is made: what is made after its end would stay. */
  readonly throwIfEnded: () => void
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Ends a cluster once: when the test says so, on exit, and on SIGINT, SIGTERM and SIGHUP. `groups` have processes that are in no namespace of the
 * network.
 */
export function teardownOf(network: Network, directory: string, groups?: ControlGroups): Teardown {
  let ended: Promise<void> | undefined
  let signalled = false
  const onExit = () => {
    groups?.killNow()
    demolishNow(network.namespaces, directory)
  }
  const all = async () => {
    await groups?.kill()
    await demolish(network.namespaces, directory)
    await groups?.[Symbol.asyncDispose]()
  }
  const end = (): Promise<void> => {
    ended ??= all().finally(() => {
      // What was interrupted may go on for a moment, and make a file or two: they go when the process does.
      if (!signalled) process.off('exit', onExit)
      for (const signal of SIGNALS) process.off(signal, onSignal)
    })
    return ended
  }
  // As long as it goes on it listens: otherwise a second, impatient Ctrl-C would kill this process in the middle of it.
  const onSignal = (signal: NodeJS.Signals) => {
    if (signalled) return
    signalled = true
    void end().finally(() => {
      // Whoever else listens, another cluster or the program itself, ends this process.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
    })
  }
  process.on('exit', onExit)
  for (const signal of SIGNALS) process.on(signal, onSignal)
  const throwIfEnded = () => {
    if (ended !== undefined) throw new Error('the cluster was taken down while it was made')
  }
  return { end, throwIfEnded }
}
