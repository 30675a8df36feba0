import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { type Repository, type TagReference, tagKey } from '../../src/oci/reference.ts'
import type { ContentStore, StoreChange, StoreEntry } from '../../src/store/content-store.ts'
import { readAll } from '../../src/store/read-all.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'

/** A store of the kind under test, running and empty, and ways to change what it holds. */
export interface StoreHarness extends AsyncDisposable {
  readonly store: ContentStore
  /** Makes it hold an image that came from its tag's repository. Need not wait until the store tells. */
  put(image: Image, tag: TagReference): Promise<void>
  /** Takes a blob away. */
  drop(digest: Digest): Promise<void>
}

/** Of a store that records itself where its content came from. */
export interface RecordingHarness extends StoreHarness {
  /** Makes it hold the manifests of an image that came from its tag's repository; what they list need not have come from there. */
  putManifests(image: Image, tag: TagReference): Promise<void>
}

const signal = new AbortController().signal
const APP: TagReference = { registry: 'docker.io', name: 'library/app', tag: '1' }
const UNKNOWN = digestOf(Buffer.from('held by nobody'))
const image = makeImage({ layers: [{ size: 300_000, seed: 'suite' }], multiArch: true, attestations: true })

/** What every content store does. */
export function contentStoreSuite(kind: string, create: () => Promise<StoreHarness>, options: { skip?: string }): void {
  describe(`content store: ${kind}`, options, () => {
    const contents = [...image.manifests, ...image.blobs]
    const everything = [...contents.map(({ descriptor }) => descriptor.digest), tagKey(APP)]

    it('holds nothing at first, and is ready', async () => {
      await using harness = await create()
      assert.deepEqual(harness.store.status(), { ready: true })
      assert.deepEqual(harness.store.entries(), [])
      assert.equal(await harness.store.open(UNKNOWN, { signal }), undefined)
      assert.deepEqual(await harness.store.sources(UNKNOWN, { signal }), [])
      assert.equal(await harness.store.resolve(APP, { signal }), undefined)
    })

    it('lists and tells of every blob and tag of an image, once, whatever its media type', async () => {
      await using harness = await create()
      const changes: StoreChange[] = []
      harness.store.subscribe((change) => changes.push(change))
      await harness.put(image, APP)
      await listed(harness.store, everything)
      // Other things may come and go: the import of a file keeps its table of contents for a while.
      const told = changes.map(({ type, entry }) => `${type} ${nameOf(entry)}`)
      for (const name of everything) {
        assert.equal(told.filter((text) => text === `added ${name}`).length, 1, name)
        assert.ok(!told.includes(`removed ${name}`), name)
      }
    })

    it('opens a blob and reads it from any position', async () => {
      await using harness = await create()
      await harness.put(image, APP)
      for (const { descriptor, bytes } of contents) {
        const blob = await held(harness.store, descriptor.digest)
        assert.equal(blob.size, descriptor.size)
        const whole = await readAll(blob, descriptor.size)
        assert.equal(Buffer.compare(whole ?? Buffer.of(), bytes), 0)
      }
      const layer = image.layers[0]
      assert.ok(layer)
      const blob = await held(harness.store, layer.descriptor.digest)
      const part = Buffer.alloc(1000)
      assert.equal(await blob.read(part, 70_000), 1000)
      assert.deepEqual(part, Buffer.from(layer.bytes.subarray(70_000, 71_000)))
      assert.equal(await blob.read(part, layer.bytes.length - 10), 10)
      assert.equal(await blob.read(part, layer.bytes.length), 0)
      await blob.close()
    })

    it('keeps an open blob readable when it is dropped meanwhile', async () => {
      await using harness = await create()
      await harness.put(image, APP)
      const layer = image.layers[0]
      assert.ok(layer)
      const { digest, size } = layer.descriptor
      const blob = await held(harness.store, digest)
      await harness.drop(digest)
      await eventually('it is gone', async () => {
        const again = await harness.store.open(digest, { signal })
        await again?.close()
        return again === undefined
      })
      const bytes = await readAll(blob, size)
      assert.equal(Buffer.compare(bytes ?? Buffer.of(), layer.bytes), 0)
    })

    it('names the repository of everything that the image consists of', async () => {
      await using harness = await create()
      await harness.put(image, APP)
      for (const { descriptor } of contents) {
        await eventually(`${descriptor.digest} has its source`, async () => {
          const sources = await harness.store.sources(descriptor.digest, { signal })
          return sources.length === 1 && sources[0]?.registry === APP.registry && sources[0].name === APP.name
        })
      }
    })

    it('shares a blob between repositories', async () => {
      await using harness = await create()
      const other: TagReference = { registry: 'ghcr.io', name: 'org/other', tag: 'v2' }
      const second = makeImage({ layers: [{ size: 300_000, seed: 'suite' }], annotations: { other: 'one' } })
      await harness.put(image, APP)
      await harness.put(second, other)
      const layer = image.layers[0]?.descriptor.digest ?? UNKNOWN
      await eventually('both repositories are named', async () => {
        const sources = await harness.store.sources(layer, { signal })
        return (
          sources
            .map(({ name }) => name)
            .sort()
            .join() === 'library/app,org/other'
        )
      })
      assert.deepEqual(
        (await harness.store.sources(second.manifest.descriptor.digest, { signal })).map(({ name }) => name),
        ['org/other'],
      )
    })

    it('lists the manifests that a repository is recorded for, while they are held', async () => {
      await using harness = await create()
      const { store } = harness
      await harness.put(image, APP)
      const listed = async (repository: Repository) => [...(await store.manifestsOf(repository, { signal }))].sort()
      const all = image.manifests.map(({ descriptor }) => descriptor.digest).sort()
      await eventually('all are listed', async () => (await listed(APP)).length === all.length)
      assert.deepEqual(await listed(APP), all)
      assert.deepEqual(await listed({ registry: 'ghcr.io', name: 'org/other' }), [])
      await harness.drop(image.manifest.descriptor.digest)
      await eventually('one is gone', async () => (await listed(APP)).length === all.length - 1)
    })

    it('tells the media type of each manifest, as the word of the registry for its own repository alone', async () => {
      await using harness = await create()
      const { store } = harness
      const docker = makeImage({ layers: [{ size: 1000, seed: 'types' }], multiArch: true, mediaTypes: 'docker' })
      await harness.put(docker, APP)
      const typeOf = async (digest: Digest, repository: Repository = APP) =>
        store.mediaType(digest, repository, { signal })
      const { mediaType } = docker.root.descriptor
      const root = docker.root.descriptor.digest
      await eventually('it is known', async () => (await typeOf(root))?.isRegistrys === true)
      assert.deepEqual(await typeOf(root), { mediaType, isRegistrys: true })
      const other = { registry: 'ghcr.io', name: 'org/other' }
      assert.deepEqual(await typeOf(root, other), { mediaType, isRegistrys: false })
      // A store may leave it to the bytes.
      for (const { descriptor } of docker.manifests)
        assert.equal((await typeOf(descriptor.digest))?.mediaType ?? descriptor.mediaType, descriptor.mediaType)
      for (const { descriptor } of docker.blobs) assert.equal(await typeOf(descriptor.digest), undefined)
      assert.equal(await typeOf(UNKNOWN), undefined)
      await harness.drop(root)
      await eventually('it is forgotten', async () => (await typeOf(root)) === undefined)
    })

    it('resolves a tag to what it names, and to the new one when it has moved', async () => {
      await using harness = await create()
      await harness.put(image, APP)
      await eventually('the tag is known', async () => (await harness.store.resolve(APP, { signal })) !== undefined)
      const first = await harness.store.resolve(APP, { signal })
      assert.deepEqual(first?.descriptor, image.root.descriptor)
      assert.ok(first.asOf > Date.now() - 3_600_000 && first.asOf < Date.now() + 3_600_000)
      assert.equal(await harness.store.resolve({ ...APP, tag: '2' }, { signal }), undefined)

      const next = makeImage({ layers: [{ size: 1000, seed: 'next' }] })
      await harness.put(next, APP)
      await eventually('the tag has moved', async () => {
        const known = await harness.store.resolve(APP, { signal })
        return known?.descriptor.digest === next.root.descriptor.digest
      })
    })

    it('tells of a blob that was dropped, and of the tag that named it', async () => {
      await using harness = await create()
      await harness.put(image, APP)
      await listed(harness.store, everything)
      const removed: string[] = []
      harness.store.subscribe(({ type, entry }) => {
        if (type === 'removed') removed.push(nameOf(entry))
      })
      const root = image.root.descriptor.digest
      await harness.drop(root)
      await eventually('it was told', () => removed.includes(root) && removed.includes(tagKey(APP)))
      assert.equal(await harness.store.resolve(APP, { signal }), undefined)
      assert.ok(!harness.store.entries().map(nameOf).includes(root))
    })

    it('lists the most recent first', async () => {
      await using harness = await create()
      await harness.put(image, APP)
      await listed(harness.store, everything)
      const next = makeImage({ layers: [{ size: 1000, seed: 'later' }] })
      const tag = { ...APP, tag: 'later' }
      await harness.put(next, tag)
      const later = [...[...next.manifests, ...next.blobs].map(({ descriptor }) => descriptor.digest), tagKey(tag)]
      await listed(harness.store, later)
      const names = harness.store.entries().map(nameOf)
      const of = (wanted: string[], kind: 'blob' | 'tag') =>
        wanted.filter((name) => name.startsWith('sha256:') === (kind === 'blob')).map((name) => names.indexOf(name))
      assert.ok(Math.max(...of(later, 'blob')) < Math.min(...of(everything, 'blob')))
      assert.ok(Math.max(...of(later, 'tag')) < Math.min(...of(everything, 'tag')))
    })

    it('stops telling a listener that has left', async () => {
      await using harness = await create()
      let heard = 0
      let others = 0
      const leave = harness.store.subscribe(() => heard++)
      harness.store.subscribe(() => others++)
      leave()
      await harness.put(image, APP)
      await eventually('the other one has heard all', () => others > contents.length)
      assert.equal(heard, 0)
    })

    it('does nothing for a caller that has given up', async () => {
      await using harness = await create()
      const reason = new Error('given up')
      const gone = { signal: AbortSignal.abort(reason) }
      await assert.rejects(harness.store.open(UNKNOWN, gone), reason)
      await assert.rejects(harness.store.sources(UNKNOWN, gone), reason)
      await assert.rejects(harness.store.resolve(APP, gone), reason)
      await assert.rejects(harness.store.mediaType(UNKNOWN, APP, gone), reason)
      await assert.rejects(harness.store.manifestsOf(APP, gone), reason)
    })
  })
}

