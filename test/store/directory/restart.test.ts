import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { z } from 'zod'

import { digestHex, digestOf } from '../../../src/oci/digest.ts'
import { tagKey, type TagReference } from '../../../src/oci/reference.ts'
import { DirectoryStore } from '../../../src/store/directory/directory-store.ts'
import { LockedError } from '../../../src/store/directory/lock.ts'
import { type Image, makeImage, noise } from '../../support/image-maker.ts'
import { nameOf } from '../content-store-suite.ts'
import { fill, isIngestError, openStore, putManifests, quietLog, temporaryDirectory } from './support.ts'

const signal = new AbortController().signal
const APP: TagReference = { registry: 'docker.io', name: 'library/app', tag: '1' }
const REPOSITORY = { registry: 'docker.io', name: 'library/app' }
const image = makeImage({ layers: [{ size: 3000, seed: 'restart' }], multiArch: true })

const indexSchema = z.looseObject({ manifests: z.array(z.unknown()) })

async function putImage(store: DirectoryStore, whole: Image): Promise<void> {
  for (const { descriptor, bytes } of whole.blobs) {
    await fill(store, bytes)
    store.noteOrigin(descriptor.digest, { repository: REPOSITORY, isPublic: true })
  }
  await putManifests(store, whole, APP, { asOf: 1_700_000_000_000 })
}

