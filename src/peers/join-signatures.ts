import { randomBytes } from 'node:crypto'

import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import { type NodeIdentity, hasSigned } from '../membership/node-identity.ts'
import { ReplayWindow } from '../authentication/replay-window.ts'
import { WIRE_VERSION } from '../membership/wire-version.ts'
import { encodeMessage } from '../contracts/message.ts'
import { NODE_PROTOCOL } from '../contracts/node-protocol.ts'
import type { Peer } from '../overlay/overlay.ts'
import type { JoinMessage } from '../swarm/messages.ts'

/** Processes of members whose forwarded joins are remembered, some 200 bytes each. */
const MAX_SESSIONS = 20_000

/**
 * Signs this node's joins, and checks the signatures of forwarded joins. The proof of a request covers its sender only: without the signature, a
 * coordinator that forwards a join could invent or repeat one of another node.
 */
export class JoinSignatures {
  readonly #identity: NodeIdentity
  /** Not the incarnation: after a restart with a clock that was set back, that is lower than before. */
  readonly #session = randomBytes(8).toString('hex')
  readonly #seen = new LRUCache<string, ReplayWindow>(atMost(MAX_SESSIONS))
  #sequence = 0

  constructor(identity: NodeIdentity) {
    this.#identity = identity
  }

  /** Adds this node's signature to its own message. `address` is that of its peer listener. */
  sign(message: JoinMessage, address: string): JoinMessage {
    const stamp = { session: this.#session, sequence: ++this.#sequence }
    const bytes = signedBytes(message, { id: this.#identity.id, address }, stamp)
    return { ...message, signed: { ...stamp, signature: this.#identity.sign(bytes).toString('base64url') } }
  }

  /** Whether `member` has signed a forwarded message, and the message comes for the first time. */
  accepts(message: JoinMessage, member: Peer): boolean {
    const { signed } = message
    if (signed === undefined) return false
    const bytes = signedBytes(message, member, signed)
    return hasSigned(member.id, bytes, Buffer.from(signed.signature, 'base64url')) && this.#isFirst(member.id, signed)
  }

  #isFirst(id: string, { session, sequence }: NonNullable<JoinMessage['signed']>): boolean {
    const key = `${id} ${session}`
    const seen = this.#seen.get(key) ?? new ReplayWindow()
    this.#seen.set(key, seen)
    return seen.accept(sequence)
  }
}

function signedBytes(
  message: JoinMessage,
  { id, address }: Peer,
  { session, sequence }: { readonly session: string; readonly sequence: number },
): Buffer {
  const unsigned = encodeMessage(NODE_PROTOCOL.join.request, { ...message, onBehalfOf: undefined, signed: undefined })
  const stamp = `nabo join ${WIRE_VERSION}\n${id}\n${address}\n${session}\n${sequence}\n`
  return Buffer.concat([Buffer.from(stamp), unsigned])
}
