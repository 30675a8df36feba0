import { verify } from '../../contracts/node/verify.ts'
import type { NodeCaller } from '../../contracts/node-caller.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { second } from '../../time/units.ts'
import type { Suspicion } from './suspects.ts'

const TIMEOUT = 2 * second
/** A blob comes from a few holders; the others are asked when it is suspect again. */
const MAX_ASKED = 8

/** Asks the complete holders that sent some of a suspect blob to check their own copy. Never throws. */
export async function askToVerify(
  { digest, senders }: Suspicion,
  nodes: NodeCaller,
  log: Pick<Log, 'debug'>,
): Promise<void> {
  const holders = senders.filter(({ complete }) => complete).slice(0, MAX_ASKED)
  await Promise.all(
    holders.map(async ({ peer }) => {
      try {
        const signal = AbortSignal.timeout(TIMEOUT)
        const { accepted } = await nodes.call(peer, verify, { digest }, { signal })
        log.debug({ digest, peer: peer.address, accepted }, 'a holder was asked to check its blob')
      } catch (error) {
        // The holder is avoided anyway; the next node that gets wrong bytes from it asks it again.
        log.debug(
          { digest, peer: peer.address, err: errorText(error) },
          'a holder could not be asked to check its blob',
        )
      }
    }),
  )
}
