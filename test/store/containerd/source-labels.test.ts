import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { digestOf } from '../../../src/oci/digest.ts'
import { repositoryKey } from '../../../src/oci/reference.ts'
import { buildCatalog } from '../../../src/store/containerd/catalog.ts'
import { SourceLabels } from '../../../src/store/containerd/source-labels.ts'
import { UNRECORDED } from '../../../src/store/content-store.ts'

const MIRROR = {
  isMirror: (registry: string) => ['127.0.0.1:7950', 'localhost:7950', '[::1]:7950'].includes(registry),
  isMirrorHost: (host: string) => ['127.0.0.1', 'localhost', '[::1]'].includes(host),
}

/** What a label `<host>=<names>` says on a node with images of these names. */
function read(label: string, imageNames: readonly string[] = [], mirror = {}): string[] {
  const equals = label.indexOf('=')
  const key = `containerd.io/distribution.source.${label.slice(0, equals)}`
  const { labelled, sources } = new SourceLabels(imageNames, mirror).read({
    [key]: label.slice(equals + 1),
    other: 'x',
  })
  assert.ok(labelled)
  return sources.map(repositoryKey)
}

describe('source labels', () => {
  it('name each repository of a host', () => {
    assert.deepEqual(read('ghcr.io=org/app,org/other'), ['ghcr.io/org/app', 'ghcr.io/org/other'])
    assert.deepEqual(read('docker.io=app'), ['docker.io/library/app'])
    assert.deepEqual(read('registry-1.docker.io=org/app'), ['docker.io/org/app'])
    assert.deepEqual(new SourceLabels([]).read({ 'containerd.io/gc.root': 'x' }), { labelled: false, sources: [] })
  })

  it('may mean each registry at that host that an image name mentions', () => {
    const names = [
      'reg.test:5000/team/app:1',
      'REG.test:5001/x@sha256:0',
      'user@reg.test:5002/x',
      'other.test:5003/x',
      'nginx',
    ]
    assert.deepEqual(read('reg.test=team/app', names), [
      'reg.test/team/app',
      'reg.test:5000/team/app',
      'reg.test:5001/team/app',
      'reg.test:5002/team/app',
    ])
    assert.deepEqual(read('::1=team/app', ['[::1]:5000/team/app:1']), ['[::1]/team/app', '[::1]:5000/team/app'])
    assert.deepEqual(read('reg.test:443=team/app', names), ['reg.test/team/app'])
    assert.deepEqual(read('localhost=app', ['localhost:443/app:1']), ['localhost/app', 'localhost:443/app'])
    assert.deepEqual(read('docker.io=org/app', ['docker.io:443/org/app:1']), ['docker.io/org/app'])
    // As no containerd writes it.
    assert.deepEqual(read('reg.test:5000=team/app', names), ['reg.test:5000/team/app'])
  })

  it('know the registry that is named behind the mirror', () => {
    const names = ['127.0.0.1:7950/reg.test:5000/team/app:1']
    assert.deepEqual(read('reg.test=team/app', names, MIRROR), ['reg.test/team/app', 'reg.test:5000/team/app'])
    assert.deepEqual(read('reg.test=team/app', names), ['reg.test/team/app'])
  })

  it('of the mirror are read as what follows', () => {
    const names = ['127.0.0.1:7950/ghcr.io/org/app:1', 'localhost:7950/team/app:1']
    assert.deepEqual(read('127.0.0.1=ghcr.io/org/app', names, MIRROR), ['ghcr.io/org/app'])
    assert.deepEqual(read('127.0.0.1=reg.test:5000/org/app', [], MIRROR), ['reg.test:5000/org/app'])
    assert.deepEqual(read('127.0.0.1=docker.io/app', [], MIRROR), ['docker.io/library/app'])
    assert.deepEqual(read('::1=ghcr.io/org/app', [], MIRROR), ['ghcr.io/org/app'])
    assert.deepEqual(read('127.0.0.1:7950=app', [], MIRROR), ['docker.io/library/app'])
  })

  it('of the mirror stay at its host where they name no registry', () => {
    assert.deepEqual(read('localhost=team/app', ['localhost:7950/team/app:1'], MIRROR), ['localhost/team/app'])
    assert.deepEqual(read('localhost=app', [], MIRROR), ['localhost/app'])
  })

  it('of the mirror stay at its host where an image name mentions another registry there', () => {
    const names = ['127.0.0.1:7950/ghcr.io/org/app:1', '127.0.0.1:5000/team/app:1']
    assert.deepEqual(read('127.0.0.1=ghcr.io/org/app', names, MIRROR), [
      '127.0.0.1/ghcr.io/org/app',
      '127.0.0.1:5000/ghcr.io/org/app',
    ])
    assert.deepEqual(read('127.0.0.1=ghcr.io/org/app', ['127.0.0.1/app:1'], MIRROR), ['127.0.0.1/ghcr.io/org/app'])
    assert.deepEqual(read('localhost=ghcr.io/org/app', names, MIRROR), ['ghcr.io/org/app'])
  })

  it('that cannot be read, or are full, hide no source without a trace', () => {
    const unrecorded = repositoryKey(UNRECORDED)
    assert.deepEqual(read('ghcr.io=org/app,Not/A name'), ['ghcr.io/org/app', unrecorded])
    assert.deepEqual(read('not a host=org/app'), [unrecorded])
    assert.deepEqual(read('ghcr.io='), [unrecorded])
    assert.deepEqual(read('ghcr.io=,org/app'), ['ghcr.io/org/app'])
    const many = Array.from({ length: 400 }, (_, i) => `org/app${100 + i}`)
    const full = read(`ghcr.io=${many.slice(0, 380).join(',')}`)
    assert.deepEqual([full.length, full.at(-1)], [381, unrecorded])
    assert.equal(read(`ghcr.io=${many.slice(0, 300).join(',')}`).length, 300)
  })
})

describe('a catalog', () => {
  it('knows the registries that images of namespaces mention that are not offered', () => {
    const digest = digestOf(Buffer.from('blob'))
    const labels = { 'containerd.io/distribution.source.reg.test': 'team/app' }
    const content = [{ digest, size: 4, createdAt: 1, labels }]
    const image = { name: 'reg.test:5000/x:1', mediaType: '', target: digestOf(Buffer.from('x')), updatedAt: 1 }
    const rows = [
      { selected: true, images: [], content },
      { selected: false, images: [image], content: [] },
    ]
    const catalog = buildCatalog(rows, { listedAt: 5 })
    assert.deepEqual(catalog.blobs.get(digest)?.sources.map(repositoryKey), [
      'reg.test/team/app',
      'reg.test:5000/team/app',
    ])
    assert.deepEqual([catalog.imported, catalog.tags.size, catalog.listedAt], [[], 0, 5])
  })
})
