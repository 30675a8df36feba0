import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { describe, it } from 'node:test'

import { digestOf } from '../../../src/oci/digest.ts'
import { tagKey, type TagReference } from '../../../src/oci/reference.ts'
import type { ContentStore, StoreChange } from '../../../src/store/content-store.ts'
import { readAll } from '../../../src/store/read-all.ts'
import { makeImage } from '../../support/image-maker.ts'
import { eventually } from '../../support/poll.ts'
import { nameOf } from '../content-store-suite.ts'
import { contentsOf, Lab, needsContainerd } from './support.ts'

const signal = new AbortController().signal
const APP: TagReference = { registry: 'docker.io', name: 'library/app', tag: '1' }
const image = makeImage({ layers: [{ size: 2000, seed: 'containerd' }] })
const digests = [...image.manifests, ...image.blobs].map(({ descriptor }) => descriptor.digest)

/** What is said of a blob whose label may be on its way. */
const NOT_YET = ['unrecorded.localhost/unrecorded unknown']

function holds(store: ContentStore, ...names: readonly string[]): boolean {
  const held = new Set(store.entries().map(nameOf))
  return names.every((name) => held.has(name))
}

async function accessOf(store: ContentStore, digest: (typeof digests)[number]): Promise<string[]> {
  const sources = await store.sources(digest, { signal })
  return sources.map(({ registry, name, access }) => `${registry}/${name} ${access}`).sort()
}

describe('containerd store: containerd comes and goes', needsContainerd, () => {
  it('starts without containerd, says why it is not ready, and finds it when it comes', async () => {
    await using lab = await Lab.create()
    await using store = lab.store()
    await store.start()
    await eventually('the failure is told', () => {
      const status = store.status()
      return !status.ready && status.reason.includes(`containerd is not reachable at ${lab.socket}: connect ENOENT`)
    })
    assert.equal(await store.open(digestOf(Buffer.of()), { signal }), undefined)
    await lab.start()
    await eventually('the store is ready', () => store.status().ready)
  })

  it('survives a restart: content stays readable, only what differs is told', async () => {
    await using lab = await (await Lab.create()).start()
    await using store = await lab.openStore()
    await lab.pull('k8s.io', image, APP)
    await eventually('all is listed', () => holds(store, ...digests, tagKey(APP)))
    const first = new Set(store.entries().map(nameOf))
    const changes: StoreChange[] = []
    store.subscribe((change) => changes.push(change))

    await lab.containerd.kill()
    await eventually('the loss is told', () => !store.status().ready)
    const blob = await store.open(image.manifest.descriptor.digest, { signal })
    assert.ok(blob)
    assert.deepEqual(await readAll(blob, 10_000), Buffer.from(image.manifest.bytes))
    assert.deepEqual(await accessOf(store, image.manifest.descriptor.digest), ['docker.io/library/app unknown'])
    assert.ok(holds(store, ...digests))

    await lab.start()
    await eventually('the store is ready again', () => store.status().ready)
    const other: TagReference = { ...APP, tag: '2' }
    await lab.pull('k8s.io', makeImage({ layers: [{ size: 1000, seed: 'after the restart' }] }), other)
    await eventually('what is new is listed', () => holds(store, tagKey(other)))
    const again = changes.filter(({ type, entry }) => type === 'added' && first.has(nameOf(entry)))
    assert.deepEqual(again, [])
    assert.ok(!changes.some(({ type, entry }) => type === 'removed' && digests.some((it) => it === nameOf(entry))))
  })

  it('stops at once, whether containerd is there or not', async () => {
    await using lab = await Lab.create()
    const store = lab.store()
    await store.start()
    await store.stop()
    assert.deepEqual(store.status(), { ready: false, reason: 'stopped' })
  })
})

