// What the rule of access rights costs: requests at the registry for rollouts of public images, and what survives an outage.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'

import type { TestDaemon } from '../support/daemon.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { RightsLab } from '../support/rights-lab.ts'

const base = { size: 60_000, seed: 'shared base layer' }
const first = makeImage({ layers: [base, { size: 40_000, seed: 'first' }], multiArch: true })
const second = makeImage({ layers: [base, { size: 30_000, seed: 'second' }], multiArch: true })
const hidden = makeImage({ layers: [base, { size: 20_000, seed: 'hidden' }] })
const ANN = 'ann:kept-to-herself'

describe('public images with a shared base layer', () => {
  let hub: Hub
  let lab: RightsLab
  let nodes: TestDaemon[]

  beforeEach(async () => {
    hub = await createHub({
      users: [{ name: 'ann', password: 'kept-to-herself', mayPull: ['org/hidden'] }],
      privateRepositories: ['org/hidden'],
    })
    await hub.publish('library/first', '1', first)
    await hub.publish('library/second', '1', second)
    await hub.publish('org/hidden', '1', hidden)
    lab = await RightsLab.create()
    nodes = []
    for (let i = 0; i < 4; i += 1) nodes.push(await start(i))
    await lab.together()
    await hub.reset()
  })
  afterEach(async () => {
    await lab[Symbol.asyncDispose]()
    await hub.close()
  })

  const start = (number: number, flags: readonly string[] = []) =>
    lab.start(
      ['--upstream', `docker.io=${hub.registryUrl}`, '--data-dir', `${lab.directory}/data-${number}`, ...flags],
      {
        directory: `${lab.directory}/cache-${number}`,
      },
    )
  /** As containerd does: the tag by HEAD, then manifests and blobs by digest. */
  async function pull(
    node: TestDaemon,
    name: string,
    image: Image,
    login?: string,
  ): Promise<readonly (string | null)[]> {
    assert.equal((await lab.ask(node, { name, kind: 'manifests', reference: '1', login, method: 'HEAD' })).status, 200)
    const sources: (string | null)[] = []
    for (const { descriptor } of new Set([image.root, image.manifest])) {
      const { status, source } = await lab.ask(node, { name, kind: 'manifests', reference: descriptor.digest, login })
      assert.equal(status, 200)
      sources.push(source)
    }
    for (const { descriptor } of [image.config, ...image.layers]) {
      const { status, source } = await lab.ask(node, { name, reference: descriptor.digest, login })
      assert.equal(status, 200, `${name}@${descriptor.digest}`)
      sources.push(source)
    }
    return sources
  }
  async function counted(work: () => Promise<unknown>) {
    const before = await hub.counters()
    await work()
    const { manifestHeads, blobHeads, manifestGets, blobGets } = await hub.counters()
    return {
      manifestHeads: manifestHeads - before.manifestHeads,
      blobHeads: blobHeads - before.blobHeads,
      manifestGets: manifestGets - before.manifestGets,
      blobGets: blobGets - before.blobGets,
    }
  }
  const [a, b, c, d] = [0, 1, 2, 3].map((number) => () => nodes[number] ?? assert.fail()) as (() => TestDaemon)[] as [
    () => TestDaemon,
    () => TestDaemon,
    () => TestDaemon,
    () => TestDaemon,
  ]
  const settled = (node: TestDaemon, blobs: number) => lab.announced(node, blobs)

  it('cost no HEAD but that of the tag, on the first node and on later ones', async () => {
    const onFirst = await counted(() => pull(a(), 'library/first', first))
    assert.deepEqual(onFirst, { manifestHeads: 1, blobHeads: 0, manifestGets: 2, blobGets: 3 })
    await settled(a(), 5)
    const onLater = await counted(async () => {
      for (const node of [b(), c()]) {
        const sources = await pull(node, 'library/first', first)
        assert.deepEqual(new Set(sources), new Set(['peer']))
      }
    })
    // The answer about the tag is shared for 15 s.
    assert.ok(onLater.manifestHeads <= 1, `${onLater.manifestHeads} HEADs of the tag`)
    assert.deepEqual({ ...onLater, manifestHeads: 0 }, { manifestHeads: 0, blobHeads: 0, manifestGets: 0, blobGets: 0 })
    const onSecond = await counted(async () => {
      for (const node of [a(), b(), c(), d()]) {
        await pull(node, 'library/second', second)
        await settled(node, 4)
      }
    })
    // Of the second image only what the first one does not have comes from the registry.
    assert.deepEqual(
      { ...onSecond, manifestHeads: 0 },
      { manifestHeads: 0, blobHeads: 0, manifestGets: 2, blobGets: 2 },
    )
  })

  it('cost one HEAD in the whole cluster for a layer that a private image has as well', async () => {
    await pull(a(), 'org/hidden', hidden, ANN)
    await settled(a(), 4)
    const asked = await counted(async () => {
      await Promise.all([b(), c(), d()].map((node) => pull(node, 'library/first', first)))
    })
    assert.equal(asked.manifestGets, 2)
    // The base layer comes from the first node, once the registry has said that it shows it under this name.
    assert.deepEqual([asked.blobHeads, asked.blobGets], [1, 2])
  })

  it('are served by all nodes that restart while the registry is down', async () => {
    for (const node of [a(), b()]) {
      await pull(node, 'library/first', first)
      await pull(node, 'library/second', second)
      await pull(node, 'org/hidden', hidden, ANN)
      await settled(node, 10)
    }
    await Promise.all(lab.nodes.map((node) => node.stop()))
    lab.nodes.length = 0
    await hub.setFaults(everywhere({ down: true }))
    nodes = []
    for (let i = 0; i < 4; i += 1) nodes.push(await start(i))
    await lab.together()
    for (const node of [a(), b()]) await settled(node, 10)
    for (const node of [a(), b(), c(), d()]) {
      await pull(node, 'library/first', first)
      await pull(node, 'library/second', second)
      for (const login of [undefined, ANN]) {
        const reference = hidden.layers[1]?.descriptor.digest ?? assert.fail()
        assert.equal((await lab.ask(node, { name: 'org/hidden', reference, login })).status, 404)
      }
    }
  })
})
