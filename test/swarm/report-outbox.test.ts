import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { MAX_REPORT_ENTRIES } from '../../src/swarm/messages.ts'
import type { ReportAnswer, ReportEntry } from '../../src/swarm/messages.ts'
import { Participation } from '../../src/swarm/participation.ts'
import { type Parcel, ReportOutbox } from '../../src/swarm/report-outbox.ts'
import type { SwarmOutcome } from '../../src/swarm/swarm.ts'
import { nameItem } from '../../src/swarm/swarm-item.ts'
import { blobNamed } from '../support/swarm-network.ts'

const peer = { id: 'coordinator', address: '10.0.0.1:7951' }

function parcel(name: string, position: number, outcome?: SwarmOutcome): Parcel {
  const participation = new Participation(nameItem(blobNamed(name)), 'docker.io')
  const entry = { ...participation.entry(undefined, outcome), position }
  return { entry, participation, generation: 0, copies: 1, retries: 0 }
}

/** An outbox whose messages are answered when the test says so. */
class Harness {
  readonly messages: { entries: readonly ReportEntry[]; answer: PromiseWithResolvers<ReportAnswer> }[] = []
  readonly answered: ['ok' | 'ask', Parcel][] = []
  readonly lost: Parcel[] = []
  readonly outbox = new ReportOutbox(peer, {
    delay: 60_000,
    send: (_, entries) => {
      const answer = Promise.withResolvers<ReportAnswer>()
      this.messages.push({ entries, answer })
      return answer.promise
    },
    answered: (parcel, answer) => this.answered.push([answer, parcel]),
    lost: (parcels) => this.lost.push(...parcels),
  })

  get positions(): number[][] {
    return this.messages.map(({ entries }) => entries.map((entry) => entry.position))
  }
}

describe('an outbox of reports', () => {
  it('sends the latest of each item, and every outcome, in order', async () => {
    const { outbox, messages, answered } = new Harness()
    outbox.put(parcel('a', 1))
    outbox.put(parcel('b', 1))
    outbox.put(parcel('a', 2))
    outbox.put(parcel('a', 3, { type: 'cancelled' }))
    outbox.put(parcel('a', 4))
    const sent = outbox.flush()
    messages[0]?.answer.resolve(['ok', 'ask', 'ok', 'ask'])
    await sent
    const { item: a } = nameItem(blobNamed('a'))
    assert.deepEqual(
      messages[0]?.entries.map((entry) => [entry.item === a ? 'a' : 'b', entry.position]),
      // Before its outcome nothing else needs to be known of an item.
      [
        ['a', 3],
        ['b', 1],
        ['a', 4],
      ],
    )
    assert.deepEqual(
      answered.map(([answer]) => answer),
      ['ok', 'ask', 'ok'],
    )
    assert.ok(outbox.isIdle)
  })

  it('has one message under way at a time, and gathers what comes meanwhile', async () => {
    const harness = new Harness()
    const { outbox, messages } = harness
    outbox.put(parcel('a', 1))
    const sent = outbox.flush()
    outbox.put(parcel('a', 2))
    outbox.put(parcel('a', 3))
    assert.deepEqual(harness.positions, [[1]])
    assert.notEqual(outbox.settled(nameItem(blobNamed('a')).item), undefined)
    assert.equal(outbox.settled(nameItem(blobNamed('b')).item), undefined)
    messages[0]?.answer.resolve(['ok'])
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(harness.positions, [[1], [3]])
    messages[1]?.answer.resolve(['ok'])
    await sent
    assert.ok(outbox.isIdle)
  })

  it('sends no more in one message than it may hold', async () => {
    const { outbox, messages } = new Harness()
    for (let n = 0; n <= MAX_REPORT_ENTRIES; n++) outbox.put(parcel(`item-${n}`, n))
    const sent = outbox.flush()
    messages[0]?.answer.resolve([])
    await new Promise((resolve) => setImmediate(resolve))
    messages[1]?.answer.resolve([])
    await sent
    assert.deepEqual(
      messages.map(({ entries }) => entries.length),
      [MAX_REPORT_ENTRIES, 1],
    )
  })

  it('gives back what did not arrive', async () => {
    const { outbox, messages, lost } = new Harness()
    const first = parcel('a', 1, { type: 'complete' })
    outbox.put(first)
    const sent = outbox.flush()
    messages[0]?.answer.reject(new Error('connection refused'))
    await sent
    assert.deepEqual(lost, [first])
    assert.ok(outbox.isIdle)
  })
})
