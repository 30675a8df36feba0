import { z } from 'zod'

import { memberId, peerAddress } from '../../membership/member-record.ts'
import type { IndexKey, Peer } from '../../overlay/overlay.ts'
import {
  type Announcement,
  type AnnounceResult,
  type LookupResult,
  MAX_ANNOUNCED_KEYS,
  MAX_LOOKUP_KEYS,
  MAX_PROVIDERS_PER_KEY,
} from '../../providers/messages.ts'
import { packKeys, packedLength, unpackKeys } from '../../providers/packed-keys.ts'
import { count, textCodec } from '../codecs.ts'
import type { NodeContract } from '../node-contract.ts'

export const peerSchema = z.strictObject({ id: memberId, address: peerAddress })
const epoch = z.string().regex(/^[0-9a-f]{16}$/)

const announcementSchema: z.ZodType<Announcement> = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('claims'),
    epoch,
    seq: count.positive(),
    after: count,
    full: z.boolean(),
    more: z.boolean(),
    scope: z.enum(['all', 'placed']),
    ttl: z.int().min(1).max(3_600_000),
    add: packed(MAX_ANNOUNCED_KEYS),
    remove: packed(MAX_ANNOUNCED_KEYS),
  }),
  z.strictObject({ type: z.literal('leaving'), epoch }),
])

const lookupSchema: z.ZodType<readonly IndexKey[]> = z.codec(
  z.strictObject({ keys: packed(MAX_LOOKUP_KEYS).refine((keys) => keys.length > 0) }),
  z.custom<readonly IndexKey[]>(),
  { decode: ({ keys }) => keys, encode: (keys) => ({ keys }) },
)

/** Many keys have the same holders: each peer is listed once, and the holders of a key are positions in that list. */
const lookupResultSchema: z.ZodType<LookupResult> = z.codec(
  z.strictObject({
    peers: z.array(peerSchema).max(MAX_LOOKUP_KEYS * MAX_PROVIDERS_PER_KEY),
    holders: z.array(z.array(count).max(MAX_PROVIDERS_PER_KEY)).max(MAX_LOOKUP_KEYS),
  }),
  z.custom<LookupResult>(),
  {
    decode: ({ peers, holders }, payload) => {
      if (holders.every((positions) => positions.every((position) => position < peers.length)))
        return holders.map((positions) => positions.map((position) => peers[position] as Peer))
      payload.issues.push({ code: 'custom', message: 'names a peer that it does not list', input: payload.value })
      return z.NEVER
    },
    encode: listPeersOnce,
  },
)

/** Tells another node what this node holds. */
export const announce: NodeContract<Announcement, AnnounceResult> = {
  kind: 'announce',
  path: '/nabo/v1/announce',
  request: { schema: announcementSchema, maxBytes: 2 * packedLength(MAX_ANNOUNCED_KEYS) + 1_024 },
  answer: { schema: z.strictObject({ type: z.enum(['ok', 'resync']) }), maxBytes: 1_024 },
}

/** Asks another node for the holders of some keys. */
export const lookup: NodeContract<readonly IndexKey[], LookupResult> = {
  kind: 'lookup',
  path: '/nabo/v1/lookup',
  request: { schema: lookupSchema, maxBytes: packedLength(MAX_LOOKUP_KEYS) + 1_024 },
  answer: { schema: lookupResultSchema, maxBytes: 2 * 1_024 * 1_024 },
  isAnswerTo: (keys, holders) => holders.length === keys.length,
}

function packed(maxKeys: number) {
  return textCodec<readonly IndexKey[]>(
    z.string().max(packedLength(maxKeys)),
    unpackKeys,
    packKeys,
    'is not packed keys',
  )
}

function listPeersOnce(result: LookupResult): { peers: Peer[]; holders: number[][] } {
  const positions = new Map<string, number>()
  const peers: Peer[] = []
  const holders = result.map((list) =>
    list.map(({ id, address }) => {
      const known = positions.get(id)
      if (known !== undefined) return known
      positions.set(id, peers.length)
      return peers.push({ id, address }) - 1
    }),
  )
  return { peers, holders }
}
