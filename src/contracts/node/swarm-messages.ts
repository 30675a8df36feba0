import { z } from 'zod'

import { MEDIA_TYPE } from '../../oci/manifest.ts'
import {
  type JoinAnswer,
  type JoinMessage,
  type JoinSignature,
  type Lease,
  MAX_REPORT_ENTRIES,
  type MemberLoad,
  type ReportAnswer,
  type ReportEntry,
  type ReportMessage,
  SELF_RANK,
} from '../../swarm/messages.ts'
import type { LeftSource, SharedFailure, SwarmOutcome } from '../../swarm/swarm.ts'
import { type ItemName, keyOfItem, MAX_ITEM_LENGTH } from '../../swarm/swarm-item.ts'
import { count, cutText, digest } from '../codecs.ts'
import type { NodeContract } from '../node-contract.ts'
import { peerSchema } from './index-messages.ts'

export const MAX_LEFT_SOURCES = 64
export const MAX_SOURCES = 8
const MAX_SENDERS = 32
const MAX_FAILURE_LENGTH = 300
/** An address or an account. */
const SOURCE = /^[\x20-\x7e]{1,255}$/
const MAX_ZONE_LENGTH = 128
/** Larger figures are sent as this one: they make no difference to a choice. */
const MAX_TRANSFERS = 1_000_000

const kind = z.enum(['blob', 'manifest', 'tag'])
const item = z.string().max(MAX_ITEM_LENGTH)
const rate = z.number().nonnegative()
const id = peerSchema.shape.id
const lease: z.ZodType<Lease> = z.strictObject({ epoch: count, rank: z.int().min(0).max(SELF_RANK) })

const transferCount = z.codec(count.max(MAX_TRANSFERS), z.number(), {
  decode: (transfers) => transfers,
  encode: (transfers) => Math.min(transfers, MAX_TRANSFERS),
})

const member: z.ZodType<MemberLoad> = z.codec(
  z.strictObject({
    zone: z.string().max(MAX_ZONE_LENGTH).optional(),
    sending: transferCount,
    capacity: transferCount,
  }),
  z.custom<MemberLoad>(),
  {
    decode: (sent) => ({ ...sent, zone: sent.zone }),
    encode: ({ zone, sending, capacity }) => ({ zone, sending, capacity }),
  },
)

const signed: z.ZodType<JoinSignature> = z.strictObject({
  session: z.string().regex(/^[0-9a-f]{16}$/),
  sequence: count.positive(),
  signature: z.string().regex(/^[A-Za-z0-9_-]{86}$/),
})

const left: z.ZodType<LeftSource> = z.strictObject({
  id,
  reason: z.enum(['broken', 'stalled', 'busy', 'refused', 'absent', 'wrong']),
})

const failure: z.ZodType<SharedFailure> = z.codec(
  z.strictObject({
    absent: z.boolean(),
    message: cutText(MAX_FAILURE_LENGTH),
    source: z.string().regex(SOURCE).optional(),
  }),
  z.custom<SharedFailure>(),
  {
    decode: (sent) => sent as SharedFailure,
    encode: ({ absent, message, source }) => ({
      absent,
      message,
      ...(source !== undefined && SOURCE.test(source) ? { source } : {}),
    }),
  },
)

const tag = z.strictObject({
  descriptor: z.strictObject({ mediaType: z.string().regex(MEDIA_TYPE), digest, size: count }),
  date: count.max(8.64e15),
  anonymous: z.boolean(),
})

const senders = z.codec(z.array(id).max(MAX_SENDERS), z.custom<readonly string[]>(), {
  decode: (ids) => ids,
  encode: (ids) => ids.slice(0, MAX_SENDERS),
})

const outcome: z.ZodType<SwarmOutcome> = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('complete') }),
  z.strictObject({ type: z.literal('resolved'), value: tag }),
  z.strictObject({ type: z.literal('cancelled') }),
  z.strictObject({ type: z.literal('failed'), failure }),
  z.strictObject({ type: z.literal('suspect'), senders }),
])

