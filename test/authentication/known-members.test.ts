import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { KnownMembers } from '../../src/authentication/known-members.ts'
import { recordedLog } from '../support/recorded-log.ts'
import { TestMember } from '../support/test-member.ts'

const MINUTE = 60_000

describe('the members that a node knows', () => {
  let local: TestMember['authentication']['local']
  let log: ReturnType<typeof recordedLog>

  beforeEach(async () => {
    ;({ local } = (await TestMember.create()).authentication)
    log = recordedLog()
  })

  const member = async (address = '10.0.0.7:7951') => {
    const { local } = (await TestMember.create(undefined, { address })).authentication
    return { id: local.id, text: local.recordText }
  }

  it('are limited per address and in total, with one warning', async () => {
    const members = new KnownMembers({ local, log, limit: 6, limitPerAddress: 4 })
    const invented = await Promise.all(Array.from({ length: 10 }, (_, n) => member(`10.0.0.7:${n + 1}`)))
    const results = invented.map(({ id, text }) => members.introduce(id, text, '10.0.0.7'))
    assert.equal(results.filter((result) => result === 'full').length, 6)
    for (const [from, isFull] of [
      ['10.0.0.8', false],
      ['10.0.0.9', false],
      ['10.0.0.10', true],
    ] as const) {
      const { id, text } = await member(`${from}:7951`)
      assert.equal(members.introduce(id, text, from) === 'full', isFull, from)
    }
    assert.equal(members.size, 6)
    assert.equal(log.lines.length, 1)
  })

  it('are known by their own records only', async () => {
    const members = new KnownMembers({ local, log })
    const [a, b] = [await member(), await member()]
    assert.equal(members.introduce(a.id, b.text, '10.0.0.7'), undefined)
    assert.equal(members.introduce(a.id, 'nonsense', '10.0.0.7'), undefined)
    assert.equal(members.size, 0)
  })

  it('are replaced by a newer one at their advertised address, and not by an older one', async () => {
    const members = new KnownMembers({ local, log })
    const replaced: string[] = []
    members.onReplaced((id) => replaced.push(id))
    const before = await member()
    // Incarnations of one millisecond are in random order.
    await sleep(2)
    const after = await member()
    const elsewhere = await member('10.0.0.8:7951')
    for (const { id, text } of [before, elsewhere, after, before]) members.introduce(id, text, '10.0.0.7')
    assert.deepEqual(replaced, [before.id])
  })

  it('are not replaced by a member of another host that advertises their address', async () => {
    const members = new KnownMembers({ local, log })
    const replaced: string[] = []
    members.onReplaced((id) => replaced.push(id))
    const honest = await member()
    await sleep(2)
    const liar = await member()
    members.introduce(honest.id, honest.text, '10.0.0.7')
    members.introduce(liar.id, liar.text, '10.0.0.66')
    await sleep(2)
    const restarted = await member()
    assert.deepEqual(replaced, [])
    members.introduce(restarted.id, restarted.text, '10.0.0.7')
    assert.deepEqual(replaced, [honest.id])
  })

  it('are forgotten when they are silent, and this node then begins a new incarnation', async (context) => {
    let now = 0
    context.mock.method(performance, 'now', () => now)
    const members = new KnownMembers({ local, log })
    const { incarnation } = local.record
    const [silent, live, late] = [await member('10.0.0.1:1'), await member('10.0.0.2:1'), await member('10.0.0.3:1')]
    members.introduce(silent.id, silent.text, '10.0.0.1')
    members.introduce(live.id, live.text, '10.0.0.2')
    now = 9 * MINUTE
    members.heard(live.id)
    members.introduce(late.id, late.text, '10.0.0.3')
    assert.equal(local.record.incarnation, incarnation)
    now = 11 * MINUTE
    const next = await member('10.0.0.4:1')
    members.introduce(next.id, next.text, '10.0.0.4')
    assert.equal(members.get(silent.id), undefined)
    assert.ok(members.get(live.id))
    assert.ok(local.record.incarnation > incarnation, 'the old requests of the forgotten member are void')
  })
})
