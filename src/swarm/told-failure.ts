import type { Direction } from './swarm.ts'

type ToldFailure = Pick<Extract<Direction, { type: 'failed' }>, 'failure' | 'isOwn'>

/** A reason is one sentence; the longest, of a used up quota counted for an IPv6 network, has about 180 characters. */
const MAX_TOLD_LENGTH = 200
const UNPRINTABLE = /[^\x20-\x7e]+/g

/**
 * A failure that the coordinator of an item has told. Its message reaches clients and pod events, and another node may have invented it: the message says
 * that another node is the source, unless this node has reported the same text, and has one line of at most 200 characters of the told text.
 */
export class ToldFailureError extends Error {
  override readonly name = 'ToldFailureError'

  constructor({ failure: { message }, isOwn }: ToldFailure) {
    const text = message.replaceAll(UNPRINTABLE, ' ').trim()
    const shown = text.length > MAX_TOLD_LENGTH ? `${text.slice(0, MAX_TOLD_LENGTH - 1)}…` : text
    super(isOwn ? shown : `another node says: ${shown}`)
  }
}
