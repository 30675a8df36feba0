import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdir, rm, statfs, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { type Digest, digestHex, digestOf } from '../../../src/oci/digest.ts'
import { tagKey, type TagReference } from '../../../src/oci/reference.ts'
import type { DirectoryStore } from '../../../src/store/directory/directory-store.ts'
import { makeImage, noise } from '../../support/image-maker.ts'
import { nameOf } from '../content-store-suite.ts'
import { fill, isIngestError, openStore, temporaryDirectory } from './support.ts'

const signal = new AbortController().signal
const blobs = ['a', 'b', 'c', 'd', 'e'].map((seed) => noise(seed, 1000))
const [a, b, c, d, e] = blobs.map((bytes) => digestOf(bytes))
assert.ok(a && b && c && d && e)

async function fillWith(store: DirectoryStore, from: number, to: number): Promise<void> {
  for (const bytes of blobs.slice(from, to)) assert.ok(await fill(store, bytes))
}

const held = (store: DirectoryStore) => store.entries().map(nameOf)

async function use(store: DirectoryStore, digest: Digest): Promise<void> {
  const blob = await store.open(digest, { signal })
  assert.ok(blob)
  await blob.close()
}

describe('directory store: its bound', () => {
  it('lets the least recently used go first, and tells', async () => {
    await using opened = await openStore({ maxBytes: 3000 })
    const { store, directory } = opened
    const removed: string[] = []
    store.subscribe(({ type, entry }) => {
      if (type === 'removed') removed.push(nameOf(entry))
    })
    await fillWith(store, 0, 3)
    await use(store, a)
    await fillWith(store, 3, 4)
    assert.deepEqual(held(store).toSorted(), [a, c, d].toSorted())
    assert.deepEqual(removed, [b])
    assert.equal((await readdir(join(directory, 'blobs', 'sha256'))).length, 3)
  })

  it('never lets one go that is being read', async () => {
    await using opened = await openStore({ maxBytes: 3000 })
    const { store } = opened
    await fillWith(store, 0, 3)
    const reading = await store.open(a, { signal })
    await fillWith(store, 3, 5)
    assert.deepEqual(held(store).toSorted(), [a, d, e].toSorted())
    await reading?.close()
    assert.ok(await fill(store, noise('f', 1000)))
    assert.ok(!held(store).includes(a))
  })

  it('takes nothing in while everything is being read', async () => {
    await using opened = await openStore({ maxBytes: 2000 })
    const { store } = opened
    await fillWith(store, 0, 2)
    const reading = [await store.open(a, { signal }), await store.open(b, { signal })]
    assert.equal(await store.ingest(c, { size: 1000 }), undefined)
    for (const blob of reading) await blob?.close()
    assert.ok(await fill(store, blobs[2] ?? Buffer.of()))
  })

  it('takes nothing in that is larger than itself', async () => {
    await using opened = await openStore({ maxBytes: 3000 })
    await fillWith(opened.store, 0, 3)
    assert.equal(await opened.store.ingest(d, { size: 3001 }), undefined)
    assert.equal(held(opened.store).length, 3)
  })

  it('counts what is on its way, and counts it no more when it was given up and nobody reads it', async () => {
    await using opened = await openStore({ maxBytes: 3000 })
    const { store } = opened
    const first = await store.ingest(a, { size: 2000 })
    assert.ok(first)
    assert.equal(await store.ingest(b, { size: 1500 }), undefined)
    const reader = await first.open()
    await first.abort(new Error('no more'))
    assert.equal(await store.ingest(b, { size: 1500 }), undefined)
    await reader.close()
    const second = await store.ingest(b, { size: 1500 })
    assert.ok(second)
    await second.abort(new Error('enough'))
  })

  it('keeps one that is read through its ingest after the commit', async () => {
    await using opened = await openStore({ maxBytes: 2000 })
    const { store } = opened
    const ingest = await store.ingest(a, { size: 1000 })
    const reader = await ingest?.open()
    await ingest?.write(blobs[0] ?? Buffer.of())
    await ingest?.commit()
    await fill(store, blobs[1] ?? Buffer.of())
    await fill(store, blobs[2] ?? Buffer.of())
    assert.deepEqual(held(store).toSorted(), [a, c].toSorted())
    await reader?.close()
    await fill(store, blobs[3] ?? Buffer.of())
    assert.deepEqual(held(store).toSorted(), [c, d].toSorted())
  })

  it('forgets the tag and the repository with the manifest', async () => {
    const image = makeImage({ layers: [{ size: 100, seed: 'small' }] })
    const [bytes, layer] = [image.manifest.bytes, image.layers[0]]
    assert.ok(layer)
    await using opened = await openStore({ maxBytes: layer.descriptor.size + bytes.length + 100 })
    const { store } = opened
    const reference: TagReference = { registry: 'docker.io', name: 'library/app', tag: '1' }
    const { descriptor } = image.manifest
    await store.putManifest(bytes, {
      descriptor,
      repository: { registry: 'docker.io', name: 'library/app' },
      isPublic: true,
      tag: { reference, asOf: 1 },
    })
    await fill(store, layer.bytes)
    assert.equal((await store.sources(descriptor.digest, { signal })).length, 1)
    assert.ok(await fill(store, noise('pushes the manifest out', 101)))
    assert.ok(!held(store).includes(descriptor.digest))
    assert.ok(!held(store).includes(tagKey(reference)))
    assert.equal(await store.resolve(reference, { signal }), undefined)
    await store.putManifest(bytes, {
      descriptor,
      repository: { registry: 'ghcr.io', name: 'org/other' },
      isPublic: true,
    })
    assert.deepEqual(
      (await store.sources(descriptor.digest, { signal })).map(({ name }) => name),
      ['org/other'],
    )
  })

  it('remembers over a restart what was used, and obeys a lower bound', async () => {
    await using directory = await temporaryDirectory()
    const first = await openStore({ directory: directory.path, maxBytes: 4000 })
    await fillWith(first.store, 0, 4)
    await first.store.stop()
    // The clock of the file system is too coarse to tell four blobs apart.
    for (const [hour, digest] of [a, b, c, d].entries()) {
      const time = new Date(2026, 0, 1, hour)
      await utimes(join(directory.path, 'blobs', 'sha256', digestHex(digest)), time, time)
    }
    const second = await openStore({ directory: directory.path, maxBytes: 4000 })
    await use(second.store, a)
    await second.store.stop()
    const third = await openStore({ directory: directory.path, maxBytes: 2000 })
    assert.deepEqual(held(third.store), [a, d])
    assert.equal((await readdir(join(directory.path, 'blobs', 'sha256'))).length, 2)
    await third.store.stop()
  })
})

