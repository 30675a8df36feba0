import type { MessageSender } from '../membership/message-sender.ts'
import { about } from './node/about.ts'
import { access } from './node/access.ts'
import { announce, lookup } from './node/index-messages.ts'
import { quota } from './node/quota.ts'
import { join, report } from './node/swarm-messages.ts'
import { verify } from './node/verify.ts'
import { warm } from './node/warm.ts'
import type { NodeContract } from './node-contract.ts'

/** Every message that one node posts to another. Content travels by the distribution API beside it. */
export const NODE_PROTOCOL = { announce, lookup, join, report, verify, quota, about, access, warm } as const

export type NodeMessages = typeof NODE_PROTOCOL

/** Handles the decoded request of one message from the member `from`. Throws OciError for a refusal. */
export type NodeHandler<Contract> =
  Contract extends NodeContract<infer Request, infer Answer>
    ? (request: Request, options: { from: MessageSender; signal: AbortSignal }) => Answer | Promise<Answer>
    : never

/** One handler for each message. */
export type NodeHandlers = { readonly [Name in keyof NodeMessages]: NodeHandler<NodeMessages[Name]> }