const joinSchema: z.ZodType<JoinMessage> = z.codec(
  z.strictObject({
    type: z.literal('join'),
    member,
    item,
    kind,
    position: count,
    size: count.optional(),
    serves: z.boolean(),
    left: z.array(left).max(MAX_LEFT_SOURCES),
    lease: lease.optional(),
    upstreamRate: rate.optional(),
    onBehalfOf: peerSchema.optional(),
    signed: signed.optional(),
  }),
  z.custom<JoinMessage>(),
  {
    decode: (sent, payload) => {
      const { size, lease, upstreamRate, onBehalfOf, signed } = sent
      return { ...sent, key: keyOf(sent, payload), size, lease, upstreamRate, onBehalfOf, signed }
    },
    encode: ({ type, member, item, kind, position, size, serves, left, lease, upstreamRate, onBehalfOf, signed }) => {
      // The sources that were left last are the ones that would be assigned again.
      const last = left.slice(-MAX_LEFT_SOURCES)
      return { type, member, item, kind, position, size, serves, left: last, lease, upstreamRate, onBehalfOf, signed }
    },
  },
)

const sources = z.codec(
  z
    .array(z.strictObject({ peer: peerSchema, complete: z.boolean(), level: count }))
    .min(1)
    .max(MAX_SOURCES),
  z.custom<Extract<JoinAnswer, { type: 'follow' }>['sources']>(),
  {
    decode: (sent) => sent,
    encode: (chosen) =>
      chosen
        .slice(0, MAX_SOURCES)
        .map(({ peer: { id, address }, complete, level }) => ({ peer: { id, address }, complete, level })),
  },
)

const joinAnswerSchema: z.ZodType<JoinAnswer> = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('follow'), sources }),
  z.strictObject({ type: z.literal('upstream'), lease }),
  z.strictObject({ type: z.literal('known'), value: tag }),
  z.strictObject({ type: z.literal('failed'), failure }),
  z.strictObject({ type: z.literal('wait'), ms: z.number().min(0).max(10_000) }),
])

const entry: z.ZodType<ReportEntry> = z.codec(
  z.strictObject({
    item,
    kind,
    position: count,
    size: count.optional(),
    serves: z.boolean(),
    lease: lease.optional(),
    parent: id.optional(),
    upstreamRate: rate.optional(),
    outcome: outcome.optional(),
  }),
  z.custom<ReportEntry>(),
  {
    decode: (sent, payload) => {
      const { size, lease, parent, upstreamRate, outcome } = sent
      return { ...sent, key: keyOf(sent, payload), size, lease, parent, upstreamRate, outcome }
    },
    encode: ({ item, kind, position, size, serves, lease, parent, upstreamRate, outcome }) => {
      return { item, kind, position, size, serves, lease, parent, upstreamRate, outcome }
    },
  },
)

const reportSchema: z.ZodType<ReportMessage> = z.strictObject({
  type: z.literal('report'),
  member,
  entries: z.array(entry).min(1).max(MAX_REPORT_ENTRIES),
})

/** Asks the coordinator of an item where to fetch it from. */
export const join: NodeContract<JoinMessage, JoinAnswer> = {
  kind: 'join',
  path: '/nabo/v1/swarm/join',
  request: { schema: joinSchema, maxBytes: 32 * 1_024 },
  answer: { schema: joinAnswerSchema, maxBytes: 16 * 1_024 },
}

/** Tells a coordinator how far this node's transfers are. */
export const report: NodeContract<ReportMessage, ReportAnswer> = {
  kind: 'report',
  path: '/nabo/v1/swarm/report',
  request: { schema: reportSchema, maxBytes: 2 * 1_024 * 1_024 },
  answer: { schema: z.array(z.enum(['ok', 'ask'])).max(MAX_REPORT_ENTRIES), maxBytes: 8 * 1_024 },
  isAnswerTo: ({ entries }, answer) => answer.length === entries.length,
}

function keyOf(name: Pick<ItemName, 'item' | 'kind'>, payload: z.core.ParsePayload): ItemName['key'] {
  const key = keyOfItem(name.item, name.kind)
  if (key !== undefined) return key
  payload.issues.push({ code: 'custom', message: 'is not the name of an item', input: name, path: ['item'] })
  return z.NEVER
}
