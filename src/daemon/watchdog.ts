import { Worker } from 'node:worker_threads'

import { second } from '../time/units.ts'

/** How often the event loop shows that it turns. */
const BEAT = 500
/** How long it may stand still before the process is ended: a mirror that hangs is worse than one that is gone. */
const PATIENCE = 5 * second

/**
 * Watches the event loop from a thread of its own, and ends the process with SIGKILL when it stands still for five seconds:
 * containerd then goes on without the mirror. Returns its own end.
 */
export function startWatchdog(): () => Promise<number> {
  const beats = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(new URL('watchdog-worker.js', import.meta.url), {
    workerData: { beats, beat: BEAT, patience: PATIENCE },
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
  })
  worker.unref()
  const timer = setInterval(() => Atomics.add(beats, 0, 1), BEAT)
  timer.unref()
  return () => {
    clearInterval(timer)
    return worker.terminate()
  }
}
