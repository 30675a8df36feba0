import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { Admission } from '../../src/http/admission.ts'

const [A, B, C] = ['192.0.2.1', '192.0.2.2', '2001:db8::3']

/** How many slots an address gets that asks for all. */
function takeAll(admission: Admission, address: string): number {
  let taken = 0
  while (admission.enter(address)) taken += 1
  return taken
}

describe('admission', () => {
  it('gives out all slots, and reports how many are taken', () => {
    const admission = new Admission(2)
    assert.deepEqual([admission.enter(A), admission.enter(B), admission.enter(C)], [true, true, false])
    assert.deepEqual(admission.load(), { sending: 2, capacity: 2 })
    admission.leave(A)
    assert.deepEqual(admission.load(), { sending: 1, capacity: 2 })
    assert.ok(admission.enter(C))
  })

  it('leaves slots free for others whatever one address asks for', () => {
    const admission = new Admission(32)
    assert.deepEqual([takeAll(admission, A), takeAll(admission, B), takeAll(admission, C)], [16, 8, 4])
    assert.ok(admission.enter('192.0.2.4'))
  })

  it('gives an address more slots once others are free', () => {
    const admission = new Admission(8)
    assert.deepEqual([takeAll(admission, A), takeAll(admission, B)], [4, 2])
    for (let n = 0; n < 4; n += 1) admission.leave(A)
    assert.equal(takeAll(admission, B), 2)
  })

  it('takes an IPv4 address and the same one mapped to IPv6 for one', () => {
    const admission = new Admission(4)
    assert.deepEqual([admission.enter(A), admission.enter(`::ffff:${A}`), admission.enter(A)], [true, true, false])
    admission.leave(`::ffff:${A}`)
    assert.ok(admission.enter(A))
  })

  it('gives loopback all slots, since the nodes of a cluster on one machine share it', () => {
    for (const address of ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1'])
      assert.equal(takeAll(new Admission(8), address), 8, address)
    assert.equal(takeAll(new Admission(1), A), 1, 'the only slot is for anybody')
  })

  it('never gives an address the last slots while it holds more than are left, and counts correctly', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom(A, B, C, undefined), fc.boolean()), { maxLength: 200 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), steps, (capacity, steps) => {
        const admission = new Admission(capacity)
        const held = new Map<string | undefined, number>()
        const sum = () => held.values().reduce((total, count) => total + count, 0)
        for (const [address, enters] of steps) {
          const own = held.get(address) ?? 0
          if (enters) {
            const isAdmitted = own < capacity - sum()
            assert.equal(admission.enter(address), isAdmitted)
            if (isAdmitted) held.set(address, own + 1)
          } else if (own > 0) {
            admission.leave(address)
            held.set(address, own - 1)
          }
          assert.equal(admission.load().sending, sum())
        }
      }),
    )
  })
})
