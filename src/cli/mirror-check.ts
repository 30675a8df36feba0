import { findMirrorOccupant, type MirrorOccupant } from '../doctor/mirror-occupant.ts'
import { formatHostPort } from '../overlay/host-port.ts'
import { printable } from './printable.ts'

/**
 * Says on standard error why a client must not be sent to this address, and returns false, if a program other than Nabo answers there: it
 * could name any digest for a tag. An address where nothing answers is fine, since clients may be set up before the daemon starts.
 */
export async function isFitForMirror(mirrorUrl: URL): Promise<boolean> {
  const occupant = await findMirrorOccupant(mirrorUrl)
  if (occupant.type !== 'other') return true
  process.stderr.write(`nabo: ${printable(refusal(occupant))}\n`)
  return false
}

function refusal({ address, process: listener }: Extract<MirrorOccupant, { type: 'other' }>): string {
  const where = `another program answers at ${formatHostPort(address)}`
  const fix = 'End that program, or choose another address with --mirror-addr of nabo serve and --mirror-url here.'
  return `${where}${listener === undefined ? '' : `: ${named(listener)}`}. Nothing was changed. ${fix}`
}

function named({ uid, program }: NonNullable<Extract<MirrorOccupant, { type: 'other' }>['process']>): string {
  if (program === undefined) return `a process of user ${uid}, which this user or container cannot see`
  const { name, pid, executable } = program
  return `${name} (pid ${pid}, ${executable === undefined ? `user ${uid}` : `${executable}, user ${uid}`})`
}
