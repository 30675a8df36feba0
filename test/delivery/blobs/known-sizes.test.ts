import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { KnownSizes } from '../../../src/delivery/blobs/known-sizes.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const app = { registry: 'docker.io', name: 'library/app' }
const other = { registry: 'docker.io', name: 'library/app-too' }
const elsewhere = { registry: 'evil.test', name: 'library/app' }
const digest = digestOf(Buffer.from('layer'))
const child = (size: number, text = 'layer') => ({ mediaType: 'a/b', digest: digestOf(Buffer.from(text)), size })

describe('the size of a layer', () => {
  it('is what the manifests of its repository say', () => {
    const sizes = new KnownSizes()
    assert.equal(sizes.of(app, digest), undefined)
    sizes.note(app, [child(7), child(8, 'other')])
    sizes.note(app, [child(7)])
    assert.equal(sizes.of(app, digest), 7)
  })

  it('is not known once they disagree', () => {
    const sizes = new KnownSizes()
    sizes.note(app, [child(7)])
    sizes.note(app, [child(8)])
    assert.equal(sizes.of(app, digest), undefined)
    for (const size of [7, 8]) {
      sizes.note(app, [child(size)])
      assert.equal(sizes.of(app, digest), undefined)
    }
  })

  it('is not known once one manifest says two', () => {
    const sizes = new KnownSizes()
    sizes.note(app, [child(7), child(8)])
    assert.equal(sizes.of(app, digest), undefined)
  })

  it('is another matter in each repository: everybody may publish a manifest that lists it', () => {
    const sizes = new KnownSizes()
    sizes.note(app, [child(7)])
    for (const repository of [other, elsewhere]) {
      assert.equal(sizes.of(repository, digest), undefined)
      sizes.note(repository, [child(8)])
      assert.equal(sizes.of(repository, digest), 8)
    }
    assert.equal(sizes.of(app, digest), 7)
  })

  it('is forgotten at last', () => {
    const sizes = new KnownSizes()
    sizes.note(app, [child(7)])
    for (let index = 0; index < 10_000; index += 1) sizes.note(app, [child(index, String(index))])
    assert.equal(sizes.of(app, digest), undefined)
  })

  it('is not forgotten because of one manifest that lists more than any image has', () => {
    const sizes = new KnownSizes()
    sizes.note(app, [child(7)])
    sizes.note(
      elsewhere,
      Array.from({ length: 10_000 }, (_, index) => child(index, String(index))),
    )
    assert.equal(sizes.of(app, digest), 7)
    assert.equal(sizes.of(elsewhere, digestOf(Buffer.from('255'))), 255)
    assert.equal(sizes.of(elsewhere, digestOf(Buffer.from('256'))), undefined)
  })
})
