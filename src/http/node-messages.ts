import type { MessageSender } from '../membership/message-sender.ts'
import type { AccessAnswer, AccessMessage } from '../contracts/node/access.ts'
import type { About } from '../contracts/node/about.ts'
import type { NodeHandlers } from '../contracts/node-protocol.ts'
import type { PublicProofs } from '../delivery/access/public-proofs.ts'
import type { SelfCheck } from '../delivery/integrity/self-check.ts'
import { OciError } from '../oci/errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { JoinSignatures } from '../peers/join-signatures.ts'
import type { QuotaHandler } from '../peers/quota-exchange.ts'
import type { IndexHandler } from '../providers/index-transport.ts'
import type { JoinMessage, JoinRequest } from '../swarm/messages.ts'
import type { SwarmHandler } from '../swarm/swarm-transport.ts'
import type { WarmHandler } from '../warm/warm-jobs.ts'

/** The parts of this node that answer the messages of other nodes. */
export interface NodeMessageParts {
  readonly index: IndexHandler
  readonly swarm: SwarmHandler
  readonly joins: Pick<JoinSignatures, 'accepts'>
  readonly selfCheck: Pick<SelfCheck, 'request'>
  readonly quota: QuotaHandler
  /** This node's description of itself for a member, and the state of its fetches of these digests. */
  readonly about: (digests: readonly Digest[], asker: Pick<MessageSender, 'id'>) => About
  readonly publicProofs: Pick<PublicProofs, 'publicAge' | 'heard' | 'forget' | 'proveFor'>
  readonly warm: WarmHandler
}

/** Connects each message of the node protocol with the part that answers it. */
export function nodeHandlers(parts: NodeMessageParts): NodeHandlers {
  const { index, swarm, joins, selfCheck, quota, about, publicProofs, warm } = parts
  return {
    announce: (message, { from }) => index.handleAnnounce(message, from),
    lookup: (keys) => index.handleLookup(keys),
    join: (message, options) => swarm.handleJoin(joinRequest(joins, message, options.from), options),
    report: ({ member, ...report }, { from }) => swarm.handleReport({ ...report, member: { ...member, ...from } }),
    verify: ({ digest }) => ({ accepted: selfCheck.request(digest) }),
    quota: (view) => quota.handleQuota(view),
    about: (digests, { from }) => about(digests, from),
    access: (message) => answerAccess(publicProofs, message),
    warm: (wish) => warm.handleWarm(wish),
  }
}

/** The request of the member that joins: of the sender, or of the node on whose behalf the sender forwards it. */
function joinRequest(
  joins: NodeMessageParts['joins'],
  { onBehalfOf, member, ...message }: JoinMessage,
  from: MessageSender,
): JoinRequest {
  if (onBehalfOf !== undefined && !joins.accepts({ ...message, member }, onBehalfOf))
    throw new OciError('DENIED', { message: `${onBehalfOf.id} has not signed the request that is forwarded for it` })
  // What a forwarded request makes this node remember counts for the address of the node that forwards it.
  return { ...message, member: { ...member, ...from, ...onBehalfOf }, forwarded: onBehalfOf !== undefined }
}

async function answerAccess(
  proofs: NodeMessageParts['publicProofs'],
  { repository, found, content }: AccessMessage,
): Promise<AccessAnswer> {
  if (found === 'public') proofs.heard(repository)
  if (found === 'closed') proofs.forget(repository)
  if (content === undefined) return { age: proofs.publicAge(repository) }
  return proofs.proveFor(repository, content)
}
