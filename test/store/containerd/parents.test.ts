import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { buildCatalog, manifestsIn, parentsIn } from '../../../src/store/containerd/catalog.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const [child, good, evil, unnamed] = ['child', 'good', 'evil', 'unnamed'].map((text) => digestOf(Buffer.from(text)))
const GOOD = { registry: 'ghcr.io', name: 'good/app' }
const EVIL = { registry: 'ghcr.io', name: 'evil/x' }

describe('the indexes of a repository that list a manifest', () => {
  it('are those that an image or a source label of this repository names', () => {
    assert.ok(child && good && evil && unnamed)
    const row = (digest: typeof child, labels: Record<string, string>) => ({ digest, size: 1, createdAt: 1, labels })
    const lists = { 'containerd.io/gc.ref.content.m.0': child }
    const source = (name: string) => ({ ...lists, 'containerd.io/distribution.source.ghcr.io': name })
    const image = { name: 'ghcr.io/good/app:1', mediaType: 'a/b', target: unnamed, updatedAt: 1 }
    // The attacker's index comes last.
    const content = [row(child, {}), row(good, source('good/app')), row(unnamed, lists), row(evil, source('evil/x'))]
    const catalog = buildCatalog([{ selected: true, images: [image], content }], { listedAt: 1 })
    assert.deepEqual(parentsIn(catalog, child, GOOD), [good, unnamed])
    assert.deepEqual(parentsIn(catalog, child, EVIL), [evil])
    assert.deepEqual(parentsIn(catalog, child, { ...GOOD, name: 'another' }), [])
    assert.deepEqual(parentsIn(catalog, good, GOOD), [])
  })
})

describe('the manifests of a repository', () => {
  it('are what its images name, and what a pull that has not ended has left: most recent first', () => {
    assert.ok(child && good && evil && unnamed)
    const source = (name: string) => ({ 'containerd.io/distribution.source.ghcr.io': name })
    const layers = { 'containerd.io/gc.ref.content.l.0': child }
    // Where layers are discarded once they are unpacked, containerd labels a manifest with its config alone.
    const config = { 'containerd.io/gc.ref.content.config': child }
    const row = (digest: typeof child, createdAt: number, labels: Record<string, string>) => {
      return { digest, size: 1, createdAt, labels }
    }
    const content = [
      row(child, 1, source('good/app')),
      row(unnamed, 2, config),
      row(good, 3, { ...source('good/app'), ...config }),
      row(evil, 4, { ...source('evil/x'), ...layers }),
    ]
    const image = { name: 'ghcr.io/good/app:1', mediaType: 'a/b', target: unnamed, updatedAt: 1 }
    const gone = { ...image, name: 'ghcr.io/good/app:2', target: digestOf(Buffer.from('not held')) }
    const catalog = buildCatalog([{ selected: true, images: [image, gone], content }], { listedAt: 1 })
    assert.deepEqual(manifestsIn(catalog, GOOD), [good, unnamed])
    assert.deepEqual(manifestsIn(catalog, EVIL), [evil])
    assert.deepEqual(manifestsIn(catalog, { ...GOOD, name: 'another' }), [])
  })
})