describe('containerd store: what is offered', needsContainerd, () => {
  it('lists everything beside images with odd names', async () => {
    await using lab = await (await Lab.create()).start()
    const odd = [
      'foo bar',
      'UPPER/Case:1',
      `sha256:${'a'.repeat(64)}`,
      'import-2026-01-01@sha256:beef',
      '@',
      ':',
      'a:b:c',
    ]
    const digest = image.manifest.descriptor.digest
    const byDigest = [`import-2026-01-01@${digest}`, `docker.io/library/app@${digest}`, digest]
    await lab.pull('k8s.io', image, APP)
    await lab.tag('k8s.io', tagKey(APP), ...odd, ...byDigest)
    await using store = await lab.openStore()
    assert.ok(holds(store, ...digests, tagKey(APP)))
    const tags = store.entries().filter(({ type }) => type === 'tag')
    assert.deepEqual(tags.map(nameOf), [tagKey(APP)])
    assert.deepEqual(await accessOf(store, digest), ['docker.io/library/app unknown'])
  })

  it('takes what was pulled or imported by the name of the mirror for what the registry behind it has', async () => {
    await using lab = await (await Lab.create()).start()
    const mirror = '127.0.0.1:7950'
    await lab.pull('k8s.io', image, { registry: mirror, name: 'ghcr.io/org/app', tag: '1' })
    const imported = makeImage({ layers: [{ size: 1000, seed: 'imported by the name of the mirror' }] })
    await lab.import('k8s.io', imported, `${mirror}/airgap:1`)
    await using store = await lab.openStore({
      isMirror: (registry) => registry === mirror,
      isMirrorHost: (host) => host === '127.0.0.1',
    })
    const layer = image.layers[0]?.descriptor.digest ?? assert.fail()
    assert.deepEqual(await accessOf(store, layer), ['ghcr.io/org/app unknown'])
    assert.deepEqual(await accessOf(store, imported.layers[0]?.descriptor.digest ?? layer), [
      'docker.io/library/airgap imported',
    ])
    const tags = store.entries().filter(({ type }) => type === 'tag')
    assert.deepEqual(tags.map(nameOf).sort(), ['docker.io/library/airgap:1', 'ghcr.io/org/app:1'])
    await using other = await lab.openStore()
    assert.deepEqual(await accessOf(other, layer), [
      '127.0.0.1/ghcr.io/org/app unknown',
      `${mirror}/ghcr.io/org/app unknown`,
    ])
  })

  it('lists blobs that belong to no image, and tells when they are removed', async () => {
    await using lab = await (await Lab.create()).start()
    await using store = await lab.openStore()
    await lab.pull('k8s.io', image, APP)
    const layer = image.layers[0]?.descriptor.digest ?? digestOf(Buffer.of())
    await eventually('the layer is listed', () => holds(store, layer))
    await lab.ctr('k8s.io', 'content', 'remove', layer)
    await eventually('the layer is gone', () => !holds(store, layer))
    assert.deepEqual(await accessOf(store, layer), [])
    // The bytes outlive their row until the garbage collection.
    await eventually('the file is gone', async () => {
      const file = await store.open(layer, { signal })
      await file?.close()
      return file === undefined
    })
    assert.ok(holds(store, image.manifest.descriptor.digest, tagKey(APP)))
  })

  it('tells of an image that was removed once its garbage is collected', async () => {
    await using lab = await (await Lab.create()).start()
    await using store = await lab.openStore()
    await lab.pull('k8s.io', image, APP)
    await eventually('all is listed', () => holds(store, ...digests, tagKey(APP)))
    await lab.ctr('k8s.io', 'images', 'remove', '--sync', tagKey(APP))
    await eventually('all is gone', () => !digests.some((digest) => holds(store, digest)))
    assert.equal(await store.resolve(APP, { signal }), undefined)
  })

  it('finds a blob on disk in a directory that was named', async () => {
    await using lab = await (await Lab.create()).start()
    await lab.pull('k8s.io', image, APP)
    await using store = await lab.openStore({ contentPath: lab.containerd.contentPath })
    const blob = await store.open(image.config.descriptor.digest, { signal })
    assert.equal(blob?.size, image.config.descriptor.size)
    await blob.close()
  })

  it('follows its files when the content store is emptied', async () => {
    await using lab = await (await Lab.create()).start()
    await using store = await lab.openStore()
    await lab.pull('k8s.io', image, APP)
    await eventually('all is listed', () => holds(store, ...digests))
    // Behind containerd's back: it still lists what is gone.
    await rm(`${lab.containerd.contentPath}/blobs`, { recursive: true })
    assert.equal(await store.open(image.config.descriptor.digest, { signal }), undefined)
  })
})

