import { createHmac, hash, hkdfSync, timingSafeEqual } from 'node:crypto'

import { WIRE_VERSION } from '../membership/wire-version.ts'

/** On a request: the sender's signed record, until the target is known to have it. */
export const RECORD_HEADER = 'nabo-record'
/** On an answer: the proof that covers its request, its status and its {@link ANSWER_HEADERS}. */
export const ANSWER_PROOF_HEADER = 'nabo-proof'
/** On the answer to a message, and on a manifest: the SHA-256 of the body. */
export const BODY_HEADER = 'nabo-body'
/** On a 409: the target's incarnation, and the highest counter that it has accepted from the sender. */
export const INCARNATION_HEADER = 'nabo-incarnation'
export const COUNTER_HEADER = 'nabo-counter'

/** The headers of a request that its proof covers. */
export const REQUEST_HEADERS = ['range', 'nabo-verified', RECORD_HEADER] as const
/** The headers of an answer that its proof covers. */
export const ANSWER_HEADERS = [
  'content-length',
  'content-range',
  'content-type',
  'docker-content-digest',
  'nabo-absent',
  'nabo-access',
  'nabo-as-of',
  'nabo-busy',
  'nabo-path',
  BODY_HEADER,
  INCARNATION_HEADER,
  COUNTER_HEADER,
] as const

/** The head of a request, by header names in lower case. */
export interface RequestHead {
  readonly method: string
  /** The path with its query. */
  readonly target: string
  readonly header: (name: string) => string | undefined
}

/** What the `Authorization` header of a request claims. */
export interface RequestClaim {
  readonly from: string
  readonly to: string
  /** Random, for as long as the sender counts its requests to the target: an answer to an earlier process is no answer to this one. */
  readonly session: string
  /** Of the target; 0 if the sender does not know it. */
  readonly incarnation: number
  /** Grows with each request of the sender to the target. */
  readonly counter: number
  /** SHA-256 of the body, hexadecimal. */
  readonly bodyHash: string
}

export interface RequestProof extends RequestClaim {
  /** HMAC by the key of the two nodes. */
  readonly mac: string
  /** HMAC by the cluster secret: cheap to check before the key of the two nodes is computed for a stranger. */
  readonly gate: string
}

const FORM = new RegExp(
  `^Nabo v=${WIRE_VERSION},from=([A-Za-z0-9_-]{1,128}),to=([A-Za-z0-9_-]{1,128}),session=([0-9a-f]{16}),` +
    'incarnation=(\\d{1,16}),counter=(\\d{1,16}),body=([0-9a-f]{64}),mac=([0-9a-f]{64}),gate=([0-9a-f]{32})$',
)
const GATE_BYTES = 16

export function hashBody(body: Uint8Array): string {
  return hash('sha256', body, 'hex')
}

/** The key of the gate MAC, derived from the node protocol's key of a cluster secret. */
export function gateKey(secret: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `nabo gate ${WIRE_VERSION}`, 32))
}

/** The value of the `Authorization` header of a request, and the MAC in it, which the proof of the answer covers. */
export function writeRequestProof(
  claim: RequestClaim,
  head: RequestHead,
  keys: { readonly pair: Buffer; readonly gate: Buffer },
): { readonly authorization: string; readonly mac: string } {
  const bytes = requestMac(keys.pair, claim, head)
  const mac = bytes.toString('hex')
  const { from, to, session, incarnation, counter, bodyHash } = claim
  const authorization =
    `Nabo v=${WIRE_VERSION},from=${from},to=${to},session=${session},incarnation=${incarnation},counter=${counter},` +
    `body=${bodyHash},mac=${mac},gate=${gateMac(keys.gate, from, bytes).toString('hex')}`
  return { authorization, mac }
}

/** Reads an `Authorization` header; undefined if it is none of this protocol and version. */
export function readRequestProof(header: string): RequestProof | undefined {
  const match = FORM.exec(header)
  if (match === null) return undefined
  const [, from = '', to = '', session = '', incarnation, counter, bodyHash = '', mac = '', gate = ''] = match
  const claim = { from, to, session, incarnation: Number(incarnation), counter: Number(counter), bodyHash, mac, gate }
  return Number.isSafeInteger(claim.incarnation) && Number.isSafeInteger(claim.counter) && claim.counter > 0
    ? claim
    : undefined
}

/** Whether the sender of a proof knows a cluster secret: a few microseconds. */
export function passesGate({ from, mac, gate }: RequestProof, key: Buffer): boolean {
  return timingSafeEqual(gateMac(key, from, Buffer.from(mac, 'hex')), Buffer.from(gate, 'hex'))
}

/** Whether a proof was made with the key of the two nodes, for this request. */
export function isProofOf(proof: RequestProof, head: RequestHead, key: Buffer): boolean {
  return timingSafeEqual(requestMac(key, proof, head), Buffer.from(proof.mac, 'hex'))
}

/** The proof of an answer to the request with this MAC. */
export function answerProof(
  key: Buffer,
  requestMac: string,
  status: number,
  header: (name: string) => string | undefined,
): string {
  const lines = ANSWER_HEADERS.map((name) => line(header(name)))
  return createHmac('sha256', key)
    .update(['answer', requestMac, status, ...lines].join('\n'))
    .digest('hex')
}

/** Whether an answer carries the proof that it must. */
export function isSameProof(expected: string, given: string | undefined): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given ?? '')]
  return a.length === b.length && timingSafeEqual(a, b)
}

function requestMac(key: Buffer, claim: RequestClaim, { method, target, header }: RequestHead): Buffer {
  const { from, to, session, incarnation, counter, bodyHash } = claim
  const lines = REQUEST_HEADERS.map((name) => line(header(name)))
  const covered = ['request', from, to, session, incarnation, counter, bodyHash, method, target, ...lines]
  return createHmac('sha256', key).update(covered.join('\n')).digest()
}

/** A header without a value is not an absent one: the presence of `nabo-absent` alone costs a peer its claim. */
function line(value: string | undefined): string {
  return value === undefined ? '' : `:${value}`
}

/**
 * Covers the sender: with an overheard check, invented senders would cost a key each. A plain hash of the key and the rest is enough, at a
 * quarter of the cost of an HMAC: what is cut off the hash is what could be extended.
 */
function gateMac(key: Buffer, from: string, mac: Buffer): Buffer {
  return hash('sha256', Buffer.concat([key, mac, Buffer.from(from)]), 'buffer').subarray(0, GATE_BYTES)
}
