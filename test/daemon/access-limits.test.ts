// Which registries a node asks for what, what it leaves out, and that wrong bytes never look complete.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { createHub } from '../support/hub/create-hub.ts'
import { makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { RightsLab } from '../support/rights-lab.ts'
import { SmallRegistry } from '../support/small-registry.ts'

const image = makeImage({ layers: [{ size: 400_000, seed: 'limits' }] })
const layer = image.layers[0]?.descriptor.digest ?? assert.fail()
const manifest = image.manifest.descriptor.digest

describe('a node with registries of which it was told', () => {
  let lab: RightsLab

  beforeEach(async () => {
    lab = await RightsLab.create()
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  it('sends no GET to a registry that --fallback leaves out, whatever its HEAD answers lack', async () => {
    await using registry = await SmallRegistry.start({ bareHeads: true })
    registry.publish('x/y', '1', image)
    const node = await lab.start(['--upstream', `reg.test=${registry.url}`, '--fallback', 'docker.io'])
    for (const method of ['HEAD', 'GET']) {
      for (const [kind, reference] of [
        ['manifests', '1'],
        ['manifests', manifest],
        ['blobs', layer],
      ] as const) {
        for (const login of [undefined, 'ann:a']) {
          const { status } = await lab.ask(node, { registry: 'reg.test', name: 'x/y', kind, reference, method, login })
          assert.equal(status, 404, `${method} ${reference} ${login}`)
        }
      }
    }
    assert.ok(registry.seen.length > 0)
    assert.deepEqual(new Set(registry.seen.map(({ method }) => method)), new Set(['HEAD']))
  })

  it('neither advertises nor gives what --registries leaves out', async () => {
    await using registry = await SmallRegistry.start()
    registry.publish('x/y', '1', image)
    const own = makeImage({ layers: [{ size: 5000, seed: 'of another registry' }] })
    await using hub = await SmallRegistry.start()
    hub.publish('library/app', '1', own)
    const upstreams = ['--upstream', `reg.test=${registry.url}`, '--upstream', `docker.io=${hub.url}`]
    const directory = `${lab.directory}/a`
    const before = await lab.start([...upstreams, '--fallback', 'all'], { directory })
    const asked = { registry: 'reg.test', name: 'x/y' }
    for (const reference of ['1', manifest]) await lab.ask(before, { ...asked, kind: 'manifests', reference })
    await lab.ask(before, { ...asked, reference: layer })
    for (const reference of ['1', own.manifest.descriptor.digest])
      await lab.ask(before, { name: 'library/app', kind: 'manifests', reference })
    await lab.stop(before)
    const a = await lab.start([...upstreams, '--registries', 'docker.io'], { directory })
    const b = await lab.start(['--upstream', `docker.io=${hub.url}`, '--upstream', `reg.test=${registry.url}`])
    await lab.together()
    // The manifest of the registry that is mirrored, and its tag.
    await eventually('what is mirrored is advertised', async () => {
      const { blobs, index } = await a.status()
      return blobs === 3 && index.ownKeys === 2 && index.peersInSync === 1
    })
    registry.isDown = true
    hub.isDown = true
    for (const node of [a, b]) {
      for (const [kind, reference] of [
        ['manifests', '1'],
        ['manifests', manifest],
        ['blobs', layer],
      ] as const)
        assert.equal((await lab.ask(node, { ...asked, kind, reference })).status, 404)
      const mirrored = { name: 'library/app', kind: 'manifests', reference: own.manifest.descriptor.digest } as const
      assert.equal((await lab.ask(node, mirrored)).status, 200)
    }
    // A neighbour that asks all the same gets nothing either.
    const find = await fetch(`${b.admin}/api/v1/find?image=${layer}`)
    assert.doesNotMatch(await find.text(), new RegExp(a.peer.slice('http://'.length)))
  })

  it('never ends a blob well whose bytes are not those of its digest', async () => {
    await using hub = await createHub()
    await hub.publish('app', '1', image)
    const node = await lab.start(['--upstream', `docker.io=${hub.registryUrl}`])
    await hub.setFaults({ corrupt: [layer] })
    const ask = () => lab.ask(node, { name: 'library/app', reference: layer })
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      const answers = await Promise.all([ask(), ask(), ask()])
      for (const { status, bytes } of answers) assert.ok(status !== 200, `attempt ${attempt}: ${bytes.length} bytes`)
    }
    await hub.setFaults({ corrupt: [] })
    await eventually('it is to be had once its bytes are right', async () => {
      const { status, bytes } = await ask()
      return status === 200 && digestOf(bytes) === layer
    })
  })

  it('lets a transfer finish whose client lost its right meanwhile, and begins none for it', async () => {
    const users = [{ name: 'ann', password: 'a', mayPull: ['org/hidden'] }]
    await using hub = await createHub({ users, privateRepositories: ['org/hidden'] })
    await hub.publish('org/hidden', '1', image)
    const node = await lab.start(['--upstream', `docker.io=${hub.registryUrl}`])
    await hub.setFaults({ cdn: { bytesPerSecond: 400_000 } })
    const ask = () => lab.ask(node, { name: 'org/hidden', reference: layer, login: 'ann:a' })
    const running = ask()
    await eventually('the transfer has begun', async () => (await hub.transfers()).length > 0)
    await hub.setFaults({ registry: { status: 403 }, auth: { status: 401 }, cdn: {} })
    const { status, bytes } = await running
    assert.deepEqual([status, digestOf(bytes)], [200, layer])
    // What it was given a moment ago is proven for five minutes, and nothing else.
    assert.equal((await ask()).status, 200)
    const config = image.config.descriptor.digest
    assert.equal((await lab.ask(node, { name: 'org/hidden', reference: config, login: 'ann:a' })).status, 404)
  })
})
