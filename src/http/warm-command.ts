import type { AdminHandler } from '../contracts/admin-contract.ts'
import type { WarmCommand, warm } from '../contracts/admin/warm.ts'
import type { Digest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { type ImageReference, type IsMirror, parseImageReference } from '../oci/reference.ts'
import { withDeadline } from '../time/deadline.ts'
import { second } from '../time/units.ts'
import { formatReference } from '../warm/messages.ts'
import type { NodeProgress, RolloutOrder } from '../warm/rollout.ts'

export interface WarmCommandOptions {
  /** Whether a registry name addresses the mirror of this node. Such a name has no meaning on other nodes. */
  readonly isMirror: IsMirror
  /** The digest that a reference names now. Throws OciError. */
  resolve(reference: ImageReference, options: { signal: AbortSignal }): Promise<Digest>
  /** Brings an image to nodes; see Rollout. */
  rollOut(order: RolloutOrder, tell: (progress: NodeProgress) => void, options: { signal: AbortSignal }): Promise<void>
}

/** Longer than a request to the mirror can take. */
const RESOLVE_TIMEOUT = 15 * second
/** The pause between `waiting` lines: a client that reads no line for much longer takes the daemon for dead. */
const HEARTBEAT = 3 * second
const MAX_AT_A_TIME = 8

/** `POST /api/v1/warm`: has nodes pull an image. Closing the connection takes the order back. */
export function createWarmCommand(options: WarmCommandOptions): AdminHandler<typeof warm> {
  let running = 0
  return async ({ body, signal }, write) => {
    const reference = parseReference(body, options.isMirror)
    if (running >= MAX_AT_A_TIME)
      throw new OciError('UNAVAILABLE', { message: `${MAX_AT_A_TIME} images are being warmed from here already` })
    running += 1
    let heartbeat: NodeJS.Timeout | undefined
    try {
      // Resolve once, so that every node gets the same image.
      const digest = await withDeadline(RESOLVE_TIMEOUT, 'resolving', signal, (signal) =>
        options.resolve(reference, { signal }),
      )
      write({ type: 'started', reference: formatReference(reference), digest })
      heartbeat = setInterval(() => write({ type: 'waiting' }), HEARTBEAT)
      const states = new Map<string, NodeProgress['state']>()
      const tell = (progress: NodeProgress) => {
        states.set(progress.node, progress.state)
        write({ type: 'node', ...progress })
      }
      await options.rollOut({ ...body, reference, digest }, tell, { signal })
      const done = states.values().reduce((count, state) => count + (state === 'done' ? 1 : 0), 0)
      write({ type: 'summary', nodes: states.size, done, failed: states.size - done })
    } finally {
      clearInterval(heartbeat)
      running -= 1
    }
  }
}

function parseReference(body: WarmCommand, isMirror: IsMirror): ImageReference {
  const reference = parseImageReference(body.reference, isMirror)
  if (reference === undefined)
    throw new OciError('UNSUPPORTED', { status: 400, message: 'reference: is not an image reference' })
  const isNamed = reference.tag !== undefined || reference.digest !== undefined
  return isNamed ? reference : { ...reference, tag: 'latest' }
}
