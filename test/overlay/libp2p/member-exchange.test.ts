import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'

import { kadIdOf } from '../../../src/overlay/distance.ts'
import { MemberExchange } from '../../../src/overlay/libp2p/member-exchange.ts'
import { MemberTable } from '../../../src/overlay/libp2p/member-table.ts'
import { second } from '../../../src/time/units.ts'
import { silent } from './lab.ts'

async function exchangeOf() {
  const peerId = peerIdFromPrivateKey(await generateKeyPair('Ed25519'))
  const members = new MemberTable()
  const peer = { id: peerId.toString(), address: '192.0.2.1:7951' }
  members.put({ peer, peerId, kadId: kadIdOf(peerId.toMultihash().bytes), routers: [] })
  let questions = 0
  const exchange = new MemberExchange({
    host: { handle: async () => {}, getConnections: () => ((questions += 1), []) },
    members,
    hear: () => false,
    log: silent,
  })
  /** The questions of so many milliseconds, with a hurry each half second if told. */
  const run = async (ms: number, hurries: boolean) => {
    for (let now = 0; now < ms; now += second / 2) {
      if (hurries) exchange.hurry(now)
      exchange.tick(now, new AbortController().signal)
      await new Promise((resolve) => setImmediate(resolve))
    }
    return questions
  }
  return { run }
}

describe('the questions of a member exchange', () => {
  it('come sooner after a loss, and not at each of many', async () => {
    const quiet = await (await exchangeOf()).run(300 * second, false)
    const busy = await (await exchangeOf()).run(300 * second, true)
    assert.ok(quiet < busy, `${quiet} and ${busy} questions`)
    // Six in the ten seconds after each hurry: at 0.75 of 1, 1, 1.5, 2.3 and 3.4 s, and half seconds.
    assert.ok(busy <= 6 * 30, `${busy} questions`)
  })
})
