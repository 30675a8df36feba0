import type { IndexKey, Peer } from '../../src/overlay/overlay.ts'
import type { SwarmLimits } from '../../src/swarm/limits.ts'
import type { JoinAnswer, JoinRequest, Lease, Member, ReportEntry } from '../../src/swarm/messages.ts'
import type { SwarmOutcome } from '../../src/swarm/swarm.ts'
import { SwarmTable } from '../../src/swarm/swarm-table.ts'

export const MIB = 1024 * 1024
export const SIZE = 300 * MIB

/** A swarm table with a clock of its own, and members that are letters. */
export class TableFixture {
  now = 1_000_000
  readonly table: SwarmTable
  readonly members: Record<string, Partial<Member>> = {}

  constructor(options: { treeChildren?: number; limits?: Partial<SwarmLimits>; random?: () => number } = {}) {
    this.table = new SwarmTable({ treeChildren: 3, random: () => 0.5, now: () => this.now, ...options })
  }

  join(id: string, request: Partial<JoinRequest> = {}, holders: readonly string[] = [], rank = 0): JoinAnswer {
    return this.decide(id, request, holders, rank).answer
  }

  decide(
    id: string,
    request: Partial<JoinRequest> = {},
    holders: readonly string[] = [],
    rank = 0,
    options: { mayGrant?: boolean } = {},
  ) {
    const said: JoinRequest = {
      type: 'join',
      member: this.member(id),
      ...WHAT,
      position: 0,
      left: [],
      lease: undefined,
      upstreamRate: undefined,
      forwarded: false,
      ...request,
    }
    return this.table.join(said, holders.map(peer), rank, options)
  }

  report(id: string, entry: Partial<ReportEntry> = {}, rank = 0): 'ok' | 'ask' | undefined {
    const said: ReportEntry = {
      ...WHAT,
      position: 0,
      lease: undefined,
      parent: undefined,
      upstreamRate: undefined,
      outcome: undefined,
      ...entry,
    }
    return this.table.report({ type: 'report', member: this.member(id), entries: [said] }, rank)[0]
  }

  leave(id: string, outcome: SwarmOutcome, entry: Partial<ReportEntry> = {}): void {
    this.report(id, { ...entry, outcome })
  }

  member(id: string): Member {
    return { ...peer(id), remoteAddress: id, zone: undefined, sending: 0, capacity: 32, ...this.members[id] }
  }
}

const WHAT = {
  key: 'a'.repeat(64) as IndexKey,
  item: 'registry.test/app@sha256:aa',
  kind: 'blob',
  size: SIZE as number | undefined,
  serves: true,
} as const

export function peer(id: string): Peer {
  return { id, address: `${id}:7951` }
}

/** Whom an answer says to follow. */
export function sources(answer: JoinAnswer): string[] {
  return answer.type === 'follow' ? answer.sources.map((source) => source.peer.id) : [answer.type]
}

export function leaseOf(answer: JoinAnswer): Lease | undefined {
  return answer.type === 'upstream' ? answer.lease : undefined
}
