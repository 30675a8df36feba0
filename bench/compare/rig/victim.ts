import type { MirrorProcess } from '../contenders/contender.ts'

/** The mirrors that a kill may strike: those that run on nodes that have the image, or else the cache that is on no node. */
export function possibleVictims<Process extends Pick<MirrorProcess, 'node' | 'ended'>>(
  processes: readonly Process[],
  seeds: readonly string[],
  nodes: readonly string[],
): Process[] {
  const onSeeds = processes.filter(({ node }) => seeds.includes(node))
  const shared = processes.filter(({ node }) => !nodes.includes(node))
  return (onSeeds.length > 0 ? onSeeds : shared).filter(({ ended }) => ended() === undefined)
}

/** The one that has sent most, since a kill of one that gives nothing shows nothing; the first of equals. undefined if there is none. */
export function busiest<Victim extends { readonly sentBytes: number }>(victims: readonly Victim[]): Victim | undefined {
  return victims.reduce<Victim | undefined>(
    (most, victim) => (most === undefined || victim.sentBytes > most.sentBytes ? victim : most),
    undefined,
  )
}
