// What a quota that is used up, a second registry and a registry that is gone mean to real containerds.
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import { z } from 'zod'

import type { PullResult } from '../support/cluster-node.ts'
import { everywhere } from '../support/hub/create-hub.ts'
import { type Hub, type HubOptions, PUBLIC_MIRROR } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { type Cluster, clusterUnavailable } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'
import { Fleet } from './fleet.ts'

const skip = (await clusterUnavailable()) ?? false
const errorsSchema = z.object({ errors: z.array(z.object({ code: z.string(), message: z.string() })).min(1) })
const first = makeImage({ layers: [{ size: 1_000_000, seed: 'first' }], multiArch: true })
const second = makeImage({ layers: [{ size: 500_000, seed: 'second' }], multiArch: true })
const third = makeImage({ layers: [{ size: 100_000, seed: 'third' }], multiArch: true })
const FIRST = 'docker.io/library/app:1'
const SECOND = 'docker.io/library/app:2'
/** All nodes come from one address, as from behind one NAT. */
const ONE_ADDRESS: HubOptions = { quota: { anonymous: 10, windowSeconds: 3600, sharedAddress: '203.0.113.7' } }

const THIRD = 'docker.io/library/app:3'
const manifestUrl = (reference: string) => `http://127.0.0.1:7950/v2/library/app/manifests/${reference}?ns=docker.io`

async function publish(hub: Hub): Promise<void> {
  for (const [tag, image] of [
    ['1', first],
    ['2', second],
    ['3', third],
  ] as const) {
    await hub.publish('app', tag, image)
  }
}
/** What a node's Nabo answered to containerd. */
function statuses(fleet: Fleet, number: number): number[] {
  const lines = fleet.nabo(number).requests()
  return lines.filter(({ listener }) => listener === 'mirror').map(({ status }) => status)
}
/** By Nabo alone. */
function pulled(fleet: Fleet, number: number, image: Image, reference: string): Promise<PullResult> {
  return fleet.pulled(number, image, { fallback: 'nobody', reference })
}

describe('a quota that all nodes share', { skip }, () => {
  let fleet: Fleet

  before(async () => {
    fleet = await Fleet.start({ nodes: 3, hub: ONE_ADDRESS })
    await publish(fleet.cluster.hub)
  })
  after(() => fleet[Symbol.asyncDispose]())
  beforeEach(() => fleet.cluster.hub.reset())

  it('is known to all nodes that see it, and logged when little is left', async () => {
    await fleet.cluster.hub.setFaults({ quotaUsed: 6 })
    const head = await fleet.node(1).fetch(manifestUrl('2'), { method: 'HEAD' })
    assert.equal(head.status, 200)
    assert.equal(await fleet.nabo(1).metric('nabo_quota_remaining'), 4)
    await pulled(fleet, 0, first, FIRST)
    await eventually('the other node has heard', async () => (await fleet.nabo(1).metric('nabo_quota_remaining')) === 2)
    for (const number of [0, 1]) {
      assert.ok(
        fleet.nabo(number).logs.some((line) => line.includes('203.0.113.7')),
        `node ${number}`,
      )
    }
  })

  it('is not spent where neighbours answer, also when nothing remains', async () => {
    await fleet.announced(0)
    await fleet.cluster.hub.setFaults({ quotaUsed: 1000 })
    await pulled(fleet, 1, first, FIRST)
    // What a tag names is asked by HEAD, which is free; nobody tries a GET.
    const head = await fleet.node(2).fetch(manifestUrl('3'), { method: 'HEAD' })
    assert.equal(head.status, 200)
    const { manifestGets, limited, manifestHeads } = await fleet.cluster.hub.counters()
    assert.deepEqual({ manifestGets, limited }, { manifestGets: 0, limited: 0 })
    assert.ok(manifestHeads > 0)
  })

  it('ends a pull of what nobody has at once if it is used up, and says whose it is and until when', async () => {
    await fleet.cluster.hub.setFaults({ quotaUsed: 1000 })
    const begun = performance.now()
    const result = await fleet.node(2).pull(THIRD, { fallback: 'nobody' })
    assert.notEqual(result.code, 0)
    assert.match(
      result.stderr,
      /the quota of docker\.io is used up until \S+ at the latest: \S+ allows 203\.0\.113\.7 10 pulls/,
    )
    const { status, body } = await fleet.node(2).fetch(manifestUrl(third.root.descriptor.digest))
    // Before 9 s, which is when a mirror steps aside that has no answer.
    assert.ok(performance.now() - begun < 9000)
    const [error] = errorsSchema.parse(JSON.parse(Buffer.from(body).toString('utf8'))).errors
    assert.ok(status === 404 || status === 503, String(status))
    assert.match(error?.message ?? '', /\b10\b.*203\.0\.113\.7|203\.0\.113\.7.*\b10\b/)
    assert.match(error?.message ?? '', /\d{2}:\d{2}/)
    assert.ok(statuses(fleet, 2).every((code) => code !== 429 && code !== 408))
  })

  it('is no matter for a tag that its registry was asked about and is gone: that stays where it was, until it is back', async () => {
    await fleet.announced(1)
    await fleet.cluster.hub.setFaults(everywhere({ down: true }))
    // For 15 s the nodes share an answer of the registry, which is not stale.
    await eventually(
      'the tag is answered without its registry',
      async () => {
        assert.equal((await fleet.node(2).fetch(manifestUrl('1'), { method: 'HEAD' })).status, 200)
        return (await fleet.nabo(2).metric('nabo_stale_tags_total')) > 0
      },
      { everyMs: 500 },
    )
    await pulled(fleet, 2, first, FIRST)
    assert.ok(fleet.nabo(2).logs.some((line) => line.includes('library/app:1') && line.includes('ageSeconds')))
    await fleet.cluster.hub.setFaults(everywhere({}))
    await fleet.cluster.hub.publish('app', '1', second)
    // A registry that was gone is let alone for a while.
    await eventually(
      'the new tag is seen',
      async () => {
        const { headers } = await fleet.node(2).fetch(manifestUrl('1'), { method: 'HEAD' })
        return headers['docker-content-digest'] === second.root.descriptor.digest
      },
      { everyMs: 500 },
    )
  })
})

