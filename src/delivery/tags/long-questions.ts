import { abortable } from '../../time/deadline.ts'

/** Answers a question. It calls `asked` once it waits for the registry, with the milliseconds after which the registry counts as slow. */
export type AnswerQuestion<T> = (signal: AbortSignal, asked: (patience: number) => void) => Promise<T>

interface Pending<T> {
  readonly answer: Promise<T>
  readonly slow: Promise<'slow'>
  readonly controller: AbortController
  callers: number
}

/**
 * Questions to registries that callers share, and that go on after their callers have gone: a proxy that fetches on demand often stops when its client
 * does, and the next attempt of a client finds the answer. So each question needs a deadline of its own.
 */
export class LongQuestions<T> {
  readonly #maxUnattended: number
  readonly #pending = new Map<string, Pending<T>>()

  /** `maxUnattended`: cap on the questions without a caller; above it a question ends with its last caller. */
  constructor({ maxUnattended }: { readonly maxUnattended: number }) {
    this.#maxUnattended = maxUnattended
  }

  /**
   * Joins the question with this key, or begins it. `slow`: the registry has kept it waiting for longer than the question's patience, counted from when it
   * was asked; a patient caller waits for the answer all the same. Throws what `answer` throws, and the signal's reason.
   */
  async ask(
    key: string,
    answer: AnswerQuestion<T>,
    { signal, isPatient }: { signal: AbortSignal; isPatient: boolean },
  ): Promise<T | 'slow'> {
    const question = this.#pending.get(key) ?? this.#begin(key, answer)
    question.callers += 1
    try {
      const answered: Promise<T | 'slow'> = isPatient ? question.answer : Promise.race([question.answer, question.slow])
      return await abortable(answered, signal)
    } finally {
      question.callers -= 1
      if (question.callers === 0 && this.#unattended > this.#maxUnattended) {
        // At once: a caller that comes before the answer has settled begins a question of its own.
        this.#forget(key, question)
        question.controller.abort(new Error('no client waits for the answer'))
      }
    }
  }

  get #unattended(): number {
    return [...this.#pending.values()].filter(({ callers }) => callers === 0).length
  }

  #begin(key: string, answer: AnswerQuestion<T>): Pending<T> {
    const controller = new AbortController()
    const slow = Promise.withResolvers<'slow'>()
    let timer: NodeJS.Timeout | undefined
    const asked = (patience: number) => {
      timer = setTimeout(() => slow.resolve('slow'), patience)
    }
    const answering = answer(controller.signal, asked).finally(() => {
      clearTimeout(timer)
      this.#forget(key, question)
    })
    const question: Pending<T> = { answer: answering, slow: slow.promise, controller, callers: 0 }
    this.#pending.set(key, question)
    return question
  }

  /** Leaves a later question with the same key alone. */
  #forget(key: string, question: Pending<T>): void {
    if (this.#pending.get(key) === question) this.#pending.delete(key)
  }
}
