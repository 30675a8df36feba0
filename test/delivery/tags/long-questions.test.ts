import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { LongQuestions } from '../../../src/delivery/tags/long-questions.ts'

describe('a question to a slow registry', () => {
  const { signal } = new AbortController()
  let questions: LongQuestions<string>
  let asked: { signal: AbortSignal; answer: PromiseWithResolvers<string> }[]

  beforeEach(() => {
    questions = new LongQuestions({ maxUnattended: 2 })
    asked = []
    mock.timers.enable({ apis: ['setTimeout'] })
  })
  afterEach(() => mock.timers.reset())

  const ask = (key: string, { isPatient = false, by = signal } = {}) =>
    questions.ask(
      key,
      (signal, began) => {
        const answer = Promise.withResolvers<string>()
        asked.push({ signal, answer })
        began(4000)
        return answer.promise
      },
      { signal: by, isPatient },
    )

  it('is asked once for all, and goes on for the patient', async () => {
    const impatient = ask('a')
    const patient = ask('a', { isPatient: true })
    mock.timers.tick(4000)
    assert.equal(await impatient, 'slow')
    assert.equal(await Promise.race([patient, new Promise((resolve) => setImmediate(resolve, 'waits'))]), 'waits')
    // Patience counts from when the registry was asked.
    assert.equal(await ask('a'), 'slow')
    assert.equal(asked.length, 1)
    asked[0]?.answer.resolve('found')
    assert.equal(await patient, 'found')
  })

  it('goes on without callers, so that the next one finds the answer', async () => {
    const gone = new AbortController()
    const first = ask('a', { by: gone.signal })
    gone.abort(new Error('gone'))
    await assert.rejects(first, /gone/)
    assert.equal(asked[0]?.signal.aborted, false)
    const next = ask('a')
    asked[0]?.answer.resolve('found')
    assert.equal(await next, 'found')
    assert.equal(asked.length, 1)
    void ask('a')
    assert.equal(asked.length, 2)
  })

  it('ends with its last caller when too many go on without any', async () => {
    for (const key of ['a', 'b', 'c']) {
      const gone = new AbortController()
      const asking = ask(key, { by: gone.signal })
      gone.abort(new Error('gone'))
      await assert.rejects(asking, /gone/)
    }
    assert.deepEqual(
      asked.map(({ signal }) => signal.aborted),
      [false, false, true],
    )
  })

  it('is asked anew by the next caller once it has been ended, even before it has settled', async () => {
    for (const key of ['a', 'b', 'c']) {
      const gone = new AbortController()
      const asking = ask(key, { by: gone.signal })
      gone.abort(new Error('gone'))
      await assert.rejects(asking, /gone/)
    }
    const ended = asked[2]
    assert.equal(ended?.signal.aborted, true)
    const next = ask('c')
    assert.equal(asked.length, 4)
    ended?.answer.reject(ended.signal.reason)
    await new Promise((resolve) => setImmediate(resolve))
    // The question that was ended does not take its successor along.
    const joined = ask('c')
    assert.equal(asked.length, 4)
    asked[3]?.answer.resolve('found')
    assert.deepEqual(await Promise.all([next, joined]), ['found', 'found'])
  })

  it('fails for all its callers alike', async () => {
    const both = [ask('a'), ask('a', { isPatient: true })]
    asked[0]?.answer.reject(new Error('no'))
    for (const asking of both) await assert.rejects(asking, /no/)
  })
})
