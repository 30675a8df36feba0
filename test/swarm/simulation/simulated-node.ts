import type { IndexKey } from '../../../src/overlay/overlay.ts'
import type { JoinAnswer, JoinRequest, Lease, Member, ReportEntry } from '../../../src/swarm/messages.ts'
import type { LeftSource, SwarmOutcome } from '../../../src/swarm/swarm.ts'
import type { FlowNode } from './flow.ts'

export const ITEM = `registry.test/app@sha256:${'a'.repeat(64)}`
const KEY = 'a'.repeat(64) as IndexKey

/** The side of a member: it asks, follows, reports and leaves. */
export class SimulatedNode implements FlowNode {
  readonly id: string
  readonly zone: string | undefined
  position = 0
  complete = false
  alive = true
  fromUpstream = false
  sources: SimulatedNode[] = []
  readonly readers = new Set<SimulatedNode>()
  pending = 0
  arriving = 0
  depth = 0
  lease: Lease | undefined
  left: LeftSource[] = []
  asking = false
  /** Since when it has been told to wait, and since when no byte came. */
  waitingSince: number | undefined
  movedAt = 0
  lastPosition = 0
  level = 0
  startedAt = 0
  finishedAt: number | undefined
  longestSilence = 0

  link: number

  constructor(number: number, zone: string | undefined, link: number) {
    this.link = link
    this.id = `node-${number}`
    this.zone = zone
  }

  get member(): Member {
    return {
      id: this.id,
      address: `${this.id}:7951`,
      remoteAddress: this.id,
      zone: this.zone,
      sending: this.readers.size,
      capacity: 32,
    }
  }

  question(size: number): JoinRequest {
    const { member, position, lease, left } = this
    this.left = []
    return {
      type: 'join',
      member,
      key: KEY,
      item: ITEM,
      kind: 'blob',
      position,
      size,
      serves: true,
      left,
      lease,
      upstreamRate: undefined,
      forwarded: false,
    }
  }

  entry(size: number, outcome: SwarmOutcome | undefined): ReportEntry {
    const { position, lease } = this
    return {
      key: KEY,
      item: ITEM,
      kind: 'blob',
      position,
      size,
      serves: true,
      lease,
      parent: this.sources[0]?.id,
      upstreamRate: undefined,
      outcome,
    }
  }

  /** Does as it is told; a switch keeps its byte. */
  obey(answer: JoinAnswer, byId: ReadonlyMap<string, SimulatedNode>): void {
    if (answer.type === 'upstream') {
      this.detach()
      this.lease = answer.lease
      this.fromUpstream = true
    } else if (answer.type === 'follow') {
      this.detach()
      this.lease = undefined
      this.fromUpstream = false
      this.sources = answer.sources.flatMap(({ peer }) => byId.get(peer.id) ?? [])
      this.level = answer.sources[0]?.level ?? 0
      for (const source of this.sources) source.readers.add(this)
    }
  }

  detach(): void {
    for (const source of this.sources) source.readers.delete(this)
    this.sources = []
  }
}
