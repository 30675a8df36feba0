import type { Transfer } from '../results.ts'

/** Of times in logs. */
const ROUNDING_SECONDS = 0.002

/**
 * What a contender says of itself, and of what the registry saw all that it does not claim: containerd turns to the registry where a mirror has
 * no answer, and a mirror may fetch for others.
 */
export function allTransfers(own: readonly Transfer[], seenByRegistry: readonly Transfer[]): Transfer[] {
  const claims = own.filter(({ source }) => source === 'upstream')
  const rest = seenByRegistry.filter((seen) => !claims.some((claim) => isSame(claim, seen)))
  return [...own, ...rest].sort((a, b) => a.at - b.at)
}

/** One answer of a mirror may be several requests to the registry, within its time. */
function isSame(claim: Transfer, seen: Transfer): boolean {
  const isMeanwhile =
    seen.at <= claim.at + claim.seconds + ROUNDING_SECONDS && claim.at <= seen.at + seen.seconds + ROUNDING_SECONDS
  return claim.node === seen.node && claim.digest === seen.digest && isMeanwhile
}
