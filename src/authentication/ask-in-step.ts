import { type AnswerHead, type OutgoingRequest, type RequestSigner, isOutOfStep } from './request-signer.ts'

/** A restart of the target or of this node costs one repetition; more mean that two processes share an identity. */
const MAX_ATTEMPTS = 3

export interface ProvedAnswer<Answer> {
  readonly answer: Answer
  /** Whether the answer has the proof of the target for this very request. */
  readonly isAuthentic: boolean
}

/**
 * Sends a proved request, and repeats it while the target asks for another incarnation or counter, three times in all. `carry` sends a request with
 * these headers; `discard` gets each answer that is not the result. Resolves with undefined if the target's id cannot be used for a proof; rejects
 * as `carry` does.
 */
export async function askInStep<Answer extends AnswerHead>(
  signer: RequestSigner,
  id: string,
  request: OutgoingRequest,
  carry: (headers: Readonly<Record<string, string>>) => Promise<Answer>,
  discard: (answer: Answer) => void = () => {},
): Promise<ProvedAnswer<Answer> | undefined> {
  for (let attempt = 1; ; attempt++) {
    const signed = signer.sign(id, request)
    if (signed === undefined) return undefined
    const answer = await carry(signed.headers)
    const isAuthentic = signed.accepts(answer)
    if (!isAuthentic || !isOutOfStep(answer) || attempt === MAX_ATTEMPTS) return { answer, isAuthentic }
    discard(answer)
  }
}
