import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { firstOf } from '../../src/delivery/first-of.ts'

const HEDGE = 200

/** Candidates that answer when the test says so. */
class Race {
  readonly asked: string[] = []
  readonly discarded: string[] = []
  readonly failed: string[] = []
  readonly signals = new Map<string, AbortSignal>()
  readonly #gates = new Map<string, PromiseWithResolvers<string | undefined>>()
  readonly controller = new AbortController()

  run(candidates: readonly string[]) {
    return firstOf<string, string>(
      candidates,
      (candidate, { signal }) => {
        this.asked.push(candidate)
        this.signals.set(candidate, signal)
        const gate = Promise.withResolvers<string | undefined>()
        this.#gates.set(candidate, gate)
        return gate.promise
      },
      {
        hedgeDelay: HEDGE,
        signal: this.controller.signal,
        discard: (value) => this.discarded.push(value),
        failed: (candidate) => this.failed.push(candidate),
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

describe('asking several for the same', () => {
  let race: Race
  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout'] })
    race = new Race()
  })
  afterEach(() => mock.timers.reset())

  it('asks one at a time, in their order, as long as each says at once that it has nothing', async () => {
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

  it('asks the next one as well when one is slow, and takes whichever answers', async () => {
    const won = race.run(['a', 'b', 'c'])
    await turn()
    mock.timers.tick(HEDGE - 1)
    await turn()
    assert.deepEqual(race.asked, ['a'])
    mock.timers.tick(1)
    await turn()
    assert.deepEqual(race.asked, ['a', 'b'])
    await race.answer('b', 'B')
    assert.deepEqual(await won, { candidate: 'b', value: 'B' })
    assert.equal(race.signals.get('a')?.aborted, true)
    assert.equal(race.signals.get('b')?.aborted, false)
    mock.timers.tick(10 * HEDGE)
    await turn()
    assert.deepEqual(race.asked, ['a', 'b'])
  })

  it('lets the slow one win if it is first all the same', async () => {
    const won = race.run(['a', 'b'])
    await turn()
    mock.timers.tick(HEDGE)
    await turn()
    await race.answer('a', 'A')
    assert.equal((await won)?.candidate, 'a')
    assert.equal(race.signals.get('a')?.aborted, false)
    assert.equal(race.signals.get('b')?.aborted, true)
  })

  it('ends what a loser brings too late, and minds no late failure', async () => {
    const won = race.run(['a', 'b', 'c'])
    for (let round = 0; round < 2; round += 1) {
      await turn()
      mock.timers.tick(HEDGE)
    }
    await turn()
    await race.answer('b', 'B')
    await won
    await race.answer('a', 'A')
    await race.fail('c')
    assert.deepEqual(race.discarded, ['A'])
    assert.deepEqual(race.failed, [])
  })

  it('gives nothing when nobody has it', async () => {
    assert.equal(await race.run([]), undefined)
    const won = race.run(['a', 'b'])
    await turn()
    mock.timers.tick(HEDGE)
    await turn()
    await race.answer('b', undefined)
    await race.fail('a')
    assert.equal(await won, undefined)
  })

  it('waits for the slow one when the others have nothing', async () => {
    const won = race.run(['a', 'b'])
    await turn()
    mock.timers.tick(HEDGE)
    await turn()
    await race.answer('b', undefined)
    await race.answer('a', 'A')
    assert.equal((await won)?.value, 'A')
  })

  it('ends with its caller: all are aborted, and what comes late is ended', async () => {
    const won = race.run(['a', 'b', 'c'])
    await turn()
    mock.timers.tick(HEDGE)
    await turn()
    race.controller.abort(new Error('gone'))
    await assert.rejects(won, /gone/)
    for (const signal of race.signals.values()) assert.match(String(signal.reason), /gone/)
    await race.answer('a', 'A')
    await race.fail('b')
    mock.timers.tick(10 * HEDGE)
    await turn()
    assert.deepEqual(race.asked, ['a', 'b'])
    assert.deepEqual(race.discarded, ['A'])
    await assert.rejects(race.run(['d']), /gone/)
    assert.ok(!race.asked.includes('d'))
  })

  it('keeps the winner under its caller’s signal', async () => {
    const won = race.run(['a'])
    await turn()
    await race.answer('a', 'A')
    await won
    race.controller.abort(new Error('gone'))
    assert.equal(race.signals.get('a')?.aborted, true)
  })

  it('takes an attempt that throws at once for one that failed', async () => {
    const failed: string[] = []
    const won = await firstOf<string, string>(
      ['a', 'b'],
      (candidate) => {
        if (candidate === 'a') throw new Error('at once')
        return Promise.resolve('B')
      },
      {
        hedgeDelay: HEDGE,
        signal: race.controller.signal,
        discard: () => {},
        failed: (candidate) => failed.push(candidate),
      },
    )
    assert.deepEqual([won?.candidate, failed], ['b', ['a']])
  })
})
