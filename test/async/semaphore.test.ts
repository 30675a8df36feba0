import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { Semaphore } from '../../src/async/semaphore.ts'

const never = new AbortController().signal

/** Work that ends when the test says so. */
class Work {
  readonly order: string[] = []
  readonly #gates = new Map<string, PromiseWithResolvers<string>>()

  start(semaphore: Semaphore, name: string, signal: AbortSignal = never): Promise<string> {
    const gate = Promise.withResolvers<string>()
    this.#gates.set(name, gate)
    return semaphore.run(
      () => {
        this.order.push(name)
        return gate.promise
      },
      { signal },
    )
  }

  end(name: string): void {
    this.#gates.get(name)?.resolve(name)
  }

  fail(name: string): void {
    this.#gates.get(name)?.reject(new Error(`${name} failed`))
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('a semaphore', () => {
  it('runs as much work as it has permits, and the rest in the order of arrival', async () => {
    const semaphore = new Semaphore(2)
    const work = new Work()
    const all = ['a', 'b', 'c', 'd'].map((name) => work.start(semaphore, name))
    await turn()
    assert.deepEqual(work.order, ['a', 'b'])
    work.end('b')
    await turn()
    assert.deepEqual(work.order, ['a', 'b', 'c'])
    for (const name of ['a', 'c', 'd']) work.end(name)
    assert.deepEqual(await Promise.all(all), ['a', 'b', 'c', 'd'])
  })

  it('returns the permit of work that fails', async () => {
    const semaphore = new Semaphore(1)
    const work = new Work()
    const failing = assert.rejects(work.start(semaphore, 'a'), /a failed/)
    const next = work.start(semaphore, 'b')
    work.fail('a')
    await failing
    work.end('b')
    assert.equal(await next, 'b')
  })

  it('removes a waiter whose signal fires, without a loss of permits', async () => {
    const semaphore = new Semaphore(1, { maxWaiting: 1 })
    const work = new Work()
    const running = work.start(semaphore, 'a')
    const controller = new AbortController()
    const waiting = assert.rejects(work.start(semaphore, 'b', controller.signal), /enough/)
    controller.abort(new Error('enough'))
    await waiting
    // Its place in the queue is free again.
    const next = work.start(semaphore, 'c')
    work.end('a')
    work.end('c')
    assert.deepEqual(await Promise.all([running, next]), ['a', 'c'])
    assert.deepEqual(work.order, ['a', 'c'])
  })

  it('returns the permit of a waiter that is aborted in the moment of its turn', async () => {
    const semaphore = new Semaphore(1)
    const work = new Work()
    const running = work.start(semaphore, 'a')
    const controller = new AbortController()
    const waiting = assert.rejects(work.start(semaphore, 'b', controller.signal), /enough/)
    const next = work.start(semaphore, 'c')
    work.end('a')
    await running
    controller.abort(new Error('enough'))
    await waiting
    work.end('c')
    assert.equal(await next, 'c')
    assert.deepEqual(work.order, ['a', 'c'])
  })

  it('starts nothing for a signal that has fired already', async () => {
    const semaphore = new Semaphore(1)
    const work = new Work()
    const signal = AbortSignal.abort(new Error('enough'))
    await assert.rejects(work.start(semaphore, 'a', signal), /enough/)
    const next = work.start(semaphore, 'b')
    work.end('b')
    assert.equal(await next, 'b')
    assert.deepEqual(work.order, ['b'])
  })

  it('throws when the queue is full', async () => {
    const semaphore = new Semaphore(1, { maxWaiting: 1 })
    const work = new Work()
    const kept = ['a', 'b'].map((name) => work.start(semaphore, name))
    await assert.rejects(work.start(semaphore, 'c'), { name: 'QueueFullError' })
    for (const name of ['a', 'b']) work.end(name)
    assert.deepEqual(await Promise.all(kept), ['a', 'b'])
  })
})
