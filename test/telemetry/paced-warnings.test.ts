import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { PacedWarnings } from '../../src/telemetry/paced-warnings.ts'
import { minute } from '../../src/time/units.ts'
import { recordedLog } from '../support/recorded-log.ts'

describe('paced warnings', () => {
  it('log each kind once a minute, and compute no fields for the others', () => {
    const log = recordedLog()
    let [now, computed] = [0, 0]
    const warnings = new PacedWarnings<'one' | 'other'>(log, () => now)
    const warn = (kind: 'one' | 'other') => warnings.warn(kind, kind, () => ({ n: ++computed }))
    for (const kind of ['one', 'one', 'other'] as const) warn(kind)
    now = minute - 1
    warn('one')
    now = minute
    warn('one')
    assert.deepEqual(log.lines, ['warn one {"n":1}', 'warn other {"n":2}', 'warn one {"n":3}'])
  })
})
