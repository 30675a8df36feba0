import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { generateKeyPair } from '@libp2p/crypto/keys'
import type { PeerId } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'

import { Dialler } from '../../../src/overlay/libp2p/dialler.ts'
import { second } from '../../../src/time/units.ts'
import { silent } from './lab.ts'

const ROUTERS = [multiaddr('/ip4/192.0.2.1/tcp/7952')]
const MAX_CANDIDATES = 4096

/** Ids as the dialler sees them: real keys would take seconds. */
const peerOf = (name: string) => ({ toString: () => name }) as unknown as PeerId

async function diallerOf() {
  const state = { now: 0, dialled: [] as string[], forgotten: [] as string[] }
  const dialler = new Dialler({
    host: {
      peerId: peerIdFromPrivateKey(await generateKeyPair('Ed25519')),
      dial: (target) => {
        state.dialled.push(String(target).split('/p2p/')[1] ?? '')
        return Promise.reject(new Error('refused'))
      },
      getConnections: () => [],
      peerStore: { delete: async (peerId) => void state.forgotten.push(String(peerId)) },
    },
    maxConnections: 1_000_000,
    clock: () => state.now,
    log: silent,
  })
  const tick = async () => {
    state.now += 60 * second
    dialler.tick(new AbortController().signal)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { dialler, state, tick }
}

describe('the candidates of a dialler', () => {
  it('are bounded for lost members as for others, and a lost member takes the place of one that could not be reached', async () => {
    const { dialler, state, tick } = await diallerOf()
    for (let count = 0; count < MAX_CANDIDATES; count += 1) assert.ok(dialler.hear(peerOf(`heard${count}`), ROUTERS))
    assert.ok(!dialler.hear(peerOf('one more'), ROUTERS))
    dialler.lose(peerOf('lost early'), ROUTERS)
    assert.deepEqual(state.forgotten, [], 'none of them has failed')
    await tick()
    const failed = state.dialled.length
    assert.ok(failed > 0)
    for (let count = 0; count < failed + 3; count += 1) dialler.lose(peerOf(`lost${count}`), ROUTERS)
    assert.deepEqual(new Set(state.forgotten), new Set(state.dialled))
    // A candidate that is lost again takes no further place.
    dialler.lose(peerOf('lost0'), ROUTERS)
    assert.equal(state.forgotten.length, failed)
  })
})