describe('directory store: after a restart', () => {
  it('knows its blobs, tags and sources, and tells of them', async () => {
    await using directory = await temporaryDirectory()
    const first = await openStore({ directory: directory.path })
    await putImage(first.store, image)
    const before = first.store.entries().map(nameOf).toSorted()
    await first.store.stop()

    const store = new DirectoryStore({ directory: directory.path, maxBytes: 1e9, log: quietLog() })
    const told: string[] = []
    store.subscribe(({ type, entry }) => told.push(`${type} ${nameOf(entry)}`))
    await store.start()
    assert.deepEqual(store.entries().map(nameOf).toSorted(), before)
    assert.deepEqual(told.toSorted(), before.map((name) => `added ${name}`).toSorted())
    const known = { descriptor: image.root.descriptor, asOf: 1_700_000_000_000 }
    assert.deepEqual(await store.resolve(APP, { signal }), known)
    for (const { descriptor } of [...image.manifests, ...image.blobs]) {
      assert.deepEqual(await store.sources(descriptor.digest, { signal }), [{ ...REPOSITORY, access: 'public' }])
    }
    await store.stop()
  })

  it('takes no type for what an earlier version wrote where nobody told it one, and keeps the manifest', async () => {
    await using directory = await temporaryDirectory()
    const first = await openStore({ directory: directory.path })
    const { bytes } = image.manifest
    const put = (name: string, mediaType: string) =>
      first.store.putManifest(bytes, {
        descriptor: { ...image.manifest.descriptor, mediaType },
        repository: { ...REPOSITORY, name },
        isPublic: true,
      })
    await put('library/app', 'application/octet-stream')
    await put('library/other', 'application/vnd.test+json')
    await put('library/damaged', 'no type\r\n')
    await first.store.stop()
    await using second = await openStore({ directory: directory.path })
    const { digest } = image.manifest.descriptor
    const typeOf = (name: string) => second.store.mediaType(digest, { ...REPOSITORY, name }, { signal })
    const hint = { mediaType: 'application/vnd.test+json', isRegistrys: false }
    assert.deepEqual(await typeOf('library/app'), hint)
    assert.deepEqual(await typeOf('library/damaged'), hint)
    assert.deepEqual(await typeOf('library/other'), { ...hint, isRegistrys: true })
    assert.equal((await second.store.sources(digest, { signal })).length, 3)
  })

  it('keeps a media type that was a hint as a hint, in place of no word of the registry', async () => {
    await using directory = await temporaryDirectory()
    const first = await openStore({ directory: directory.path })
    const { bytes, descriptor } = image.manifest
    const put = (name: string, mediaType: string, isHint: boolean) => {
      const origin = { descriptor: { ...descriptor, mediaType }, repository: { ...REPOSITORY, name }, isPublic: true }
      return first.store.putManifest(bytes, { ...origin, isHint })
    }
    await put('library/told', 'a/told', false)
    await put('library/told', 'a/lie', true)
    await put('library/app', 'a/hint', true)
    await put('library/later', 'a/hint', true)
    await put('library/later', 'a/later', false)
    await first.store.stop()
    await using second = await openStore({ directory: directory.path })
    const typeOf = (name: string) => second.store.mediaType(descriptor.digest, { ...REPOSITORY, name }, { signal })
    assert.deepEqual(await typeOf('library/told'), { mediaType: 'a/told', isRegistrys: true })
    assert.deepEqual(await typeOf('library/app'), { mediaType: 'a/hint', isRegistrys: false })
    assert.deepEqual(await typeOf('library/later'), { mediaType: 'a/later', isRegistrys: true })
    assert.equal((await typeOf('library/other'))?.isRegistrys, false)
  })

  it('is an OCI image layout that names its images in full', async () => {
    await using directory = await temporaryDirectory()
    const first = await openStore({ directory: directory.path })
    await putImage(first.store, image)
    await first.store.stop()
    const layout = await readFile(join(directory.path, 'oci-layout'), 'utf8')
    assert.deepEqual(JSON.parse(layout), { imageLayoutVersion: '1.0.0' })
    const index = indexSchema.parse(JSON.parse(await readFile(join(directory.path, 'index.json'), 'utf8')))
    assert.equal(index.manifests.length, image.manifests.length)
    assert.deepEqual(index.manifests.at(-1), {
      ...image.root.descriptor,
      annotations: {
        'org.opencontainers.image.ref.name': tagKey(APP),
        'dev.nabo.repository': 'docker.io/library/app',
        'dev.nabo.as-of': '2023-11-14T22:13:20.000Z',
        'dev.nabo.public': 'true',
      },
    })
  })

  it('sweeps what a crash left half written, and ignores what is no blob', async () => {
    await using directory = await temporaryDirectory()
    await mkdir(join(directory.path, 'ingest'), { recursive: true })
    await mkdir(join(directory.path, 'blobs', 'sha256', 'a-directory'), { recursive: true })
    await writeFile(join(directory.path, 'ingest', 'half'), 'half')
    await writeFile(join(directory.path, 'blobs', 'sha256', 'README'), 'not a digest')
    await using opened = await openStore({ directory: directory.path })
    assert.deepEqual(opened.store.entries(), [])
    assert.deepEqual(await readdir(join(directory.path, 'ingest')), [])
    assert.equal(opened.log.warnings.length, 2)
  })

  it('sets a broken index aside and keeps the blobs', async () => {
    for (const broken of ['', '{"schemaVersion":2,"mani', '[]', '{"schemaVersion":1}']) {
      await using directory = await temporaryDirectory()
      const first = await openStore({ directory: directory.path })
      await putImage(first.store, image)
      const blobs = first.store.entries().filter(({ type }) => type === 'blob').length
      await first.store.stop()
      await writeFile(join(directory.path, 'index.json'), broken)
      await using second = await openStore({ directory: directory.path })
      assert.equal(second.store.entries().length, blobs)
      assert.equal(second.log.warnings.length, 1)
      const names = await readdir(directory.path)
      assert.ok(names.includes('index.json.broken'))
      await putImage(second.store, image)
      assert.ok(await second.store.resolve(APP, { signal }))
    }
  })

  it('leaves out entries of the index that are broken, foreign or without their blob', async () => {
    await using directory = await temporaryDirectory()
    const first = await openStore({ directory: directory.path })
    await putImage(first.store, image)
    await first.store.stop()
    const path = join(directory.path, 'index.json')
    const index = indexSchema.parse(JSON.parse(await readFile(path, 'utf8')))
    const absent = { ...Object(index.manifests.at(-1)), digest: digestOf(Buffer.from('absent')) }
    index.manifests.unshift(Object('text'), {}, { ...image.root.descriptor }, absent)
    await writeFile(path, JSON.stringify(index))
    await using second = await openStore({ directory: directory.path })
    assert.deepEqual((await second.store.resolve(APP, { signal }))?.descriptor, image.root.descriptor)
    assert.deepEqual(second.log.warnings, [])
  })

  it('does not serve a blob that was changed meanwhile', async () => {
    await using opened = await openStore()
    const digest = await fill(opened.store, noise('changed', 1000))
    assert.ok(digest)
    await truncate(join(opened.directory, 'blobs', 'sha256', digestHex(digest)), 10)
    assert.equal(await opened.store.open(digest, { signal }), undefined)
    assert.deepEqual(opened.store.entries(), [])
  })
})

