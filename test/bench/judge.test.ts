import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { makeVersions } from '../../bench/compare/images.ts'
import { ActClock } from '../../bench/compare/rig/act-clock.ts'
import { judge } from '../../bench/compare/rig/judge.ts'

const { first: version } = makeVersions({ megabytes: 1, layers: 1 })

/** A node whose content store has these digests, each with its own content. */
function holder(name: string, spoiled?: string) {
  const blobSha256 = async (digest: string) => (digest === spoiled ? 'something else' : digest)
  return { node: { name, blobSha256 }, version }
}

describe('the judgement of a run', () => {
  const wrong = version.image.layers[0]?.descriptor.digest ?? ''

  it('is that all is right where pulls were checked', async () => {
    assert.deepEqual(await judge([holder('node-0')], [holder('node-1')], []), { contentOk: true })
  })

  it('says nothing of content where no pull worked', async () => {
    assert.deepEqual(await judge([], [holder('node-1')], []), {})
    const dead = { node: 'node-0', ended: () => 'SIGSEGV' }
    assert.deepEqual(await judge([], [], [dead]), { failure: 'the mirror on node-0 ended (SIGSEGV)' })
  })

  it('names once what is wrong, also where it was there before', async () => {
    const failure = `${wrong} on node-1 is wrong`
    assert.deepEqual(await judge([], [holder('node-1', wrong)], []), { contentOk: false, failure })
    const spoiled = holder('node-1', wrong)
    assert.deepEqual(await judge([spoiled], [spoiled], []), { contentOk: false, failure })
  })
})

describe('the clock of an act', () => {
  it('leaves out pauses, and all that came after the last pull', () => {
    const clock = new ActClock()
    const [first, second] = [clock.now(), clock.now()]
    clock.pausedSince(first)
    const end = clock.now()
    // Afterwards.
    clock.pausedSince(second)
    const { wallSeconds, pausedSeconds = 0 } = clock.until(end)
    assert.ok(pausedSeconds > 0)
    assert.equal(pausedSeconds, end.pausedMs / 1000)
    assert.ok(Math.abs(wallSeconds + pausedSeconds - clock.seconds(end)) < 1e-9)
  })
})
