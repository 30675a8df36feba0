// Layers of which a registry does not say how long they are: chunked, or until the connection ends. Their manifest states it.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { Lab, needsContainerd } from '../store/containerd/support.ts'
import type { TestDaemon } from '../support/daemon.ts'
import { type Content, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { RightsLab } from '../support/rights-lab.ts'
import { SmallRegistry } from '../support/small-registry.ts'

const NAME = 'library/app'
const image = makeImage({ layers: [{ size: 300_000, seed: 'of no length' }] })
const [layer] = image.layers
assert.ok(layer)
const { bytes, descriptor } = layer
const { digest } = descriptor

/** The manifest of the image, which states another size of its layer. */
function stating(size: number): Content {
  const document = JSON.parse(Buffer.from(image.manifest.bytes).toString('utf8')) as { layers: { size: number }[] }
  const changed = Buffer.from(JSON.stringify({ ...document, layers: [{ ...document.layers[0], size }] }))
  return {
    bytes: changed,
    descriptor: { ...image.manifest.descriptor, digest: digestOf(changed), size: changed.length },
  }
}

for (const unsizedBlobs of ['chunked', 'closing'] as const) {
  describe(`a layer whose registry does not say its size (${unsizedBlobs})`, () => {
    let registry: SmallRegistry
    let lab: RightsLab

    beforeEach(async () => {
      registry = await SmallRegistry.start({ unsizedBlobs })
      registry.publish(NAME, '1', image)
      lab = await RightsLab.create()
    })
    afterEach(async () => {
      await lab[Symbol.asyncDispose]()
      await registry[Symbol.asyncDispose]()
    })

    const start = (...flags: readonly string[]) => lab.start(['--upstream', `docker.io=${registry.url}`, ...flags])
    const ask = (node: TestDaemon, range?: string) =>
      lab.ask(node, { name: NAME, reference: digest, ...(range === undefined ? {} : { range }) })
    const readManifest = async (node: TestDaemon, reference: string = '1') => {
      assert.equal((await lab.ask(node, { name: NAME, kind: 'manifests', reference })).status, 200)
    }
    async function requireWhole(node: TestDaemon): Promise<void> {
      await readManifest(node)
      const head = await fetch(`${node.mirror}/v2/${NAME}/blobs/${digest}`, { method: 'HEAD' })
      assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(bytes.length)])
      for (const [range, expected] of [
        ['bytes=100-299', bytes.subarray(100, 300)],
        ['bytes=290000-', bytes.subarray(290_000)],
        ['bytes=-500', bytes.subarray(-500)],
        [undefined, bytes],
      ] as const) {
        const answer = await ask(node, range)
        assert.equal(answer.status, range === undefined ? 200 : 206)
        assert.equal(Buffer.compare(answer.bytes, expected), 0)
      }
    }

    it('comes whole and in parts, also to followers in the swarm, once for all', async () => {
      const nodes = [await start(), await start(), await start()]
      await lab.together()
      await Promise.all(
        nodes.map(async (node) => {
          await readManifest(node)
          assert.equal(Buffer.compare((await ask(node)).bytes, bytes), 0)
        }),
      )
      const gets = registry.requests('GET', 'blobs').filter(({ path }) => path.endsWith(digest))
      assert.equal(gets.length, 1)
      for (const node of nodes) await requireWhole(node)
    })

    it('comes after a restart, while the manifest is in the cache', async () => {
      const directory = `${lab.directory}/cache`
      const flags = ['--upstream', `docker.io=${registry.url}`]
      const before = await lab.start(flags, { directory })
      await readManifest(before)
      await lab.stop(before)
      const node = await lab.start(flags, { directory })
      // Only the manifests of the repository count.
      registry.publish('library/other', '1', image)
      assert.equal((await lab.ask(node, { name: 'library/other', reference: digest })).status, 404)
      const head = await fetch(`${node.mirror}/v2/${NAME}/blobs/${digest}`, { method: 'HEAD' })
      assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(bytes.length)])
      assert.equal(Buffer.compare((await ask(node)).bytes, bytes), 0)
    })

    it('comes to clients of a node whose containerd has the manifest alone', needsContainerd, async () => {
      await using containerd = await (await Lab.create()).start()
      await containerd.pull('default', image, { registry: 'docker.io', name: NAME, tag: '1' })
      await containerd.ctr('default', 'content', 'rm', digest)
      const node = await start('--store', 'containerd', '--containerd-socket', containerd.socket)
      await eventually('the manifest is listed', async () => (await node.status()).blobs > 0)
      const head = await fetch(`${node.mirror}/v2/${NAME}/blobs/${digest}`, { method: 'HEAD' })
      assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(bytes.length)])
      assert.equal(Buffer.compare((await ask(node)).bytes, bytes), 0)
    })

    it('comes to clients of a node with containerd', needsContainerd, async () => {
      await using containerd = await (await Lab.create()).start()
      await requireWhole(await start('--store', 'containerd', '--containerd-socket', containerd.socket))
    })

    for (const [what, change] of [
      ['less', -1],
      ['more', 1],
    ] as const) {
      it(`never looks complete if the manifest states ${what}, and is not kept`, async () => {
        const wrong = stating(bytes.length + change)
        registry.putManifest(NAME, wrong, 'wrong')
        const node = await start()
        await readManifest(node, 'wrong')
        const answer = await ask(node)
        assert.ok(answer.status !== 200, `${answer.status} with ${answer.bytes.length} bytes`)
        const blobs = (await node.status()).blobs
        assert.equal(blobs, 1, 'only the manifest is kept')
      })
    }

    it('is not found if no manifest has stated its size: the client asks the registry itself', async () => {
      const node = await start()
      assert.equal((await ask(node)).status, 404)
      await requireWhole(node)
    })
  })
}
