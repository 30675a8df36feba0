import { randomBytes } from 'node:crypto'

import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import type { KnownMembers } from './known-members.ts'
import type { LocalMember } from '../membership/local-member.ts'
import type { PairKeys } from './pair-keys.ts'
import {
  ANSWER_PROOF_HEADER,
  COUNTER_HEADER,
  INCARNATION_HEADER,
  RECORD_HEADER,
  answerProof,
  hashBody,
  isSameProof,
  writeRequestProof,
} from './proofs.ts'

export interface RequestSignerOptions {
  readonly local: LocalMember
  readonly keys: PairKeys
  /** The key of the gate MAC, of the current secret. */
  readonly gate: Buffer
  /** Where the incarnations of members that asked this node are known. */
  readonly members: Pick<KnownMembers, 'get'>
  /** Targets that are remembered at most; more than the largest cluster has. */
  readonly limit?: number
}

export interface OutgoingRequest {
  readonly method: string
  /** The path with its query. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

export interface AnswerHead {
  readonly status: number
  readonly header: (name: string) => string | undefined
}

/** A request with its proof. */
export interface SignedRequest {
  readonly headers: Readonly<Record<string, string>>
  /** Whether an answer is the target's answer to this very request. Learns from it what the next request needs. */
  accepts(answer: AnswerHead): boolean
}

/** The state of this node's requests to one target. */
interface Target {
  /** New when a target that was forgotten is asked again: its counter begins anew, and old answers must not fit new requests. */
  readonly session: string
  incarnation: number
  counter: number
  /** The incarnation of this node whose record the target has; undefined: the next request carries the record. */
  introduced: number | undefined
}

const MAX_TARGETS = 20_000

/** Proves requests to other members, and checks their answers. */
export class RequestSigner {
  readonly #options: RequestSignerOptions
  readonly #targets: LRUCache<string, Target>

  constructor({ limit = MAX_TARGETS, ...options }: RequestSignerOptions) {
    this.#options = options
    this.#targets = new LRUCache(atMost(limit))
  }

  /** undefined if the target's id cannot be used for a proof. */
  sign(to: string, request: OutgoingRequest): SignedRequest | undefined {
    const { local, keys, gate } = this.#options
    const [pair] = keys.of(to)
    if (pair === undefined) return undefined
    const target = this.#target(to)
    const { incarnation: own } = local.record
    const record = target.introduced === own ? {} : { [RECORD_HEADER]: local.recordText }
    const sent: Record<string, string> = { ...request.headers, ...record }
    const claim = {
      from: local.id,
      to,
      session: target.session,
      incarnation: target.incarnation,
      counter: ++target.counter,
      bodyHash: hashBody(request.body),
    }
    const head = { method: request.method, target: request.target, header: (name: string) => sent[name] }
    const { authorization, mac } = writeRequestProof(claim, head, { pair, gate })
    return {
      headers: { ...sent, authorization },
      accepts: (answer) => {
        const expected = answerProof(pair, mac, answer.status, answer.header)
        if (!isSameProof(expected, answer.header(ANSWER_PROOF_HEADER))) return false
        learn(target, answer, own)
        return true
      },
    }
  }

  #target(id: string): Target {
    const known = this.#targets.get(id)
    if (known !== undefined) return known
    const incarnation = this.#options.members.get(id)?.record.incarnation ?? 0
    const session = randomBytes(8).toString('hex')
    const target: Target = { session, incarnation, counter: 0, introduced: undefined }
    this.#targets.set(id, target)
    return target
  }
}

/** Whether an authentic answer refuses the request only because its incarnation or counter was not the next one. */
export function isOutOfStep({ status, header }: AnswerHead): boolean {
  return status === 409 && header(INCARNATION_HEADER) !== undefined
}

function learn(target: Target, answer: AnswerHead, own: number): void {
  if (!isOutOfStep(answer)) {
    target.introduced = own
    return
  }
  target.introduced = undefined
  target.incarnation = numberOf(answer.header(INCARNATION_HEADER)) ?? target.incarnation
  target.counter = Math.max(target.counter, numberOf(answer.header(COUNTER_HEADER)) ?? 0)
}

function numberOf(text: string | undefined): number | undefined {
  const number = /^\d{1,16}$/.test(text ?? '') ? Number(text) : Number.NaN
  return Number.isSafeInteger(number) ? number : undefined
}