const mountable = canMount()

describe('directory store: a full disk', mountable ? {} : { skip: 'needs root and mount' }, () => {
  it('is an error that says so in the middle of a blob, and a pause after it', async () => {
    await using disk = await smallDisk()
    await using opened = await openStore({ directory: disk.path, maxBytes: 10_000_000 })
    const { store } = opened
    const bytes = noise('too much', 600_000)
    const ingest = await store.ingest(digestOf(bytes), { size: bytes.length })
    assert.ok(ingest)
    const reader = await ingest.open()
    await ingest.write(bytes.subarray(0, 100_000))
    await fillUp(disk.path)
    await assert.rejects(ingest.write(bytes.subarray(100_000)), isIngestError('disk-full'))
    await assert.rejects(ingest.commit(), isIngestError('disk-full'))
    const part = Buffer.alloc(10)
    assert.equal(await reader.read(part, 90_000, { signal }), 10)
    await assert.rejects(reader.read(part, 500_000, { signal }), isIngestError('disk-full'))
    await reader.close()
    assert.deepEqual(await readdir(join(disk.path, 'ingest')), [])
    await rm(join(disk.path, 'filler'))
    assert.equal(await store.ingest(digestOf(bytes), { size: bytes.length }), undefined)
  })

  it('loses a manifest without a word to its reader', async () => {
    await using disk = await smallDisk()
    await using opened = await openStore({ directory: disk.path, maxBytes: 10_000_000 })
    const { manifest } = makeImage({ layers: [{ size: 100, seed: 'small' }] })
    await fillUp(disk.path)
    const repository = { registry: 'docker.io', name: 'library/app' }
    await opened.store.putManifest(manifest.bytes, { descriptor: manifest.descriptor, repository, isPublic: true })
    assert.deepEqual(opened.store.entries(), [])
  })

  it('lets old blobs go for a new one when the disk is smaller than the bound', async () => {
    await using disk = await smallDisk()
    await using opened = await openStore({ directory: disk.path, maxBytes: 10_000_000 })
    const [first, second] = [noise('first', 700_000), noise('second', 700_000)]
    assert.ok(await fill(opened.store, first))
    assert.ok(await fill(opened.store, second))
    assert.deepEqual(held(opened.store), [digestOf(second)])
    assert.equal(await opened.store.ingest(a, { size: 2_000_000 }), undefined)
  })
})

async function fillUp(path: string): Promise<void> {
  const { bavail, bsize } = await statfs(path)
  await writeFile(join(path, 'filler'), Buffer.alloc(bavail * bsize))
}

async function smallDisk(): Promise<AsyncDisposable & { path: string }> {
  const directory = await temporaryDirectory()
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory.path])
  return {
    path: directory.path,
    [Symbol.asyncDispose]: async () => {
      execFileSync('umount', [directory.path])
      await directory[Symbol.asyncDispose]()
    },
  }
}

/** Root alone does not do: a container may lack the capability. */
function canMount(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
