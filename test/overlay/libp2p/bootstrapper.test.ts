import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { multiaddr } from '@multiformats/multiaddr'

import { Bootstrapper } from '../../../src/overlay/libp2p/bootstrapper.ts'
import { second } from '../../../src/time/units.ts'
import { silent } from './lab.ts'

const ADDRESS = multiaddr('/ip4/192.0.2.1/tcp/22')

function bootstrapperOf() {
  const state = { rounds: 0, failures: 0 }
  const bootstrapper = new Bootstrapper({
    source: { candidates: async () => ((state.rounds += 1), [{ type: 'multiaddr', multiaddr: ADDRESS }]) },
    host: {
      dial: () => Promise.reject(new Error('refused')),
      getConnections: () => [],
      getMultiaddrs: () => [],
    },
    isMember: () => false,
    hasRoom: () => true,
    onFailure: (address) => {
      assert.equal(address, ADDRESS)
      state.failures += 1
    },
    log: silent,
  })
  /** Ticks for each half second from `from` on, with a hurry before each if told. */
  const run = async (from: number, until: number, hurries: boolean) => {
    for (let now = from; now < until; now += second / 2) {
      if (hurries) bootstrapper.hurry(now)
      bootstrapper.tick(now, false, new AbortController().signal)
      await new Promise((resolve) => setImmediate(resolve))
    }
    return state.rounds
  }
  return { state, run }
}

describe('the rounds of a bootstrap', () => {
  it('come sooner after a loss, and not at each of many', async () => {
    const [quiet, busy] = [bootstrapperOf(), bootstrapperOf()]
    const rounds = [await quiet.run(0, 300 * second, false), await busy.run(0, 300 * second, true)]
    assert.ok(Number(rounds[0]) < Number(rounds[1]), `${rounds.join(' and ')} rounds`)
    assert.ok(Number(rounds[1]) <= 5 * 30, `${rounds[1]} rounds`)
    assert.equal(busy.state.failures, busy.state.rounds, 'each failed dial is told')
  })
})
