import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { nodeCaller } from '../../../src/contracts/node-caller.ts'
import { askToVerify } from '../../../src/delivery/integrity/ask-to-verify.ts'
import type { Sender } from '../../../src/delivery/blobs/blob-trace.ts'
import type { Suspicion } from '../../../src/delivery/integrity/suspects.ts'
import { tellSwarm } from '../../../src/delivery/integrity/tell-swarm.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import type { SwarmItem, SwarmOutcome } from '../../../src/swarm/swarm.ts'

const digest = digestOf(Buffer.from('a layer'))
const APP = { registry: 'docker.io', name: 'library/app' }
const OTHER = { registry: 'docker.io', name: 'library/other' }
const sender = (id: string, complete: boolean): Sender => ({ peer: { id, address: `${id}:7951` }, complete })
const suspicion = (senders: readonly Sender[], changes: Partial<Suspicion> = {}): Suspicion => ({
  digest,
  repositories: [APP, OTHER],
  reason: 'not-committed',
  isLikely: true,
  senders,
  ...changes,
})

describe('a suspicion', () => {
  async function asked(senders: readonly Sender[], fail = false): Promise<string[]> {
    const ids: string[] = []
    const nodes = nodeCaller(async (peer) => {
      ids.push(peer.id)
      if (fail) throw new Error('it cannot be reached')
      return Buffer.from('{"accepted":true}')
    })
    await askToVerify(suspicion(senders), nodes, { debug: () => {} })
    return ids
  }
  function told(of: Suspicion) {
    const messages: { item: SwarmItem; outcome: SwarmOutcome }[] = []
    const enter = (item: SwarmItem) => ({
      ask: async () => ({ type: 'alone' }) as const,
      progress: () => {},
      onRecall: () => {},
      leave: (outcome: SwarmOutcome) => void messages.push({ item, outcome }),
    })
    tellSwarm(of, { enter })
    return messages
  }

  it('makes complete holders check themselves, and relays never', async () => {
    assert.deepEqual(await asked([sender('a', true), sender('b', false), sender('c', true)]), ['a', 'c'])
  })

  it('asks a few holders only, and does not mind those that are gone', async () => {
    const many = Array.from({ length: 60 }, (_, i) => sender(`p${i}`, true))
    assert.equal((await asked(many)).length, 8)
    assert.equal((await asked(many, true)).length, 8)
  })

  it('is told to the swarm under each name, with all senders', () => {
    const messages = told(suspicion([sender('a', true), sender('b', false)]))
    assert.deepEqual(
      messages.map(({ item }) => item.repository),
      [APP, OTHER],
    )
    for (const { outcome } of messages) assert.deepEqual(outcome, { type: 'suspect', senders: ['a', 'b'] })
  })

  it('is not told when it is no more than a guess, nor when all came from the upstream', () => {
    assert.deepEqual(told(suspicion([sender('a', true)], { reason: 'asked-again', isLikely: false })), [])
    assert.deepEqual(told(suspicion([])), [])
  })
})
