import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import type { Digest } from '../../src/oci/digest.ts'
import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { Lab, needsContainerd } from '../store/containerd/support.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'

const accept = MANIFEST_ACCEPT.join(', ')
const ann = `Basic ${Buffer.from('ann:kept-to-herself').toString('base64')}`
const wrong = `Basic ${Buffer.from('ann:guessed').toString('base64')}`
const app = { registry: 'docker.io', name: 'library/app', tag: '1' }
const hidden = { registry: 'docker.io', name: 'org/hidden', tag: '1' }

describe('what a containerd has from public and from private repositories', needsContainerd, () => {
  const mounted = { size: 20_000, seed: 'mounted from one repository into the other' }
  const secret = makeImage({ layers: [{ size: 50_000, seed: 'private' }, mounted] })
  const open = makeImage({ layers: [{ size: 30_000, seed: 'public' }, mounted] })
  const [privateLayer, commonLayer] = secret.layers.map(({ descriptor }) => descriptor.digest)
  let hub: Hub
  let lab: Lab
  let node: TestDaemon

  before(async () => {
    hub = await createHub({
      users: [{ name: 'ann', password: 'kept-to-herself', mayPull: [hidden.name] }],
      privateRepositories: [hidden.name],
    })
    await hub.publish(hidden.name, '1', secret)
    await hub.publish(app.name, '1', open)
    lab = await (await Lab.create()).start()
    await lab.pull('k8s.io', secret, hidden)
    await lab.pull('k8s.io', open, app)
    // As containerd does when a registry mounts a blob from one repository into another one.
    const both = `containerd.io/distribution.source.docker.io=${app.name},${hidden.name}`
    await lab.ctr('k8s.io', 'content', 'label', commonLayer ?? '', both)
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await hub.close()
  })

  async function start(): Promise<TestDaemon> {
    const store = ['--store', 'containerd', '--containerd-socket', lab.socket]
    const daemon = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`, ...store])
    await eventually('its content is listed', async () => (await daemon.status()).blobs === 7)
    return daemon
  }
  async function status(name: string, digest: Digest | undefined, authorization?: string): Promise<number> {
    const response = await fetch(`${node.mirror}/v2/${name}/blobs/${digest}`, {
      headers: { accept, ...(authorization === undefined ? {} : { authorization }) },
    })
    await response.arrayBuffer()
    return response.status
  }

  it('is given under the names of its labels only, to those who may see these', async () => {
    node = await start()
    try {
      for (const [name, digest, credential, expected] of [
        [hidden.name, privateLayer, undefined, 401],
        [hidden.name, privateLayer, wrong, 404],
        [hidden.name, privateLayer, ann, 200],
        [hidden.name, commonLayer, undefined, 401],
        [hidden.name, commonLayer, ann, 200],
        [app.name, commonLayer, undefined, 200],
        [app.name, commonLayer, wrong, 200],
        [app.name, privateLayer, undefined, 404],
        [app.name, privateLayer, ann, 404],
        [app.name, secret.manifest.descriptor.digest, ann, 404],
        ['org/third', privateLayer, ann, 404],
        // What came from public repositories alone is no secret under any name.
        [hidden.name, open.layers[0]?.descriptor.digest, undefined, 200],
      ] as const) {
        assert.equal(await status(name, digest, credential), expected, `${name} ${digest} ${credential}`)
      }
      const sent = node.requests().filter((line) => line['status'] === 200)
      assert.ok(sent.every((line) => line['source'] === 'local'))
      assert.equal((await hub.counters()).blobGets, 0)
    } finally {
      await node.stop()
    }
  })

  it('is given to nobody while nothing is known and the registry cannot be asked', async () => {
    await hub.setFaults(everywhere({ down: true }))
    node = await start()
    try {
      for (const credential of [undefined, ann, wrong]) {
        assert.equal(await status(hidden.name, privateLayer, credential), 404)
        assert.equal(await status(app.name, commonLayer, credential), 404)
      }
    } finally {
      await node.stop()
    }
  })
})