describe('containerd store: imported images', needsContainerd, () => {
  it('offers an imported image under its own name, down to the layers', async () => {
    await using lab = await (await Lab.create()).start()
    await using store = await lab.openStore()
    const whole = makeImage({ layers: [{ size: 2000, seed: 'imported' }], multiArch: true, attestations: true })
    await lab.import('default', whole, tagKey(APP))
    await eventually('it is listed', () => holds(store, tagKey(APP)))
    for (const { descriptor } of [...whole.manifests, ...whole.blobs]) {
      assert.deepEqual(
        await accessOf(store, descriptor.digest),
        ['docker.io/library/app imported'],
        descriptor.mediaType,
      )
    }
  })

  it('does not take what came from a registry for imported because it got another name', async () => {
    await using lab = await (await Lab.create()).start()
    const secret: TagReference = { registry: 'registry.example:5000', name: 'secret/app', tag: '1' }
    await lab.pull('k8s.io', image, secret)
    await lab.tag('k8s.io', tagKey(secret), tagKey(APP))
    await using store = await lab.openStore()
    for (const digest of digests) {
      assert.deepEqual(await accessOf(store, digest), [
        'registry.example/secret/app unknown',
        'registry.example:5000/secret/app unknown',
      ])
    }
  })

  it('knows a label that another namespace has, even one that is not offered', async () => {
    await using lab = await (await Lab.create()).start()
    await lab.pull('private', image, { registry: 'ghcr.io', name: 'org/secret', tag: '1' })
    await lab.import('default', image, tagKey(APP))
    await using store = await lab.openStore({ namespaces: ['default'] })
    for (const digest of digests) assert.deepEqual(await accessOf(store, digest), ['ghcr.io/org/secret unknown'])
  })

  it('does not take a pulled base layer for imported because an image was built on it', async () => {
    await using lab = await (await Lab.create()).start()
    const built = makeImage({
      layers: [
        { size: 2000, seed: 'containerd' },
        { size: 1000, seed: 'own' },
      ],
    })
    await lab.pull('k8s.io', image, { registry: 'ghcr.io', name: 'org/base', tag: '1' })
    await lab.import('k8s.io', built, tagKey(APP))
    await using store = await lab.openStore()
    const base = image.layers[0]?.descriptor.digest ?? digestOf(Buffer.of())
    assert.deepEqual(await accessOf(store, base), ['ghcr.io/org/base unknown'])
    assert.deepEqual(await accessOf(store, image.manifest.descriptor.digest), ['ghcr.io/org/base unknown'])
    for (const { descriptor } of [built.manifest, built.config, ...built.layers.slice(1)]) {
      assert.deepEqual(await accessOf(store, descriptor.digest), ['docker.io/library/app imported'])
    }
  })

  it('does not take for imported what was labelled after the last listing, in any namespace', async () => {
    await using lab = await (await Lab.create()).start()
    await lab.import('k8s.io', image, tagKey(APP))
    await lab.import('private', image, 'STAGING')
    await using store = await lab.openStore({ namespaces: ['k8s.io'] })
    const layer = image.layers[0]?.descriptor.digest ?? assert.fail()
    assert.deepEqual(await accessOf(store, layer), ['docker.io/library/app imported'])
    await lab.label('private', image.layers, { registry: 'ghcr.io', name: 'org/secret' })
    assert.deepEqual(await accessOf(store, layer), ['ghcr.io/org/secret unknown'])
    // An unlabelled blob beside it may have a label by now.
    await lab.containerd.kill()
    await eventually('the loss is told', () => !store.status().ready)
    assert.deepEqual(await accessOf(store, image.config.descriptor.digest), NOT_YET)
  })

  it('does not take for imported what was committed a moment ago: its label may be on its way', async () => {
    await using lab = await (await Lab.create()).start()
    await lab.import('k8s.io', image, tagKey(APP))
    await using store = await lab.openStore({ labelDelay: 60_000 })
    await using patient = await lab.openStore({ labelDelay: 1500 })
    for (const digest of digests) assert.deepEqual(await accessOf(store, digest), NOT_YET)
    await eventually('it is old enough', async () => (await accessOf(patient, digests[0] ?? assert.fail())).length > 0)
    await lab.label('k8s.io', contentsOf(image), { registry: 'ghcr.io', name: 'org/app' })
    for (const digest of digests) assert.deepEqual(await accessOf(store, digest), ['ghcr.io/org/app unknown'])
  })

  it('learns the label of a pull that another pull was quicker than', async () => {
    await using lab = await (await Lab.create()).start()
    await lab.import('k8s.io', image, 'STAGING')
    await lab.label('k8s.io', contentsOf(image), { registry: 'evil.example', name: 'lists/it' })
    await using store = await lab.openStore({ labelDelay: 60_000 })
    await lab.label('k8s.io', contentsOf(image), { registry: 'ghcr.io', name: 'org/secret' })
    for (const digest of digests) {
      assert.deepEqual(await accessOf(store, digest), ['evil.example/lists/it unknown', 'ghcr.io/org/secret unknown'])
    }
  })

  it('learns a label that was set after the blob was listed', async () => {
    await using lab = await (await Lab.create()).start()
    await using store = await lab.openStore()
    await lab.import('k8s.io', image, 'STAGING')
    await eventually('it is listed', () => holds(store, ...digests))
    await lab.label('k8s.io', contentsOf(image), { registry: 'docker.io', name: 'library/late' })
    for (const digest of digests) assert.deepEqual(await accessOf(store, digest), ['docker.io/library/late unknown'])
  })
})

