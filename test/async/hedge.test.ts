import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { type HedgeOptions, hedge } from '../../src/async/hedge.ts'

const DELAY = 200

/** Candidates that answer when the test says so. */
class Race {
  readonly asked: string[] = []
  readonly discarded: string[] = []
  readonly failed: string[] = []
  readonly signals = new Map<string, AbortSignal>()
  readonly #gates = new Map<string, PromiseWithResolvers<string | undefined>>()
  readonly controller = new AbortController()

  run(candidates: readonly string[], options: Partial<HedgeOptions<string, string>> = {}) {
    return hedge<string, string>(
      candidates,
      (candidate, { signal }) => {
        this.asked.push(candidate)
        this.signals.set(candidate, signal)
        const gate = Promise.withResolvers<string | undefined>()
        this.#gates.set(candidate, gate)
        return gate.promise
      },
      {
        delay: DELAY,
        signal: this.controller.signal,
        discard: (value) => this.discarded.push(value),
        onFailure: (candidate) => this.failed.push(candidate),
        ...options,
      },
    )
  }

  async answer(candidate: string, value: string | undefined): Promise<void> {
    this.#gates.get(candidate)?.resolve(value)
    await turn()
  }

  async fail(candidate: string): Promise<void> {
    this.#gates.get(candidate)?.reject(new Error(`${candidate} failed`))
    await turn()
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('a hedged request', () => {
  let race: Race
  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout'] })
    race = new Race()
  })
  afterEach(() => mock.reset())

  it('asks the candidates one at a time, in their order, while each has nothing or fails at once', async () => {
    const won = race.run(['a', 'b', 'c'])
    await turn()
    assert.deepEqual(race.asked, ['a'])
    await race.answer('a', undefined)
    assert.deepEqual(race.asked, ['a', 'b'])
    await race.fail('b')
    assert.deepEqual(race.asked, ['a', 'b', 'c'])
    await race.answer('c', 'C')
    assert.deepEqual(await won, { candidate: 'c', value: 'C' })
    assert.deepEqual(race.failed, ['b'])
    assert.deepEqual(race.discarded, [])
  })

  it('asks the next candidate as well when one is slow, and takes the value that comes first', async () => {
    const won = race.run(['a', 'b', 'c'])
    await turn()
    mock.timers.tick(DELAY - 1)
    await turn()
    assert.deepEqual(race.asked, ['a'])
    mock.timers.tick(1)
    await turn()
    assert.deepEqual(race.asked, ['a', 'b'])
    await race.answer('b', 'B')
    assert.deepEqual(await won, { candidate: 'b', value: 'B' })
    assert.equal(race.signals.get('a')?.aborted, true)
    assert.equal(race.signals.get('b')?.aborted, false)
    mock.timers.tick(10 * DELAY)
    await turn()
    assert.deepEqual(race.asked, ['a', 'b'])
  })

  it('takes the value of the slow candidate if that comes first after all', async () => {
    const won = race.run(['a', 'b'])
    await turn()
    mock.timers.tick(DELAY)
    await turn()
    await race.answer('a', 'A')
    assert.equal((await won)?.candidate, 'a')
    assert.equal(race.signals.get('a')?.aborted, false)
    assert.equal(race.signals.get('b')?.aborted, true)
  })

  it('discards late values and ignores late failures', async () => {
    const won = race.run(['a', 'b', 'c'])
    for (let round = 0; round < 2; round += 1) {
      await turn()
      mock.timers.tick(DELAY)
    }
    await turn()
    await race.answer('b', 'B')
    await won
    await race.answer('a', 'A')
    await race.fail('c')
    assert.deepEqual(race.discarded, ['A'])
    assert.deepEqual(race.failed, [])
  })

  it('returns undefined when no candidate has it, and when there is no candidate', async () => {
    assert.equal(await race.run([]), undefined)
    const won = race.run(['a', 'b'])
    await turn()
    mock.timers.tick(DELAY)
    await turn()
    await race.answer('b', undefined)
    await race.fail('a')
    assert.equal(await won, undefined)
  })

  it('waits for the slow candidate when the others have nothing', async () => {
    const won = race.run(['a', 'b'])
    await turn()
    mock.timers.tick(DELAY)
    await turn()
    await race.answer('b', undefined)
    await race.answer('a', 'A')
    assert.equal((await won)?.value, 'A')
  })

  it('throws the reason of its signal, aborts all attempts and discards late values', async () => {
    const won = race.run(['a', 'b', 'c'])
    await turn()
    mock.timers.tick(DELAY)
    await turn()
    race.controller.abort(new Error('gone'))
    await assert.rejects(won, /gone/)
    for (const signal of race.signals.values()) assert.match(String(signal.reason), /gone/)
    await race.answer('a', 'A')
    await race.fail('b')
    mock.timers.tick(10 * DELAY)
    await turn()
    assert.deepEqual(race.asked, ['a', 'b'])
    assert.deepEqual(race.discarded, ['A'])
    await assert.rejects(race.run(['d']), /gone/)
    assert.ok(!race.asked.includes('d'))
  })

  it('aborts the winner’s signal with the caller’s signal', async () => {
    const won = race.run(['a'])
    await turn()
    await race.answer('a', 'A')
    await won
    race.controller.abort(new Error('gone'))
    assert.equal(race.signals.get('a')?.aborted, true)
  })

  it('treats an attempt that throws synchronously as failed', async () => {
    const failed: string[] = []
    const won = await hedge<string, string>(
      ['a', 'b'],
      (candidate) => {
        if (candidate === 'a') throw new Error('at once')
        return Promise.resolve('B')
      },
      { delay: DELAY, signal: race.controller.signal, onFailure: (candidate) => failed.push(candidate) },
    )
    assert.deepEqual([won?.candidate, failed], ['b', ['a']])
  })

  it('aborts the attempts that did not win with a reason, also when all values came in one turn', async () => {
    const won = race.run(['a', 'b', 'c'])
    for (let round = 0; round < 2; round += 1) mock.timers.tick(DELAY)
    await Promise.all(['a', 'b', 'c'].map((candidate) => race.answer(candidate, candidate.toUpperCase())))
    assert.equal((await won)?.candidate, 'a')
    assert.deepEqual(race.discarded, ['B', 'C'])
    assert.equal(race.signals.get('a')?.aborted, false)
    for (const loser of ['b', 'c']) assert.match(String(race.signals.get(loser)?.reason), /^OutrunError/)
  })

  it('throws a final failure, and asks no other candidate', async () => {
    const isFinal = (candidate: string, error: unknown) => candidate === 'b' && /b failed/.test(String(error))
    const won = race.run(['a', 'b', 'c'], { isFinal })
    mock.timers.tick(DELAY)
    const rejected = assert.rejects(won, /b failed/)
    await race.fail('b')
    await rejected
    assert.deepEqual([race.asked, race.failed], [['a', 'b'], ['b']])
    assert.equal(race.signals.get('a')?.aborted, true)
    mock.timers.tick(10 * DELAY)
    assert.deepEqual(race.asked, ['a', 'b'])
  })

  it('rejects when a callback throws', async () => {
    const onFailure = () => {
      throw new Error('the log is full')
    }
    const rejected = assert.rejects(race.run(['a', 'b'], { onFailure }), /the log is full/)
    await race.fail('a')
    await rejected
  })

  it('waits a random pause of at most `jitter` before it asks the next candidate after a failure', async () => {
    mock.method(Math, 'random', () => 0.5)
    const won = race.run(['a', 'b', 'c'], { jitter: 100 })
    await race.fail('a')
    mock.timers.tick(49)
    assert.deepEqual(race.asked, ['a'])
    mock.timers.tick(1)
    assert.deepEqual(race.asked, ['a', 'b'])
    await race.answer('b', undefined)
    mock.timers.tick(50)
    await race.answer('c', 'C')
    assert.equal((await won)?.value, 'C')
  })
})
