import type { ToldFinding } from '../contracts/node/about.ts'
import { bySeverity, type Finding } from './check.ts'
import { isNotableOffset, showOffset } from './clock-offsets.ts'

/** Another member of the cluster, as the daemon of this node sees it and as the member describes itself. */
export interface NeighbourLook {
  readonly id: string
  readonly address: string
  /** `refused`: it answered that it does not accept the question. `none`: it gave no answer. */
  readonly answer: 'ok' | 'refused' | 'none'
  /** Whether this node asked the neighbour; false if the time for all neighbours was over before. True if absent. */
  readonly wasAsked?: boolean | undefined
  /** Why it did not answer, in a clause. */
  readonly failure?: string | undefined
  /** Why it cannot reach this node, in its words. */
  readonly cannotReachUs?: string | undefined
  readonly ready?: boolean | undefined
  /** Milliseconds by which its clock is ahead of this node's. */
  readonly clockAheadMs?: number | undefined
}

/** Whether it was asked and gave no answer. */
export function isSilent({ answer, wasAsked }: NeighbourLook): boolean {
  return answer === 'none' && wasAsked !== false
}

/** What to change where the neighbour at `address` gives no answer: its daemon may hang, or its port be closed. */
export function silentFix(address: string): string {
  return `see on ${address} whether Nabo works there (nabo status); if it does, let the nodes reach each other at ports 7951 and 7952 (--peer-addr, --router-addr), and check --advertise-addr there`
}

/** What to change so that other nodes reach this one at `address`. */
export function reachableFix(address: string): string {
  return `let other nodes connect to port ${address.split(':').at(-1)} of this one (firewall, NetworkPolicy); if ${address} is not its address in their network, set --advertise-addr`
}

/**
 * What is wrong with a neighbour, or between it and this node, the worst first. `reports` are the neighbour's findings about itself. Its clock is wrong only
 * where it differs from most clocks: `typicalOffset` is theirs, in milliseconds ahead of this node's.
 */
export function findingsAbout(
  neighbour: NeighbourLook,
  about: { selfAddress: string; typicalOffset: number; reports: readonly ToldFinding[] },
): readonly Finding[] {
  const { address, answer, failure, cannotReachUs, ready, clockAheadMs } = neighbour
  const why = failure === undefined ? '' : `: ${failure}`
  const findings: Finding[] = []
  if (isSilent(neighbour))
    findings.push({ ...OTHERS, level: 'warning', says: `does not answer${why}`, fix: silentFix(address) })
  if (answer === 'refused')
    findings.push({
      ...{ id: 'secret', title: 'cluster secret', level: 'error', says: `refuses this node${why}` },
      fix: 'compare the files of --cluster-secret-file on both nodes (sha256sum); restart Nabo where it was changed',
    })
  if (cannotReachUs !== undefined)
    findings.push({
      ...{ id: 'reachable', title: 'reachable by other nodes', level: 'warning' },
      says: `cannot reach this node: ${cannotReachUs}`,
      fix: reachableFix(about.selfAddress),
      seenBy: [address],
    })
  const { typicalOffset } = about
  const ahead = (clockAheadMs ?? typicalOffset) - typicalOffset
  const others = isNotableOffset(typicalOffset) ? 'most other clocks' : 'that of this node'
  if (isNotableOffset(ahead))
    findings.push({
      ...{ id: 'clock', title: 'clock', level: 'warning' },
      says: `its clock is ${showOffset(ahead)} ${ahead > 0 ? 'ahead of' : 'behind'} ${others}`,
      fix: `set the clock of ${address}: timedatectl set-ntp true`,
    })
  findings.push(
    ...about.reports.map(({ title, says, ...report }) => ({
      ...report,
      title,
      says: `${title}: ${says}`,
      fix: `run nabo doctor on ${address}`,
      seenBy: [address],
    })),
  )
  if (ready === false && findings.length === 0)
    findings.push({ ...OTHERS, level: 'warning', says: 'is not ready', fix: `run nabo status on ${address}` })
  return bySeverity(findings)
}

const OTHERS = { id: 'peers', title: 'other nodes' } as const
