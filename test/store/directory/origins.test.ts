import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import { UNRECORDED } from '../../../src/store/content-store.ts'
import type { DirectoryStore } from '../../../src/store/directory/directory-store.ts'
import { makeImage, noise } from '../../support/image-maker.ts'
import { fill, openStore, putManifests, temporaryDirectory } from './support.ts'

const signal = new AbortController().signal
const APP = { registry: 'docker.io', name: 'library/app' }
const SECRET = { registry: 'ghcr.io', name: 'org/secret' }
const bytes = noise('origins', 1000)
const digest = digestOf(bytes)

async function sourcesOf(store: DirectoryStore, of: Digest = digest): Promise<string[]> {
  const sources = await store.sources(of, { signal })
  return sources.map(({ registry, name, access }) => `${registry}/${name} ${access}`)
}

const numbered = (count: number, name: string) =>
  Array.from({ length: count }, (_, i) => ({ registry: 'docker.io', name: `${name}/${i}` }))

describe('directory store: where content came from', () => {
  it('is what was recorded for that very digest, not for what lists it', async () => {
    await using opened = await openStore()
    const { store } = opened
    const image = makeImage({ layers: [{ size: 1000, seed: 'listed' }], multiArch: true })
    const [layer, child] = [image.layers[0], image.manifest]
    assert.ok(layer)
    await putManifests(store, image, { ...APP, tag: '1' })
    await fill(store, layer.bytes)
    assert.deepEqual(await sourcesOf(store, layer.descriptor.digest), [])
    store.noteOrigin(layer.descriptor.digest, { repository: SECRET, isPublic: false })
    assert.deepEqual(await sourcesOf(store, layer.descriptor.digest), ['ghcr.io/org/secret unknown'])
    assert.deepEqual(await sourcesOf(store, child.descriptor.digest), ['docker.io/library/app public'])
    await store.discard(child.descriptor.digest)
    await store.putManifest(child.bytes, { descriptor: child.descriptor, repository: SECRET, isPublic: false })
    assert.deepEqual(await sourcesOf(store, child.descriptor.digest), ['ghcr.io/org/secret unknown'])
  })

  it('says what was had with credentials, and what without; once public, it stays so', async () => {
    await using opened = await openStore()
    const { store } = opened
    const { bytes, descriptor } = makeImage({ layers: [{ size: 10, seed: 'both' }] }).manifest
    await store.putManifest(bytes, { descriptor, repository: SECRET, isPublic: false })
    store.noteOrigin(descriptor.digest, { repository: APP, isPublic: true })
    store.noteOrigin(descriptor.digest, { repository: SECRET, isPublic: false })
    assert.deepEqual(await sourcesOf(store, descriptor.digest), [
      'ghcr.io/org/secret unknown',
      'docker.io/library/app public',
    ])
    store.noteOrigin(descriptor.digest, { repository: SECRET, isPublic: true })
    store.noteOrigin(descriptor.digest, { repository: SECRET, isPublic: false })
    await store.putManifest(bytes, { descriptor, repository: SECRET, isPublic: false })
    assert.deepEqual(await sourcesOf(store, descriptor.digest), [
      'ghcr.io/org/secret public',
      'docker.io/library/app public',
    ])
  })

  it('is not recorded for what is not held, and forgotten with the blob', async () => {
    await using opened = await openStore()
    const { store } = opened
    store.noteOrigin(digest, { repository: APP, isPublic: true })
    await fill(store, bytes)
    assert.deepEqual(await sourcesOf(store), [])
    store.noteOrigin(digest, { repository: APP, isPublic: true })
    await store.discard(digest)
    assert.deepEqual(await sourcesOf(store), [])
    await fill(store, bytes)
    assert.deepEqual(await sourcesOf(store), [])
  })

  it('is bounded, and no source that may be private gives way to a public one', async () => {
    await using opened = await openStore()
    const { store } = opened
    await fill(store, bytes)
    const isPublic = true
    for (const repository of numbered(70, 'public')) store.noteOrigin(digest, { repository, isPublic })
    assert.equal((await sourcesOf(store)).length, 64)
    store.noteOrigin(digest, { repository: SECRET, isPublic: false })
    let sources = await sourcesOf(store)
    assert.equal(sources.length, 64)
    assert.ok(sources.includes('ghcr.io/org/secret unknown'))
    for (const repository of numbered(63, 'private')) store.noteOrigin(digest, { repository, isPublic: false })
    sources = await sourcesOf(store)
    assert.deepEqual([sources.length, sources.filter((text) => text.endsWith('public')).length], [64, 0])
    // What does not fit in any more is not lost without a trace: nothing of it is public.
    for (const repository of numbered(2, 'one-more')) store.noteOrigin(digest, { repository, isPublic: false })
    for (const repository of numbered(9, 'public')) store.noteOrigin(digest, { repository, isPublic })
    assert.deepEqual((await sourcesOf(store)).slice(64), [`${UNRECORDED.registry}/${UNRECORDED.name} unknown`])
  })
})

