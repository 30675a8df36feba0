import type { Message } from './message.ts'

/**
 * A message that a node posts to the peer listener of another node. Both sides are derived from it. Every message has the same errors, in the
 * shape of the distribution API: 403 DENIED without a valid proof of the sender, 400 UNSUPPORTED for a body that breaks the contract, 413
 * UNSUPPORTED for one longer than `request.maxBytes`, and 405 UNSUPPORTED where {@link needsSecret} excludes the message.
 */
export interface NodeContract<Request, Answer> {
  /** Names the message in the log and in metrics. */
  readonly kind: string
  readonly path: `/nabo/v1/${string}`
  readonly request: Message<Request>
  readonly answer: Message<Answer>
  /** Whether an answer fits its request, where their shapes depend on each other. */
  readonly isAnswerTo?: (request: Request, answer: Answer) => boolean
  /** Only members of a cluster with a secret may send it: otherwise any stranger could. */
  readonly needsSecret?: boolean
}
