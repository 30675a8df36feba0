import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { labelOf } from '../../bench/micro/support/cost-per-byte.ts'
import { GiB, MiB, ratio, sizeName } from '../../bench/micro/support/figures.ts'

describe('the label of a sample', () => {
  const label = (size: number, clients: number) => labelOf({ size }, { clients, bytes: 2 * GiB })

  it('names the blob and the clients where these take whole blobs', () => {
    assert.equal(label(MiB, 64), '1 MiB × 64')
    assert.equal(label(64 * MiB, 8), '64 MiB × 8')
    assert.equal(label(GiB, 1), '1 GiB × 1')
  })

  it('says how large ranges are where these are smaller than the blob', () => {
    assert.equal(label(64 * MiB, 64), '64 MiB × 64 (ranges of 32 MiB)')
    assert.equal(label(GiB, 64), '1 GiB × 64 (ranges of 32 MiB)')
    assert.equal(label(GiB, 8), '1 GiB × 8 (ranges of 256 MiB)')
  })

  it('has sizes that can be read', () => {
    assert.equal(sizeName(Math.ceil((0.1 * GiB) / 3)), '34.1 MiB')
    assert.equal(sizeName(512), '0.5 KiB')
  })
})

describe('a ratio', () => {
  it('is the median of the rounds, with their extremes', () => {
    assert.equal(ratio([2, 3, 4], [1, 1, 1]), '3.00 (2.00–4.00)')
  })

  it('is none where a sample was too short for the clock of CPU time', () => {
    assert.equal(ratio([2, 0], [1, 0]), '–')
  })
})
