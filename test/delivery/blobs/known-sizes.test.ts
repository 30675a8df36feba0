import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { KnownSizes } from '../../../src/delivery/blobs/known-sizes.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const digest = digestOf(Buffer.from('layer'))
const child = (size: number, text = 'layer') => ({ mediaType: 'a/b', digest: digestOf(Buffer.from(text)), size })

describe('the size of a layer', () => {
  it('is what the manifests say', () => {
    const sizes = new KnownSizes()
    assert.equal(sizes.of(digest), undefined)
    sizes.note([child(7), child(8, 'other')])
    sizes.note([child(7)])
    assert.equal(sizes.of(digest), 7)
  })

  it('is not known once they disagree', () => {
    const sizes = new KnownSizes()
    sizes.note([child(7)])
    sizes.note([child(8)])
    assert.equal(sizes.of(digest), undefined)
    sizes.note([child(8)])
    assert.equal(sizes.of(digest), undefined)
  })

  it('is forgotten at last', () => {
    const sizes = new KnownSizes()
    sizes.note([child(7)])
    sizes.note(Array.from({ length: 10_000 }, (_, index) => child(index, String(index))))
    assert.equal(sizes.of(digest), undefined)
  })
})
