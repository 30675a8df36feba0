// An image that a node's owner imported, under a name whose registry has the repository and not the tag.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { Lab, needsContainerd } from '../store/containerd/support.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { RightsLab } from '../support/rights-lab.ts'
import { SmallRegistry } from '../support/small-registry.ts'

const REGISTRY = 'reg.test'
const NAME = 'team/app'
const users = { ann: 'kept-to-herself' }

describe('an imported image whose registry has no such tag', needsContainerd, () => {
  const imported = makeImage({ layers: [{ size: 50_000, seed: 'imported' }] })
  const pulled = makeImage({ layers: [{ size: 50_000, seed: 'pulled, and deleted since' }] })
  let registry: SmallRegistry
  let containerd: Lab
  let lab: RightsLab
  let owner: TestDaemon
  let neighbour: TestDaemon
  const flags = () => ['--upstream', `${REGISTRY}=${registry.url}`, '--fallback', REGISTRY]

  before(async () => {
    registry = await SmallRegistry.start({ users })
    registry.publish(NAME, '1', makeImage({ layers: [{ size: 100, seed: 'what the registry has' }] }))
    containerd = await (await Lab.create()).start()
    await containerd.import('k8s.io', imported, `${REGISTRY}/${NAME}:built-here`)
    await containerd.pull('k8s.io', pulled, { registry: REGISTRY, name: NAME, tag: 'deleted' })
    lab = await RightsLab.create()
    owner = await lab.start([...flags(), '--store', 'containerd', '--containerd-socket', containerd.socket])
    neighbour = await lab.start(flags())
    await lab.together()
    await lab.announced(owner, 6)
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await containerd[Symbol.asyncDispose]()
    await registry[Symbol.asyncDispose]()
  })

  const ask = (node: TestDaemon, reference: string, kind: 'manifests' | 'blobs' = 'manifests', login?: string) =>
    lab.ask(node, { registry: REGISTRY, name: NAME, kind, reference, login })

  it('is there for all clients of its own node and of others', async () => {
    const { root, blobs } = imported
    for (const [node, source] of [
      [owner, 'store'],
      [neighbour, 'peer'],
    ] as const) {
      // containerd labels what it pulls a moment after the commit, so content has to be a little older to count as imported.
      await eventually('the tag is found', async () => (await ask(node, 'built-here')).status === 200)
      for (const login of [undefined, `ann:${users.ann}`]) {
        const manifest = await ask(node, 'built-here', 'manifests', login)
        assert.deepEqual(Buffer.from(manifest.bytes), root.bytes)
        for (const { descriptor, bytes } of blobs) {
          const blob = await ask(node, descriptor.digest, 'blobs', login)
          assert.equal(Buffer.compare(blob.bytes, bytes), 0)
          if (login === undefined) assert.equal(blob.source, source)
        }
      }
    }
  })

  it('is not there if the image was pulled, and the registry has deleted its tag', async () => {
    for (const node of [owner, neighbour]) assert.equal((await ask(node, 'deleted')).status, 404)
  })

  it('is never what a node of a cluster without a secret says', async () => {
    const plain = [...flags(), '--store', 'containerd', '--containerd-socket', containerd.socket]
    const first = await runDaemon(plain, { secret: false })
    const second = await runDaemon([...flags(), '--bootstrap', `static:${first.router}`], { secret: false })
    try {
      await eventually('it is announced', async () => {
        const [own, other] = [await first.status(), await second.status()]
        return own.index.peersInSync === 1 && own.index.ownKeys >= 6 && other.peers === 1
      })
      await eventually('its own node has it', async () => (await ask(first, 'built-here')).status === 200)
      assert.equal((await ask(second, 'built-here')).status, 404)
    } finally {
      await second.stop()
      await first.stop()
    }
  })
})
