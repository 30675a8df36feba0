import type { Peer } from '../overlay/overlay.ts'
import { InvalidMessage, decodeMessage, encodeMessage } from './message.ts'
import type { NodeContract } from './node-contract.ts'

/** Sends the messages of the node protocol. */
export interface NodeCaller {
  /** Rejects with PeerError if the node cannot be reached or refuses, with InvalidMessage if its answer breaks the contract. */
  call<Request, Answer>(
    peer: Peer,
    contract: NodeContract<Request, Answer>,
    request: Request,
    options: { signal: AbortSignal },
  ): Promise<Answer>
}

/** Posts a body to a node and resolves with the body of its answer, of at most `limit` bytes. */
export type PostBody = (
  peer: Peer,
  path: string,
  body: Uint8Array,
  options: { limit: number; signal: AbortSignal },
) => Promise<Uint8Array>

/** The client side of the node protocol, over whatever carries the bodies. */
export function nodeCaller(post: PostBody): NodeCaller {
  return {
    call: async (peer, { path, request, answer, isAnswerTo }, value, { signal }) => {
      const body = await post(peer, path, encodeMessage(request, value), { limit: answer.maxBytes, signal })
      const decoded = decodeMessage(answer, body)
      if (isAnswerTo?.(value, decoded) === false)
        throw new InvalidMessage(`${peer.address} answered another question than ${path}`)
      return decoded
    },
  }
}
