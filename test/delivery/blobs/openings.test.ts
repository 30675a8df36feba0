import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import type { PeerStream } from '../../../src/delivery/blobs/blob-sources.ts'
import { Openings } from '../../../src/delivery/blobs/openings.ts'
import type { SwarmSource } from '../../../src/swarm/swarm.ts'

const signal = new AbortController().signal
const LONG = 60_000

describe('requests to sources that are slow to answer', () => {
  let asked: {
    readonly ids: string
    readonly answer: PromiseWithResolvers<PeerStream | undefined>
    readonly signal: AbortSignal
  }[]
  let cancelled: string[]
  let openings: Openings
  beforeEach(() => {
    asked = []
    cancelled = []
    openings = new Openings((sources, signal) => {
      const answer = Promise.withResolvers<PeerStream | undefined>()
      asked.push({ ids: sources.map(({ peer }) => peer.id).join(), answer, signal })
      return answer.promise
    })
  })

  const source = (id: string): SwarmSource => ({ peer: { id, address: `${id}:7951` }, complete: false, level: 0 })
  const streamOf = (name: string) => ({ name, cancel: () => cancelled.push(name) }) as unknown as PeerStream

  it('are not sent twice, and the first answer ends the others', async () => {
    openings.ask([source('a')], signal)
    assert.equal(await openings.first(5), 'slow')
    openings.ask([source('a'), source('b')], signal)
    assert.deepEqual(openings.ids, ['a', 'b'])
    assert.deepEqual(
      asked.map(({ ids }) => ids),
      ['a', 'b'],
    )
    asked[0]?.answer.resolve(streamOf('a'))
    const stream = await openings.first(LONG)
    assert.equal(typeof stream === 'object' && stream.name, 'a')
    assert.deepEqual([asked[0]?.signal.aborted, asked[1]?.signal.aborted], [false, true])
    asked[1]?.answer.resolve(streamOf('b'))
    await new Promise(setImmediate)
    assert.deepEqual(cancelled, ['b'])
    openings.close()
    assert.deepEqual(cancelled, ['b'])
  })

  it('are four at a time at most', async () => {
    for (const id of 'abcdef') openings.ask([source(id)], signal)
    assert.deepEqual(openings.ids, ['a', 'b', 'c', 'd'])
    asked[1]?.answer.resolve(undefined)
    await new Promise(setImmediate)
    openings.ask([source('e')], signal)
    assert.deepEqual(openings.ids, ['a', 'c', 'd', 'e'])
    openings.close()
  })

  it('end without an answer when each has failed', async () => {
    openings.ask([source('a')], signal)
    openings.ask([source('b')], signal)
    const first = openings.first(LONG)
    asked[0]?.answer.resolve(undefined)
    asked[1]?.answer.reject(new Error('refused'))
    assert.equal(await first, undefined)
    assert.equal(await openings.first(LONG), undefined)
  })

  it('call off the search for a better source when they are answered', async () => {
    openings.ask([source('a')], signal)
    let searching: AbortSignal | undefined
    const search = openings.during(signal, (signal) => {
      searching = signal
      return new Promise<string>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    })
    asked[0]?.answer.resolve(streamOf('a'))
    const found = await search
    assert.equal(typeof found === 'object' && found.name, 'a')
    assert.equal(searching?.aborted, true)
  })

  it('let the search for a better source end when they fail', async () => {
    openings.ask([source('a')], signal)
    const better = Promise.withResolvers<string>()
    const search = openings.during(signal, () => better.promise)
    asked[0]?.answer.resolve(undefined)
    better.resolve('better')
    assert.equal(await search, 'better')
  })

  it('are ended at the end, answers that nobody took included', async () => {
    openings.ask([source('a')], signal)
    assert.equal(await openings.first(5), 'slow')
    asked[0]?.answer.resolve(streamOf('a'))
    await new Promise(setImmediate)
    openings.close()
    assert.deepEqual(cancelled, ['a'])
  })
})
