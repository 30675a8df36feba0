import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import { Suspects } from '../../src/delivery/suspects.ts'
import { digestOf } from '../../src/oci/digest.ts'

const DIGEST = digestOf(Buffer.from('a layer'))
const MINUTE = 60_000

describe('the givers of a blob', () => {
  let suspects: Suspects

  beforeEach(() => {
    suspects = new Suspects()
  })

  it('are suspected together until the blob is in the store', () => {
    suspects.note(DIGEST, ['10.0.0.1:7951'])
    suspects.note(DIGEST, ['10.0.0.2:7951'])
    assert.deepEqual([...suspects.of(DIGEST)], ['10.0.0.1:7951', '10.0.0.2:7951'])
    suspects.clear(DIGEST)
    assert.equal(suspects.of(DIGEST).size, 0)
  })

  it('are suspected of that blob only', () => {
    suspects.note(DIGEST, ['10.0.0.1:7951'])
    assert.equal(suspects.of(digestOf(Buffer.from('another'))).size, 0)
  })

  it('are forgotten after ten minutes', (test) => {
    let now = 0
    test.mock.method(performance, 'now', () => now)
    suspects.note(DIGEST, ['10.0.0.1:7951'])
    now = 9 * MINUTE
    assert.equal(suspects.of(DIGEST).size, 1)
    now = 11 * MINUTE
    assert.equal(suspects.of(DIGEST).size, 0)
  })

  it('are forgotten first where there are too many', () => {
    suspects.note(DIGEST, ['10.0.0.1:7951'])
    for (let i = 0; i < 10_000; i++) suspects.note(digestOf(Buffer.from(String(i))), ['10.0.0.1:7951'])
    assert.equal(suspects.of(DIGEST).size, 0)
  })
})