describe('a second registry', { skip }, () => {
  let fleet: Fleet
  let mirror: Hub

  before(async () => {
    const both = (cluster: Cluster) => ['--upstream', `docker.io=${cluster.hubUrl},${cluster.mirror?.registryUrl}`]
    fleet = await Fleet.start({ nodes: 1, hub: ONE_ADDRESS, mirror: PUBLIC_MIRROR, flags: both })
    mirror = fleet.cluster.mirror ?? assert.fail()
    await publish(fleet.cluster.hub)
    await mirror.publish('app', '2', second)
  })
  after(() => fleet[Symbol.asyncDispose]())
  beforeEach(async () => {
    await fleet.cluster.hub.reset()
    await mirror.reset()
  })

  it('is not asked about what the first one says does not exist', async () => {
    assert.notEqual((await fleet.node(0).pull('docker.io/library/app:none', { fallback: 'nobody' })).code, 0)
    assert.equal((await mirror.requests()).length, 0)
  })

  it('answers when the quota of the first one is used up', async () => {
    await fleet.cluster.hub.setFaults({ quotaUsed: 1000 })
    await pulled(fleet, 0, second, SECOND)
    assert.ok((await mirror.counters()).manifestGets > 0)
    assert.equal((await fleet.cluster.hub.counters()).limited, 0)
  })

  for (const [what, fault] of [
    ['is over its abuse limit', { limited: 'abuse' }],
    ['is broken', everywhere({ status: 503 })],
    ['is gone', everywhere({ down: true })],
  ] as const) {
    it(`answers while the first one ${what}`, async () => {
      const image = makeImage({ layers: [{ size: 100_000, seed: what }] })
      const tag = what.replaceAll(' ', '-')
      for (const hub of [fleet.cluster.hub, mirror]) await hub.publish('app', tag, image)
      await fleet.cluster.hub.setFaults(fault)
      await pulled(fleet, 0, image, `docker.io/library/app:${tag}`)
      assert.ok(statuses(fleet, 0).every((code) => code !== 429 && code !== 408))
    })
  }
})
