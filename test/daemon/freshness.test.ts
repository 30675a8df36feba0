import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'

const accept = MANIFEST_ACCEPT.join(', ')

describe('a node whose tags are to be fresh', () => {
  let hub: Hub
  let image: Image
  let node: TestDaemon
  let directory: string

  before(async () => {
    image = makeImage({ layers: [{ size: 5000, seed: 'fresh' }], multiArch: true })
    hub = await createHub()
    await hub.publish('app', '1', image)
  })
  after(() => hub.close())
  beforeEach(async () => {
    await hub.reset()
    directory = await mkdtemp(join(tmpdir(), 'nabo-fresh-'))
    node = await start()
  })
  afterEach(async () => {
    await node.stop()
    await rm(directory, { recursive: true, force: true })
  })

  const start = (flags: readonly string[] = []) =>
    runDaemon(['--upstream', `docker.io=${hub.registryUrl}`, ...flags], { directory })

  const manifest = async (reference: string, method = 'GET') => {
    const response = await fetch(`${node.mirror}/v2/library/app/manifests/${reference}`, {
      method,
      headers: { accept },
    })
    await response.arrayBuffer()
    assert.equal(response.status, 200)
  }
  const metrics = async () => {
    const lines = (await (await fetch(`${node.admin}/metrics`)).text()).split('\n')
    const valueOf = (name: string) => Number(lines.find((line) => line.startsWith(`${name} `))?.split(' ')[1])
    return {
      total: valueOf('nabo_stale_tags_total'),
      last: valueOf('nabo_stale_tag_age_seconds{which="last"}'),
      max: valueOf('nabo_stale_tag_age_seconds{which="max"}'),
    }
  }

  it('asks nothing about tags for a pull by digest', async () => {
    for (const { descriptor } of [image.root, image.manifest]) {
      await manifest(descriptor.digest, 'HEAD')
      await manifest(descriptor.digest)
    }
    for (const { descriptor } of [image.config, ...image.layers]) {
      const response = await fetch(`${node.mirror}/v2/library/app/blobs/${descriptor.digest}`)
      assert.equal(response.status, 200)
      await response.arrayBuffer()
    }
    const asked = (await hub.requests()).filter(({ origin }) => origin === 'registry')
    assert.ok(asked.length > 0)
    assert.deepEqual(
      asked.filter(({ method, path }) => method === 'HEAD' || !path.includes('sha256:')),
      [],
    )
  })

  it('says how old a tag is that it answers though its registry cannot be asked', async () => {
    await hub.setFaults({ dateOffsetMs: -120_000 })
    await manifest('1')
    assert.deepEqual(await metrics(), { total: 0, last: 0, max: 0 })
    await node.stop()
    // What it knew before is in its cache; that it asked a moment ago is not.
    node = await start()
    await hub.setFaults(everywhere({ status: 429, text: 'Too Many Requests' }))
    await manifest('1')
    await manifest('1', 'HEAD')
    const { total, last, max } = await metrics()
    assert.equal(total, 2)
    assert.ok(last >= 120 && max >= last, `${last} s, at most ${max} s`)
    const lines = node.lines.filter(({ msg }) => msg === 'a tag is answered without its upstream')
    assert.deepEqual(
      lines.map(({ level, tag, ageSeconds }) => [level, tag, Number(ageSeconds) >= 120]),
      [1, 2].map(() => [40, 'docker.io/library/app:1', true]),
    )
  })

  it('counts nothing as stale where the neighbours are to answer', async () => {
    await manifest('1')
    await node.stop()
    node = await start(['--tag-policy', 'peers'])
    await hub.reset()
    await manifest('1')
    // That the registry still shows the content is another question, by digest.
    const asked = (await hub.requests()).filter(({ path }) => path.endsWith('/manifests/1'))
    assert.deepEqual(asked, [])
    assert.equal((await metrics()).total, 0)
  })
})
