import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { everywhere } from '../support/hub/create-hub.ts'
import { makeImage } from '../support/image-maker.ts'
import { clusterUnavailable } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'
import { Fleet, statusOf } from './fleet.ts'

const skip = (await clusterUnavailable()) ?? false
const small = makeImage({ layers: [{ size: 300_000, seed: 'small' }] })
const large = makeImage({ layers: [{ size: 5_000_000, seed: 'late' }], multiArch: true })

describe('a daemon', { skip }, () => {
  it('follows containerd over a restart, and says meanwhile why it is not ready', async () => {
    await using fleet = await Fleet.start({ nodes: 2 })
    const { hub } = fleet.cluster
    await hub.publish('app', '1', small)
    await hub.publish('late', '1', large)
    await fleet.pulled(0, small)
    await fleet.announced(0)
    await fleet.node(0).containerd.kill()
    await eventually('it is not ready', async () => !(await statusOf(fleet.nabo(0))).ready)
    const { status, body } = await fleet.nabo(0).adminGet('/readyz')
    assert.equal(status, 503)
    assert.match(Buffer.from(body).toString(), /containerd is not reachable at .*c\.sock/)
    await hub.setFaults(everywhere({ down: true }))
    await fleet.pulled(1, small, { fallback: 'nobody' })
    await hub.setFaults(everywhere({}))
    await fleet.node(0).startContainerd()
    await fleet.nabo(0).ready()
    await fleet.pulled(0, large, { reference: 'docker.io/library/late:1' })
    await fleet.announced(0)
    await hub.setFaults(everywhere({ down: true }))
    await fleet.pulled(1, large, { reference: 'docker.io/library/late:1', fallback: 'nobody' })
  })

  it('waits for a containerd that comes later', async () => {
    await using fleet = await Fleet.start({ nodes: 2 })
    await fleet.cluster.hub.publish('app', '1', small)
    await fleet.pulled(0, small)
    await fleet.nabo(0).kill()
    await fleet.node(0).containerd.stop()
    const nabo = fleet.restartNabo(0)
    await nabo.listening()
    assert.match(Buffer.from((await nabo.adminGet('/readyz')).body).toString(), /containerd/)
    await fleet.node(0).startContainerd()
    await nabo.ready()
    await fleet.together()
    await fleet.announced(0)
    await withoutHub(fleet, () => fleet.pulled(1, small, { fallback: 'nobody' }))
  })

  it('works at once after it was killed, and the others learn again what it holds', async () => {
    await using fleet = await Fleet.start({ nodes: 2 })
    await fleet.cluster.hub.publish('app', '1', small)
    await fleet.pulled(0, small)
    await fleet.announced(0)
    await fleet.nabo(0).kill()
    const nabo = fleet.restartNabo(0)
    await nabo.ready()
    await fleet.together()
    await fleet.announced(0)
    await withoutHub(fleet, () => fleet.pulled(1, small, { fallback: 'nobody' }))
  })
})

/** Asserts that Docker Hub sends no content meanwhile. It may be asked: a fresh daemon does not know yet what is public. */
async function withoutHub(fleet: Fleet, work: () => Promise<unknown>): Promise<void> {
  const sent = async () => {
    const { manifestGets, blobGets, blobBytes } = await fleet.cluster.hub.counters()
    return { manifestGets, blobGets, blobBytes }
  }
  const before = await sent()
  await work()
  assert.deepEqual(await sent(), before)
}
