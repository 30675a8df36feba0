import { randomInt } from 'node:crypto'

import type { NodeIdentity } from './node-identity.ts'
import { MAX_ADDRESSES, type MemberRecord, signRecord } from './member-record.ts'

/** Incarnations of one millisecond: 2^12 of them, so that a time in milliseconds fits into an exact integer beside them. */
const PER_MILLISECOND = 4_096

/** This node as the other members know it. */
export class LocalMember {
  readonly identity: NodeIdentity
  #record: MemberRecord
  #text: string

  constructor(identity: NodeIdentity, about: Pick<MemberRecord, 'addresses' | 'zone' | 'version'>) {
    this.identity = identity
    // The clock only makes a later life's number higher. If it was set back, the random part keeps the two apart.
    const incarnation = Date.now() * PER_MILLISECOND + randomInt(PER_MILLISECOND)
    const [first, ...others] = about.addresses
    // Other members refuse a record with more addresses, and with it all requests of this node.
    const addresses = [first, ...others.slice(0, MAX_ADDRESSES - 1)] as const
    this.#record = { id: identity.id, ...about, addresses, incarnation }
    this.#text = signRecord(this.#record, (bytes) => identity.sign(bytes))
  }

  get id(): string {
    return this.identity.id
  }

  get record(): MemberRecord {
    return this.#record
  }

  /** The signed record as a header carries it. */
  get recordText(): string {
    return this.#text
  }

  /** Begins a new incarnation: every request that was made for the current one becomes void. */
  renew(): void {
    this.#record = { ...this.#record, incarnation: this.#record.incarnation + 1 }
    this.#text = signRecord(this.#record, (bytes) => this.identity.sign(bytes))
  }
}