describe('directory store: where content came from, after a restart', () => {
  const before = async (directory: string) => {
    const first = await openStore({ directory })
    await fill(first.store, bytes)
    await fill(first.store, noise('other', 10))
    for (const [repository, isPublic] of [
      [SECRET, false],
      [APP, true],
    ] as const) {
      first.store.noteOrigin(digest, { repository, isPublic })
    }
    first.store.noteOrigin(digestOf(noise('other', 10)), { repository: APP, isPublic: true })
    await first.store.stop()
    return join(directory, 'origins.json')
  }
  const both = ['docker.io/library/app public', 'ghcr.io/org/secret unknown']

  it('is known as before', async () => {
    await using directory = await temporaryDirectory()
    await before(directory.path)
    await using second = await openStore({ directory: directory.path })
    assert.deepEqual(await sourcesOf(second.store), both)
    assert.deepEqual(second.log.warnings, [])
  })

  it('is not kept of blobs that went', async () => {
    await using directory = await temporaryDirectory()
    const path = await before(directory.path)
    const second = await openStore({ directory: directory.path })
    await second.store.discard(digest)
    await second.store.stop()
    assert.ok(!(await readFile(path, 'utf8')).includes(digest))
    // Brought back by somebody else, whose reasons nobody knows.
    await writeFile(path, JSON.stringify({ version: 1, blobs: { [digest]: { public: ['docker.io/library/app'] } } }))
    const third = await openStore({ directory: directory.path })
    assert.deepEqual(await sourcesOf(third.store), [])
    await fill(third.store, bytes)
    assert.deepEqual(await sourcesOf(third.store), [])
    await third.store.stop()
  })

  it('is lost with a broken file, which is set aside with one warning', async () => {
    for (const broken of ['', '{"version":1,"blo', '[]', '{"version":2,"blobs":{}}']) {
      await using directory = await temporaryDirectory()
      const path = await before(directory.path)
      await writeFile(path, broken)
      await using second = await openStore({ directory: directory.path })
      assert.equal(second.store.entries().length, 2)
      assert.deepEqual(await sourcesOf(second.store), [])
      assert.equal(second.log.warnings.length, 1)
      const names = await readdir(directory.path)
      assert.ok(names.includes('origins.json.broken'))
      second.store.noteOrigin(digest, { repository: APP, isPublic: true })
      assert.deepEqual(await sourcesOf(second.store), ['docker.io/library/app public'])
    }
  })

  it('is read row by row, and a row wholly or not at all', async () => {
    const app = 'docker.io/library/app'
    const rows = [
      [{ public: [app], other: ['ghcr.io/org/secret'] }, both],
      [{ public: [app] }, ['docker.io/library/app public']],
      [{ public: [app], other: ['Not/A repository'] }, []],
      [{ public: [app], other: [7] }, []],
      [{ public: app }, []],
      ['text', []],
      [{}, []],
    ] as const
    for (const [row, expected] of rows) {
      await using directory = await temporaryDirectory()
      const path = await before(directory.path)
      const blobs = { 'sha256:short': row, [digest]: row, [digestOf(Buffer.from('absent'))]: row }
      await writeFile(path, JSON.stringify({ version: 1, blobs }))
      await using second = await openStore({ directory: directory.path })
      assert.deepEqual(await sourcesOf(second.store), expected, JSON.stringify(row))
      assert.deepEqual(second.log.warnings, [])
    }
  })
})
