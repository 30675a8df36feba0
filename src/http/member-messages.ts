import type { SelfCheck } from '../delivery/integrity/self-check.ts'
import type { PublicProofs } from '../delivery/access/public-proofs.ts'
import type { Digest } from '../oci/digest.ts'
import { ABOUT_PATH, type About, MAX_ABOUT_BYTES, decodeAbout, encodeAboutAnswer } from '../peers/about-client.ts'
import { ACCESS_PATH, MAX_ACCESS_BYTES, decodeAccess, encodeAccessAnswer } from '../peers/access-client.ts'
import { ANNOUNCE_PATH, LOOKUP_PATH } from '../peers/index-http-transport.ts'
import type { QuotaHandler } from '../peers/quota-exchange.ts'
import { MAX_QUOTA_BYTES, QUOTA_PATH, decodeQuota, encodeQuota } from '../peers/quota-messages.ts'
import { JOIN_PATH, REPORT_PATH } from '../peers/swarm-http-transport.ts'
import { WARM_PATH } from '../peers/warm-client.ts'
import {
  MAX_VERIFY_BYTES,
  VERDICT_PATIENCE,
  VERIFY_PATH,
  decodeVerify,
  encodeVerifyAnswer,
} from '../peers/verify-client.ts'
import type { IndexHandler } from '../providers/index-transport.ts'
import {
  MAX_MESSAGE_BYTES,
  decodeAnnouncement,
  decodeLookup,
  encodeAnnounceResult,
  encodeLookupResult,
} from '../providers/messages.ts'
import { MAX_SWARM_BYTES, decodeJoin, decodeReport, encodeJoinAnswer, encodeReportAnswer } from '../swarm/codec.ts'
import type { SwarmHandler } from '../swarm/swarm-transport.ts'
import { withDeadline } from '../time/deadline.ts'
import { MAX_WARM_BYTES, decodeWish, encodeStatus } from '../warm/messages.ts'
import type { WarmHandler } from '../warm/warm-jobs.ts'

/** A kind of message that one node posts to another. */
export interface MemberMessage {
  /** For the log. */
  readonly kind: string
  /** In bytes. */
  readonly limit: number
  /** Throws `InvalidMessage`. */
  answer(body: Uint8Array, signal: AbortSignal): string | Promise<string>
}

/** Access proofs that this node shares with other members, as they ask for them and report them. */
export type SharedPublicProofs = Pick<PublicProofs, 'publicAge' | 'heard' | 'forget' | 'proveFor'>

/** Handlers of the messages between nodes, by path. */
export function memberMessages(handlers: {
  readonly index: IndexHandler
  readonly swarm: SwarmHandler
  readonly selfCheck: Pick<SelfCheck, 'request' | 'verdict'>
  readonly quota: QuotaHandler
  /** This node's self-description, and the state of its fetches of these digests. */
  readonly about: (digests: readonly Digest[]) => About
  /** undefined if this node does not trust other members' access proofs. */
  readonly proofs: SharedPublicProofs | undefined
  /** undefined if this node does not take warm-up requests from members. */
  readonly warm: WarmHandler | undefined
}): ReadonlyMap<string, MemberMessage> {
  const { index, swarm, selfCheck, quota, about, proofs, warm } = handlers
  return new Map<string, MemberMessage>([
    [
      ANNOUNCE_PATH,
      {
        kind: 'announce',
        limit: MAX_MESSAGE_BYTES.announcement,
        answer: (body) => encodeAnnounceResult(index.handleAnnounce(decodeAnnouncement(body))),
      },
    ],
    [
      LOOKUP_PATH,
      {
        kind: 'lookup',
        limit: MAX_MESSAGE_BYTES.lookup,
        answer: (body) => encodeLookupResult(index.handleLookup(decodeLookup(body))),
      },
    ],
    [
      JOIN_PATH,
      {
        kind: 'join',
        limit: MAX_SWARM_BYTES.join,
        answer: async (body, signal) => encodeJoinAnswer(await swarm.handleJoin(decodeJoin(body), { signal })),
      },
    ],
    [
      REPORT_PATH,
      {
        kind: 'report',
        limit: MAX_SWARM_BYTES.report,
        answer: (body) => encodeReportAnswer(swarm.handleReport(decodeReport(body))),
      },
    ],
    [
      VERIFY_PATH,
      {
        kind: 'verify',
        limit: MAX_VERIFY_BYTES,
        answer: async (body, signal) => encodeVerifyAnswer(await verify(selfCheck, body, signal)),
      },
    ],
    [
      QUOTA_PATH,
      {
        kind: 'quota',
        limit: MAX_QUOTA_BYTES,
        answer: (body) => encodeQuota(quota.handleQuota(decodeQuota(body))),
      },
    ],
    [
      ABOUT_PATH,
      {
        kind: 'about',
        limit: MAX_ABOUT_BYTES,
        answer: (body) => encodeAboutAnswer(about(decodeAbout(body))),
      },
    ],
    ...(proofs === undefined ? [] : [accessMessage(proofs)]),
    ...(warm === undefined ? [] : [warmMessage(warm)]),
  ])
}

function warmMessage(warm: WarmHandler): [string, MemberMessage] {
  const answer = async (body: Uint8Array) => encodeStatus(await warm.handleWarm(decodeWish(body)))
  return [WARM_PATH, { kind: 'warm', limit: MAX_WARM_BYTES, answer }]
}

function accessMessage(proofs: SharedPublicProofs): [string, MemberMessage] {
  const answer = async (body: Uint8Array) => {
    const { repository, found, content } = decodeAccess(body)
    if (found === 'public') proofs.heard(repository)
    if (found === 'closed') proofs.forget(repository)
    if (content === undefined) return encodeAccessAnswer(proofs.publicAge(repository))
    const { word, age } = await proofs.proveFor(repository, content)
    return encodeAccessAnswer(age, word)
  }
  return [ACCESS_PATH, { kind: 'access', limit: MAX_ACCESS_BYTES, answer }]
}

async function verify(selfCheck: Pick<SelfCheck, 'request' | 'verdict'>, body: Uint8Array, signal: AbortSignal) {
  const { digest, waits } = decodeVerify(body)
  const accepted = selfCheck.request(digest)
  if (!waits) return { accepted }
  try {
    const what = 'checking a stored blob'
    return { accepted, verdict: await withDeadline(VERDICT_PATIENCE, what, signal, () => selfCheck.verdict(digest)) }
  } catch {
    signal.throwIfAborted()
    return { accepted }
  }
}