/** What every content store does that records itself where its content came from; the rest of {@link contentStoreSuite} too. */
export function recordingStoreSuite(
  kind: string,
  create: () => Promise<RecordingHarness>,
  options: { skip?: string },
): void {
  contentStoreSuite(kind, create, options)
  describe(`the sources of a content store: ${kind}`, options, () => {
    it('names no repository of which a manifest lists a blob that came from elsewhere', async () => {
      await using harness = await create()
      const other: TagReference = { registry: 'ghcr.io', name: 'org/lister', tag: 'v2' }
      const second = makeImage({ layers: [{ size: 300_000, seed: 'suite' }], annotations: { lists: 'only' } })
      await harness.put(image, APP)
      await harness.putManifests(second, other)
      await eventually(
        'the second image is there',
        async () => (await harness.store.resolve(other, { signal })) !== undefined,
      )
      const namesOf = async (digest: Digest) =>
        (await harness.store.sources(digest, { signal })).map(({ name }) => name).join()
      await eventually(
        'its manifest has its source',
        async () => (await namesOf(second.root.descriptor.digest)) === other.name,
      )
      assert.equal(await namesOf(image.layers[0]?.descriptor.digest ?? UNKNOWN), APP.name)
    })
  })
}

async function listed(store: ContentStore, wanted: readonly string[]): Promise<void> {
  await eventually('all is listed', () => {
    const names = new Set(store.entries().map(nameOf))
    return wanted.every((name) => names.has(name))
  })
}

export function nameOf(entry: StoreEntry): string {
  return entry.type === 'blob' ? entry.digest : tagKey(entry.tag)
}

async function held(store: ContentStore, digest: Digest) {
  const blob = await store.open(digest, { signal })
  assert.ok(blob, `${digest} is held`)
  return blob
}
