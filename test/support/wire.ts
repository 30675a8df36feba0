import type { Message } from '../../src/contracts/message.ts'
import { decodeMessage, encodeMessage } from '../../src/contracts/message.ts'
import { nodeCaller } from '../../src/contracts/node-caller.ts'
import type { NodeContract } from '../../src/contracts/node-contract.ts'

const PEER = { id: 'a', address: '10.0.0.1:7951' }

/** The body that carries a value, as text. */
export function encoded<T>(message: Message<T>, value: T): string {
  return encodeMessage(message, value).toString()
}

/** What a body means. Throws InvalidMessage. */
export function decoded<T>(message: Message<T>, body: Uint8Array | string): T {
  return decodeMessage(message, Buffer.from(body as string))
}

/** What a caller makes of a body that a peer answers its request with. */
export function answered<Q, A>(contract: NodeContract<Q, A>, request: Q, body: Uint8Array | string): Promise<A> {
  const nodes = nodeCaller(async () => Buffer.from(body as string))
  return nodes.call(PEER, contract, request, { signal: new AbortController().signal })
}
