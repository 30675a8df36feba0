import { z } from 'zod'

import { hasSigned } from './node-identity.ts'
import { WIRE_VERSION } from './wire-version.ts'
import { parseHostPort } from '../overlay/host-port.ts'

/** What a member says about itself, signed by its identity. */
export interface MemberRecord {
  /** The libp2p peer id: the Ed25519 public key that signs the record. */
  readonly id: string
  /** The addresses of its peer listener, the preferred one first: `10.0.0.7:7951`, `[fd00::7]:7951`. */
  readonly addresses: readonly [string, ...string[]]
  readonly zone?: string | undefined
  /** The version of Nabo. */
  readonly version: string
  /**
   * Tells apart the lives of a node: a higher one is later, as far as the node's clock goes. Requests name that of their target, so that a
   * request from before a restart is worthless after it.
   */
  readonly incarnation: number
}

/** A record longer than this is refused, in characters of its text. */
export const MAX_RECORD_LENGTH = 2_048
export const MAX_ADDRESSES = 8
/** Never a valid port: an address without a port is refused. */
const NO_PORT = 0

/** The address of a peer listener. */
export const peerAddress = z
  .string()
  .max(260)
  .refine((text) => (parseHostPort(text, NO_PORT)?.port ?? NO_PORT) !== NO_PORT)

export const memberId = z.string().regex(/^[A-Za-z0-9_-]{1,128}$/)

const schema: z.ZodType<MemberRecord> = z.object({
  id: memberId,
  addresses: z.tuple([peerAddress], peerAddress).refine((list) => list.length <= MAX_ADDRESSES),
  zone: z.string().max(255).optional(),
  version: z.string().max(64),
  incarnation: z.int().positive(),
})

/** The text of a record with its signature, for a header: two parts of base64url. */
export function signRecord(record: MemberRecord, sign: (bytes: Uint8Array) => Buffer): string {
  const payload = Buffer.from(JSON.stringify(record)).toString('base64url')
  return `${payload}.${sign(signedBytes(payload)).toString('base64url')}`
}

/** Reads the text of a record; undefined if it is malformed, or its signature is not that of the id in it. */
export function readRecord(text: string): MemberRecord | undefined {
  if (text.length > MAX_RECORD_LENGTH) return undefined
  const [payload = '', signature = ''] = text.split('.')
  let json: unknown
  try {
    json = JSON.parse(Buffer.from(payload, 'base64url').toString())
  } catch {
    return undefined
  }
  const parsed = z.safeParse(schema, json)
  if (!parsed.success) return undefined
  const isGenuine = hasSigned(parsed.data.id, signedBytes(payload), Buffer.from(signature, 'base64url'))
  return isGenuine ? parsed.data : undefined
}

/** No other signature of a node covers bytes that begin like these. */
function signedBytes(payload: string): Buffer {
  return Buffer.from(`nabo member record ${WIRE_VERSION}\n${payload}`)
}
