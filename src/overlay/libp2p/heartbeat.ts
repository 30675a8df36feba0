import type { Libp2p, Stream } from '@libp2p/interface'

import { second } from '../../time/units.ts'
import type { Member, MemberTable } from './member-table.ts'
import type { OverlayLog } from './overlay-options.ts'

export const HEARTBEAT_PROTOCOL = '/nabo/heartbeat/1.0.0'

const ROUND_MS = 1 * second

/** Of the rounds of a member one in two carries a beat. */
const ROUNDS_PER_BEAT = 2

/**
 * After so many silent rounds a member is frozen or out of reach: 4 to 6 s after its last sign of life. Rounds are counted,
 * not time, so that a node that was itself too busy to listen blames no one.
 */
const SILENT_ROUNDS = 5

const OPEN_TIMEOUT_MS = 4 * second

const BEAT = new Uint8Array([0])

export type HeartbeatHost = Pick<Libp2p, 'peerId' | 'handle' | 'getConnections'>

interface Pulse {
  /** Of the node that beats; the other one echoes. */
  stream: Stream | undefined
  opening: boolean
  silentRounds: number
}

/**
 * Notices members that are frozen or cut off, which TCP takes minutes for. For each pair of nodes one of them sends a byte
 * on a kept stream and the other one echoes it: a stream for each ping, as libp2p's own monitor has it, costs several times that.
 */
export class Heartbeat {
  readonly #host: HeartbeatHost
  readonly #members: MemberTable
  readonly #log: OverlayLog
  readonly #pulses = new Map<string, Pulse>()
  #nextAt = 0
  #round = 0

  constructor(options: { host: HeartbeatHost; members: MemberTable; log: OverlayLog }) {
    this.#host = options.host
    this.#members = options.members
    this.#log = options.log
  }

  /** Echoes others' beats. */
  async serve(): Promise<void> {
    await this.#host.handle(
      HEARTBEAT_PROTOCOL,
      (stream, connection) => {
        const id = connection.remotePeer.toString()
        stream.addEventListener('message', () => {
          this.#hear(id)
          beat(stream)
        })
        stream.addEventListener('remoteCloseWrite', () => end(stream))
      },
      { maxInboundStreams: 4, maxOutboundStreams: 4 },
    )
  }

  tick(now: number, signal: AbortSignal): void {
    if (now < this.#nextAt) return
    this.#nextAt = now + ROUND_MS
    this.#round++
    for (const id of this.#pulses.keys()) if (this.#members.get(id) === undefined) this.#pulses.delete(id)
    for (const member of this.#members.list()) this.#attend(member, signal)
  }

  #attend(member: Member, signal: AbortSignal): void {
    const { id } = member.peer
    const pulse = this.#pulses.get(id) ?? { stream: undefined, opening: false, silentRounds: 0 }
    this.#pulses.set(id, pulse)
    if (pulse.silentRounds++ >= SILENT_ROUNDS) {
      this.#log.info({ peer: id }, 'a peer does not answer any more')
      this.#pulses.delete(id)
      for (const connection of this.#host.getConnections(member.peerId)) connection.abort(new Error('no heartbeat'))
    } else if (this.#host.peerId.toString() < id) {
      if (pulse.stream?.status !== 'open') void this.#open(member, pulse, signal)
      else if (this.#round % ROUNDS_PER_BEAT === 0) beat(pulse.stream)
    }
  }

  async #open(member: Member, pulse: Pulse, signal: AbortSignal): Promise<void> {
    if (pulse.opening) return
    pulse.opening = true
    try {
      const connection = this.#host.getConnections(member.peerId).find(({ status }) => status === 'open')
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(OPEN_TIMEOUT_MS)])
      const stream = await connection?.newStream(HEARTBEAT_PROTOCOL, { signal: deadline })
      if (stream === undefined) return
      stream.addEventListener('message', () => this.#hear(member.peer.id))
      stream.addEventListener('remoteCloseWrite', () => end(stream))
      pulse.stream = stream
      beat(stream)
    } catch (error) {
      if (!signal.aborted) this.#log.debug({ peer: member.peer.id, error: String(error) }, 'no heartbeat stream')
    } finally {
      pulse.opening = false
    }
  }

  #hear(id: string): void {
    const pulse = this.#pulses.get(id)
    if (pulse !== undefined) pulse.silentRounds = 0
  }
}

/** Leaves it when the last ones are still on their way out, or the stream is gone. */
function beat(stream: Stream): void {
  if (stream.status !== 'open' || stream.writeStatus !== 'writable' || stream.writableNeedsDrain) return
  stream.send(BEAT)
}

function end(stream: Stream): void {
  stream.close({ signal: AbortSignal.timeout(second) }).catch(() => stream.abort(new Error('the heartbeat ends')))
}
