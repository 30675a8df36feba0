import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { StrangerTable } from '../../src/strangers/stranger-table.ts'
import { minute, second } from '../../src/time/units.ts'
import { recordedLog } from '../support/recorded-log.ts'

interface Fake {
  readonly name: string
  isBusy?: boolean
}

/** A table with small limits and a clock that stands until it is set. */
function createTable(limits = { perAddress: 3, total: 6 }) {
  const log = recordedLog()
  const closed: string[] = []
  const time = { now: 0 }
  const table = new StrangerTable<Fake>({
    listener: 'peer',
    limits,
    isIdle: ({ isBusy = false }) => !isBusy,
    close: ({ name }) => void closed.push(name),
    log,
    clock: () => time.now,
  })
  const admit = (name: string, address: string, isBusy = false) => {
    const connection = { name, isBusy }
    return { connection, isAdmitted: table.admit(connection, address) }
  }
  return { table, log, closed, time, admit }
}

describe('the connections of strangers', () => {
  it('at the limit of an address, its oldest idle connection is closed', () => {
    const { table, closed, admit } = createTable()
    admit('other', '10.0.0.2')
    admit('busy', '10.0.0.1', true)
    admit('first', '10.0.0.1')
    admit('second', '::ffff:10.0.0.1')
    assert.ok(admit('third', '10.0.0.1').isAdmitted)
    assert.deepEqual(closed, ['first'])
    assert.equal(table.size, 4)
    assert.deepEqual(table.refused, { silent: 0, address: 1, total: 0, full: 0, bytes: 0 })
  })

  it('at the limit of an address whose connections all have an open request, the new one is refused', () => {
    const { table, closed, admit } = createTable()
    for (const name of ['a', 'b', 'c']) admit(name, '10.0.0.1', true)
    assert.equal(admit('d', '10.0.0.1').isAdmitted, false)
    assert.equal(table.size, 3)
    assert.deepEqual(closed, [])
    assert.ok(admit('e', '10.0.0.2').isAdmitted)
  })

  it('at the total limit, the address with the most connections loses its oldest idle one', () => {
    const { closed, admit } = createTable()
    admit('oldest', '10.0.0.9')
    for (const name of ['a', 'b', 'c']) admit(name, '10.0.0.1')
    for (const name of ['d', 'e']) admit(name, '10.0.0.2')
    assert.ok(admit('member', '10.0.0.3').isAdmitted)
    assert.deepEqual(closed, ['a'])
  })

  it('of addresses with equally many connections, the oldest loses one', () => {
    const { closed, admit } = createTable()
    for (let n = 0; n < 6; n += 1) admit(String(n), `10.0.0.${n}`)
    assert.ok(admit('member', '10.0.0.6').isAdmitted)
    assert.deepEqual(closed, ['0'])
  })

  it('one that has proved membership counts no more', () => {
    const { table, closed, admit } = createTable()
    const members = Array.from({ length: 20 }, (_, n) => {
      const { connection } = admit(String(n), '10.0.0.1')
      table.remove(connection)
      return connection
    })
    assert.equal(table.size, 0)
    for (const member of members) table.remove(member)
    for (const name of ['a', 'b', 'c']) admit(name, '10.0.0.1')
    assert.deepEqual(closed, [])
  })

  it('keep members out only while connections are closed too young, or refused, at the total limit', () => {
    const { table, time, admit } = createTable()
    for (let n = 0; n < 6; n += 1) admit(String(n), `10.0.0.${n}`)
    time.now = 5 * second
    admit('patient', '10.0.0.7')
    assert.equal(table.keepsMembersOut(), false, 'the oldest had its time')
    for (let n = 0; n < 6; n += 1) admit(`flood ${n}`, `10.0.1.${n}`)
    assert.ok(table.keepsMembersOut())
    time.now += 19 * second
    assert.ok(table.keepsMembersOut())
    time.now += 2 * second
    assert.equal(table.keepsMembersOut(), false)
  })

  it('of one address keep no member out', () => {
    const { table, admit } = createTable()
    for (let n = 0; n < 100; n += 1) admit(String(n), '10.0.0.1')
    assert.equal(table.refused.address, 97)
    assert.equal(table.keepsMembersOut(), false)
  })

  it('keep members out when the listener is full', () => {
    const { table, time } = createTable()
    table.note('full')
    assert.ok(table.keepsMembersOut())
    time.now += 21 * second
    assert.equal(table.keepsMembersOut(), false)
  })

  it('are a warning once a minute and limit, which names the address with the most', () => {
    const { log, time, admit } = createTable()
    for (let n = 0; n < 100; n += 1) admit(String(n), '10.0.0.1')
    assert.equal(log.lines.length, 1)
    assert.match(
      log.lines[0] ?? '',
      /^warn one address .*"listener":"peer","limit":3,"address":"10.0.0.1","connections":3/,
    )
    for (let n = 0; n < 20; n += 1) admit(String(n), `10.1.0.${n}`)
    assert.equal(log.lines.length, 2)
    assert.match(log.lines[1] ?? '', /^warn all addresses .*"limit":6,"address":"10.0.0.1","connections":3/)
    time.now += minute
    for (let n = 0; n < 20; n += 1) admit(String(n), `10.2.0.${n}`)
    assert.equal(log.lines.length, 3)
  })
})
