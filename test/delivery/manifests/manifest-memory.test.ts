import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { ManifestMemory } from '../../../src/delivery/manifests/manifest-memory.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { minute } from '../../../src/time/units.ts'

const manifestOf = (index: number, size = 100) => {
  const bytes = Buffer.alloc(size, `manifest ${index}`)
  return { bytes, digest: digestOf(bytes) }
}

describe('manifests that passed by', () => {
  it('are remembered, those used last', () => {
    const memory = new ManifestMemory(minute)
    const all = Array.from({ length: 65 }, (_, index) => manifestOf(index))
    for (const { digest, bytes } of all.slice(0, 64)) memory.put(digest, bytes)
    const [first, second, last] = [all[0], all[1], all[64]]
    assert.ok(first && second && last)
    assert.equal(memory.get(first.digest), first.bytes)
    memory.put(last.digest, last.bytes)
    assert.equal(memory.get(first.digest), first.bytes)
    assert.equal(memory.get(second.digest), undefined)
    assert.equal(memory.get(last.digest), last.bytes)
  })

  it('take no more than 16 MiB', () => {
    const memory = new ManifestMemory(minute)
    const all = Array.from({ length: 5 }, (_, index) => manifestOf(index, 4 * 1024 * 1024))
    for (let round = 0; round < 2; round += 1) for (const { digest, bytes } of all) memory.put(digest, bytes)
    const kept = all.filter(({ digest }) => memory.get(digest) !== undefined)
    assert.deepEqual(kept, all.slice(1))
  })

  it('are forgotten after their time', async () => {
    const memory = new ManifestMemory(1)
    const { digest, bytes } = manifestOf(1)
    memory.put(digest, bytes)
    await sleep(10)
    assert.equal(memory.get(digest), undefined)
    assert.equal(memory.get(digest), undefined)
  })
})
