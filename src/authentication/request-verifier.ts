import type { KnownMember, KnownMembers } from './known-members.ts'
import type { LocalMember } from '../membership/local-member.ts'
import type { MessageSender } from '../membership/message-sender.ts'
import type { PairKeys } from './pair-keys.ts'
import {
  COUNTER_HEADER,
  INCARNATION_HEADER,
  RECORD_HEADER,
  type RequestHead,
  type RequestProof,
  answerProof,
  isProofOf,
  passesGate,
  readRequestProof,
} from './proofs.ts'

export interface RequestVerifierOptions {
  readonly local: LocalMember
  readonly keys: PairKeys
  /** The keys of the gate MAC, one for each secret. */
  readonly gates: readonly Buffer[]
  readonly members: KnownMembers
}

/** Proves an answer to one request, by its status and headers. */
export type ProveAnswer = (status: number, header: (name: string) => string | undefined) => string

export type Verification =
  | {
      readonly type: 'accepted'
      readonly sender: MessageSender
      readonly bodyHash: string
      readonly prove: ProveAnswer
    }
  /** The proof is right, but names another incarnation of this node, or a counter that was used or is too old: the sender may send it again. */
  | { readonly type: 'out-of-step'; readonly headers: Readonly<Record<string, string>>; readonly prove: ProveAnswer }
  | { readonly type: 'refused'; readonly reason: ProofRefusal; readonly message: string }

/** Why a request is refused, for metrics. */
export type ProofRefusal =
  | 'no-proof'
  | 'other-target'
  | 'wrong-secret'
  | 'wrong-proof'
  | 'no-record'
  | 'too-many-members'

const MESSAGES: Readonly<Record<ProofRefusal, string>> = {
  'no-proof': 'the request carries no proof of membership that this version understands',
  'other-target': 'the request is for another node than the one at this address',
  'wrong-secret': 'the sender does not know the cluster secret of this node',
  'wrong-proof': 'the proof does not fit the request',
  'no-record': 'the sender has sent no valid record of itself',
  'too-many-members': 'this node knows as many members as it can, or as may be at one address',
}

/** Checks the heads of requests from other members, before their bodies are read. */
export class RequestVerifier {
  /** The requests that were refused since the start. */
  readonly refused: Record<ProofRefusal, number> = {
    'no-proof': 0,
    'other-target': 0,
    'wrong-secret': 0,
    'wrong-proof': 0,
    'no-record': 0,
    'too-many-members': 0,
  }
  readonly #options: RequestVerifierOptions

  constructor(options: RequestVerifierOptions) {
    this.#options = options
  }

  /** Verifies the head of a request that came from an IP address. An accepted request is accepted once. */
  verify(head: RequestHead, remoteAddress: string): Verification {
    const verification = this.#verify(head, remoteAddress)
    if (verification.type === 'refused') this.refused[verification.reason]++
    return verification
  }

  #verify(head: RequestHead, remoteAddress: string): Verification {
    const { local, keys, gates, members } = this.#options
    const proof = readRequestProof(head.header('authorization') ?? '')
    if (proof === undefined) return refused('no-proof')
    const { from, to, bodyHash } = proof
    if (!gates.some((gate) => passesGate(proof, gate))) return refused('wrong-secret')
    if (to !== local.id) return refused('other-target')
    const key = keys.of(from).find((key) => isProofOf(proof, head, key))
    if (key === undefined) return refused('wrong-proof')
    const prove: ProveAnswer = (status, header) => answerProof(key, proof.mac, status, header)
    const known = members.get(from)
    if (!this.#isInStep(proof, known)) return { type: 'out-of-step', headers: this.#outOfStep(known), prove }
    const recordText = head.header(RECORD_HEADER)
    // Only now: an old request must not bring an old record back.
    const member = recordText === undefined ? known : members.introduce(from, recordText, remoteAddress)
    if (member === 'full') return refused('too-many-members')
    if (member === undefined)
      return recordText === undefined
        ? { type: 'out-of-step', headers: this.#outOfStep(known), prove }
        : refused('no-record')
    if (known === undefined) member.requests.accept(proof.counter)
    members.heard(from)
    const [address] = member.record.addresses
    return { type: 'accepted', sender: { id: from, address, remoteAddress }, bodyHash, prove }
  }

  #isInStep({ incarnation, counter }: RequestProof, known: KnownMember | undefined): boolean {
    if (incarnation !== this.#options.local.record.incarnation) return false
    return known === undefined || known.requests.accept(counter)
  }

  #outOfStep(member: KnownMember | undefined): Record<string, string> {
    return {
      [INCARNATION_HEADER]: String(this.#options.local.record.incarnation),
      [COUNTER_HEADER]: String(member?.requests.highest ?? 0),
    }
  }
}

function refused(reason: ProofRefusal): Verification {
  return { type: 'refused', reason, message: MESSAGES[reason] }
}
