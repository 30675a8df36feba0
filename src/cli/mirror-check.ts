import { setTimeout as sleep } from 'node:timers/promises'

import { describeProcess } from '../doctor/listening-process.ts'
import { findMirrorOccupant, type MirrorOccupant } from '../doctor/mirror-occupant.ts'
import { formatHostPort } from '../overlay/host-port.ts'
import { second } from '../time/units.ts'
import { printable } from './printable.ts'

/** Between two questions whether a mirror listens. */
const WAIT_STEP = 0.1 * second
/** For one answer while a mirror is waited for. Shorter ones end before a busy machine refuses the connection. */
const ANSWER_TIMEOUT = 2 * second

/**
 * Says on standard error why a client must not be sent to this address, and returns false, if a program other than Nabo answers there: it
 * could name any digest for a tag. An address where nothing answers is fine, since clients may be set up before the daemon starts.
 */
export async function isFitForMirror(mirrorUrl: URL): Promise<boolean> {
  const occupant = await findMirrorOccupant(mirrorUrl)
  if (occupant.type !== 'other') return true
  process.stderr.write(`nabo: ${printable(refusal(occupant, ' Nothing was changed.'))}\n`)
  return false
}

/**
 * Waits until Nabo listens at this address. Says why on standard error, and returns false, if nothing answers after `ms` milliseconds, or as soon as another
 * program answers. The last question may take 2 seconds more.
 */
export async function waitForMirror(mirrorUrl: URL, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms
  for (;;) {
    const occupant = await findMirrorOccupant(mirrorUrl, { timeout: ANSWER_TIMEOUT })
    if (occupant.type === 'nabo' && occupant.silent === undefined) return true
    const problem = occupant.type === 'other' ? refusal(occupant) : undefined
    if (problem !== undefined || performance.now() >= deadline) {
      process.stderr.write(`nabo: ${printable(problem ?? lateness(occupant, mirrorUrl, ms))}\n`)
      return false
    }
    await sleep(WAIT_STEP)
  }
}

function lateness(occupant: MirrorOccupant, { host }: URL, ms: number): string {
  const silent = occupant.type === 'nabo' ? occupant.silent : undefined
  return silent === undefined
    ? `nothing answers at ${host} after ${ms / second} s: see the log of nabo serve`
    : `Nabo (pid ${silent.program?.pid}) listens at ${host}, and gave no answer within ${ms / second} s: it hangs, or is still starting`
}

function refusal({ address, process: listener }: Extract<MirrorOccupant, { type: 'other' }>, consequence = ''): string {
  const where = `another program answers at ${formatHostPort(address)}`
  const fix = 'End that program, or choose another address with --mirror-addr of nabo serve and --mirror-url here.'
  return `${where}${listener === undefined ? '' : `: ${describeProcess(listener)}`}.${consequence} ${fix}`
}