describe('directory store: its lock', () => {
  it('is refused to a second store, and free again after the first', async () => {
    await using directory = await temporaryDirectory()
    const first = await openStore({ directory: directory.path })
    await assert.rejects(openStore({ directory: directory.path }), LockedError)
    await first.store.stop()
    const second = await openStore({ directory: directory.path })
    await second.store.stop()
  })

  it('is taken over from a process that was killed', async () => {
    await using directory = await temporaryDirectory()
    const script = `
      import { takeLock } from ${JSON.stringify(join(import.meta.dirname, '../../../src/store/directory/lock.ts'))}
      await takeLock(process.argv[1])
      console.log('held')
      setInterval(() => {}, 1000)`
    const lock = join(directory.path, 'nabo.lock')
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script, lock])
    await once(child.stdout, 'data')
    await assert.rejects(openStore({ directory: directory.path }), LockedError)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const opened = await openStore({ directory: directory.path })
    await opened.store.stop()
  })

  it('is taken over when what it says makes no sense', async () => {
    await using directory = await temporaryDirectory()
    await writeFile(join(directory.path, 'nabo.lock'), '')
    const opened = await openStore({ directory: directory.path })
    await opened.store.stop()
  })
})

describe('directory store: its manifests', () => {
  it('gives a tag to what was said of it last', async () => {
    await using opened = await openStore()
    const { store } = opened
    const put = (seed: string, asOf: number) => {
      const { manifest } = makeImage({ layers: [{ size: 10, seed }] })
      const tag = { reference: APP, asOf }
      const { bytes, descriptor } = manifest
      return store
        .putManifest(bytes, { descriptor, repository: REPOSITORY, isPublic: true, tag })
        .then(() => descriptor)
    }
    const later = await put('later', 2000)
    const earlier = await put('earlier', 1000)
    assert.deepEqual(await store.resolve(APP, { signal }), { descriptor: later, asOf: 2000 })
    await put('later', 3000)
    assert.deepEqual(await store.resolve(APP, { signal }), { descriptor: later, asOf: 3000 })
    await put('earlier', 4000)
    assert.deepEqual(await store.resolve(APP, { signal }), { descriptor: earlier, asOf: 4000 })
    assert.equal((await store.sources(later.digest, { signal })).length, 1)
  })

  it('refuses a manifest that is not what its digest says', async () => {
    await using opened = await openStore()
    const { bytes, descriptor } = image.manifest
    const wrong = Buffer.from(bytes)
    wrong[5] = 0
    const origin = { descriptor, repository: REPOSITORY, isPublic: true }
    await assert.rejects(opened.store.putManifest(wrong, origin), isIngestError('digest-mismatch'))
    assert.deepEqual(opened.store.entries(), [])
  })

  it('writes a manifest once when many bring it at the same time', async () => {
    await using opened = await openStore()
    const added: string[] = []
    opened.store.subscribe(({ entry }) => added.push(nameOf(entry)))
    const { bytes, descriptor } = image.root
    const tag = { reference: APP, asOf: 1 }
    const origin = { descriptor, repository: REPOSITORY, isPublic: true, tag }
    await Promise.all(Array.from({ length: 20 }, () => opened.store.putManifest(bytes, origin)))
    assert.deepEqual(added, [descriptor.digest, tagKey(APP)])
  })
})
