import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { ManifestMemory } from '../../../src/delivery/manifests/manifest-memory.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { minute } from '../../../src/time/units.ts'

const app = { registry: 'docker.io', name: 'library/app' }
const manifestOf = (index: number, size = 100) => {
  const bytes = Buffer.alloc(size, `manifest ${index}`)
  const digest = digestOf(bytes)
  return { bytes, digest, descriptor: { digest, size, mediaType: 'a/b' }, isRegistrys: true }
}

describe('manifests that passed by', () => {
  it('are remembered, those used last', () => {
    const memory = new ManifestMemory(minute)
    const all = Array.from({ length: 65 }, (_, index) => manifestOf(index))
    for (const manifest of all.slice(0, 64)) memory.put(app, manifest)
    const [first, second, last] = [all[0], all[1], all[64]]
    assert.ok(first && second && last)
    assert.equal(memory.get(app, first.digest)?.bytes, first.bytes)
    memory.put(app, last)
    assert.equal(memory.get(app, first.digest)?.bytes, first.bytes)
    assert.equal(memory.get(app, second.digest), undefined)
    assert.equal(memory.get(app, last.digest)?.bytes, last.bytes)
  })

  it('take no more than 16 MiB', () => {
    const memory = new ManifestMemory(minute)
    const all = Array.from({ length: 5 }, (_, index) => manifestOf(index, 4 * 1024 * 1024))
    for (let round = 0; round < 2; round += 1) for (const manifest of all) memory.put(app, manifest)
    const kept = all.filter(({ digest }) => memory.get(app, digest) !== undefined)
    assert.deepEqual(kept, all.slice(1))
  })

  it('keep the word of each registry for its own repository, and give the word about another one as a hint', () => {
    const memory = new ManifestMemory(minute)
    const { bytes, digest, descriptor } = manifestOf(1)
    const put = (name: string, mediaType: string, isRegistrys: boolean) =>
      memory.put({ ...app, name }, { bytes, descriptor: { ...descriptor, mediaType }, isRegistrys })
    put('good', 'a/good', true)
    put('good', 'a/lie', false)
    put('evil', 'a/evil', true)
    put('heard', 'a/heard', false)
    const get = (name: string) => memory.get({ ...app, name }, digest)
    assert.deepEqual(get('good'), { bytes, told: { mediaType: 'a/good', isRegistrys: true }, hint: undefined })
    assert.deepEqual(get('heard'), { bytes, told: { mediaType: 'a/heard', isRegistrys: false }, hint: undefined })
    assert.deepEqual(get('new'), { bytes, told: undefined, hint: { mediaType: 'a/heard', isRegistrys: false } })
    for (let index = 0; index < 20; index += 1) put(`n${index}`, 'a/b', true)
    assert.equal(get('good')?.told, undefined)
  })

  it('are forgotten after their time', async () => {
    const memory = new ManifestMemory(1)
    const manifest = manifestOf(1)
    memory.put(app, manifest)
    await sleep(10)
    assert.equal(memory.get(app, manifest.digest), undefined)
    assert.equal(memory.get(app, manifest.digest), undefined)
  })
})
