import type { SharedFailure } from './swarm.ts'

/** A reason is one clause, such as `registry-1.docker.io denies access: 401`. */
const MAX_TOLD_LENGTH = 150
const UNPRINTABLE = /[^\x20-\x7e]+/g

/**
 * A failure of which another node has told this one. Its message reaches clients and pod events, and the other node may have invented it: it
 * names that source, and has one line of at most 150 characters of the told text.
 */
export class ToldFailureError extends Error {
  override readonly name = 'ToldFailureError'

  constructor({ message }: SharedFailure) {
    const text = message.replaceAll(UNPRINTABLE, ' ').trim()
    super(`another node says: ${text.length > MAX_TOLD_LENGTH ? `${text.slice(0, MAX_TOLD_LENGTH - 1)}…` : text}`)
  }
}