describe('containerd store: namespaces', needsContainerd, () => {
  it('offers the content of all namespaces, those that appear later included', async () => {
    await using lab = await (await Lab.create()).start()
    await using store = await lab.openStore()
    const other: TagReference = { registry: 'quay.io', name: 'org/other', tag: 'x' }
    const second = makeImage({ layers: [{ size: 1000, seed: 'second' }] })
    await lab.pull('first', image, APP)
    await lab.pull('second', second, other)
    await eventually('both are listed', () => holds(store, ...digests, tagKey(APP), tagKey(other)))
  })

  it('offers only those named', async () => {
    await using lab = await (await Lab.create()).start()
    const hidden = makeImage({ layers: [{ size: 1000, seed: 'hidden' }] })
    const hiddenTag: TagReference = { ...APP, tag: 'hidden' }
    await lab.pull('k8s.io', image, APP)
    await lab.pull('moby', hidden, hiddenTag)
    await using store = await lab.openStore({ namespaces: ['k8s.io'] })
    assert.ok(holds(store, ...digests, tagKey(APP)))
    for (const { descriptor } of [...hidden.manifests, ...hidden.blobs]) {
      assert.ok(!holds(store, descriptor.digest))
      assert.equal(await store.open(descriptor.digest, { signal }), undefined)
      assert.deepEqual(await accessOf(store, descriptor.digest), [])
    }
    assert.equal(await store.resolve(hiddenTag, { signal }), undefined)
  })
})
