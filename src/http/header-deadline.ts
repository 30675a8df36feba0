import { OciError } from '../oci/errors.ts'
import { PULL_USER_AGENT, isExplicit } from '../oci/request.ts'
import { DeadlineError, abortable } from '../time/deadline.ts'
import { second } from '../time/units.ts'

/** How long a client waits for the header of an answer. Durations in milliseconds. */
export interface Patience {
  /** The client cannot go on elsewhere, and waits for a slow registry. */
  readonly isPatient: boolean
  readonly header: number
  /** The same while the content is on its way to this node. */
  readonly coming: number
}

export interface HeaderWork<T> {
  readonly patience: Patience
  /** Releases a result that comes too late. */
  readonly discard?: (late: T) => unknown
  readonly isComing?: () => boolean
}

/** containerd before 2.3 has no deadline for a header: after this time the mirror answers 404, and containerd asks its next host. */
const HEADER_DEADLINE = 9 * second
/** The same for a blob about which other nodes are asked: they are slow, and containerd itself would fetch a second copy of it. Below containerd's 30 s from 2.3 on. */
const COMING_DEADLINE = 25 * second
const DEADLINE_TICK = 0.5 * second

/**
 * containerd and BuildKit send `ns` to a mirror and go on to the registry. Without `ns` the mirror may be all that a client has (a reference that names the
 * mirror), or one of several hosts (a mirror of Podman, CRI-O or dockerd), which look the same: it waits for a slow registry.
 */
export function patienceOf(url: string, userAgent: string | undefined, upstreamTimeout: number): Patience {
  if (!isExplicit(url) && userAgent !== PULL_USER_AGENT)
    return { isPatient: false, header: HEADER_DEADLINE, coming: COMING_DEADLINE }
  // The registry has its time, and other nodes are asked before it.
  const header = upstreamTimeout + HEADER_DEADLINE
  return { isPatient: true, header, coming: Math.max(header, COMING_DEADLINE) }
}

/**
 * Runs the work that precedes the header, under one deadline, which is put off while the content `isComing`. What the work opens follows the
 * client's signal afterwards. A result that comes too late goes to `discard`.
 */
export async function beforeDeadline<T>(
  client: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
  { patience, discard = () => {}, isComing = () => false }: HeaderWork<T>,
): Promise<T> {
  const controller = new AbortController()
  let waited = patience.header
  const onDeadline = () => {
    if (isComing() && waited < patience.coming) {
      const more = Math.min(DEADLINE_TICK, patience.coming - waited)
      waited += more
      timer = setTimeout(onDeadline, more)
    } else controller.abort(new DeadlineError('no answer in time'))
  }
  let timer = setTimeout(onDeadline, patience.header)
  const signal = AbortSignal.any([client, controller.signal])
  const working = work(signal)
  try {
    return await abortable(working, signal)
  } catch (error) {
    // No caller is left to close what the work opens after the deadline.
    working.then(discard).catch(() => {})
    if (!(error instanceof DeadlineError)) throw error
    const advice = patience.isPatient ? 'try again later' : 'go on without the mirror'
    throw new OciError('NOT_FOUND', {
      message: `nobody answered within ${Math.round(waited / second)} seconds; ${advice}`,
      cause: error,
    })
  } finally {
    clearTimeout(timer)
  }
}
