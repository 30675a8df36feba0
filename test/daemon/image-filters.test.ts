// --include and --exclude on whole daemons: what they leave out is neither advertised, nor served to peers, nor answered by the mirror.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { Lab, needsContainerd } from '../store/containerd/support.ts'
import type { TestDaemon } from '../support/daemon.ts'
import { examine } from '../support/doctor.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { RightsLab } from '../support/rights-lab.ts'
import { SmallRegistry } from '../support/small-registry.ts'
import { fetchOver } from '../support/socket-fetch.ts'

const base = { size: 30_000, seed: 'in both images' }
const app = makeImage({ layers: [base, { size: 20_000, seed: 'mirrored' }] })
const hidden = makeImage({ layers: [base, { size: 20_000, seed: 'left out' }] })
const [common, own] = hidden.layers.map(({ descriptor }) => descriptor.digest)
assert.ok(common !== undefined && own !== undefined)
const IMAGES: readonly (readonly [string, string, Image])[] = [
  ['library/app', '1', app],
  ['library/app', 'latest', app],
  ['team/hidden', '1', hidden],
]
const FILTERS = ['--include', 'docker.io/**', '--exclude', 'docker.io/team/**,**:latest']
/** The manifest, config and layers of the mirrored image, and one of its tags. */
const OFFERED = 5

for (const store of ['directory', 'containerd'] as const) {
  describe(`images that a node leaves out (${store})`, store === 'containerd' ? needsContainerd : {}, () => {
    let registry: SmallRegistry
    let containerd: Lab | undefined
    let lab: RightsLab

    beforeEach(async () => {
      registry = await SmallRegistry.start()
      for (const [name, tag, image] of IMAGES) registry.publish(name, tag, image)
      lab = await RightsLab.create()
      containerd = store === 'containerd' ? await (await Lab.create()).start() : undefined
    })
    afterEach(async () => {
      await lab[Symbol.asyncDispose]()
      await containerd?.[Symbol.asyncDispose]()
      await registry[Symbol.asyncDispose]()
    })

    const upstream = () => ['--upstream', `docker.io=${registry.url}`]
    const ask = (node: TestDaemon, name: string, reference: string) =>
      lab.ask(node, { name, kind: reference.includes(':') ? 'blobs' : 'manifests', reference })
    const manifestOf = (node: TestDaemon, name: string, { manifest }: Image) =>
      lab.ask(node, { name, kind: 'manifests', reference: manifest.descriptor.digest })

    /** A node with filters that holds all images. */
    async function holder(): Promise<TestDaemon> {
      if (containerd !== undefined) {
        for (const [name, tag, image] of IMAGES)
          await containerd.pull('k8s.io', image, { registry: 'docker.io', name, tag })
        // containerd adds a repository to the label; `ctr` replaces it.
        const both = 'containerd.io/distribution.source.docker.io=library/app,team/hidden'
        await containerd.ctr('k8s.io', 'content', 'label', common ?? '', both)
        return lab.start([...upstream(), ...FILTERS, '--store', 'containerd', '--containerd-socket', containerd.socket])
      }
      const directory = `${lab.directory}/a`
      const before = await lab.start(upstream(), { directory })
      for (const [name, tag, image] of IMAGES) {
        await ask(before, name, tag)
        for (const { descriptor } of image.blobs) await ask(before, name, descriptor.digest)
      }
      await lab.stop(before)
      return lab.start([...upstream(), ...FILTERS], { directory })
    }

    it('are neither advertised, nor served to peers, nor answered by its mirror', async () => {
      const a = await holder()
      const b = await lab.start(upstream())
      await lab.together()
      await eventually('what is mirrored is advertised', async () => {
        const { blobs, index } = await a.status()
        return blobs === 7 && index.ownKeys === OFFERED && index.peersInSync === 1
      })
      const blobGets = () => registry.requests('GET', 'blobs').length + registry.requests('GET', 'manifests').length
      const before = blobGets()
      // A mirrored image comes from its holder, a layer that it shares with the other one too.
      for (const node of [a, b]) {
        assert.equal((await ask(node, 'library/app', '1')).status, 200)
        for (const { descriptor, bytes } of app.blobs)
          assert.equal(Buffer.compare((await ask(node, 'library/app', descriptor.digest)).bytes, bytes), 0)
      }
      assert.equal(blobGets(), before)
      // The mirror leaves the others to the registry, which would have had them.
      for (const [name, reference] of [
        ['team/hidden', '1'],
        ['team/hidden', own],
        ['library/app', 'latest'],
      ] as const)
        assert.equal((await ask(a, name, reference)).status, 404, `${name} ${reference}`)
      assert.equal((await manifestOf(a, 'team/hidden', hidden)).status, 404)
      // What a tag that is left out names is there by its digest all the same.
      assert.equal((await manifestOf(a, 'library/app', app)).status, 200)
      // Nor does a neighbour get it, who has nowhere else to go.
      registry.isDown = true
      for (const [name, reference] of [
        ['team/hidden', '1'],
        ['team/hidden', own],
        ['library/app', 'latest'],
      ] as const)
        assert.equal((await ask(b, name, reference)).status, 404, `${name} ${reference}`)
      assert.equal((await manifestOf(b, 'team/hidden', hidden)).status, 404)
    })

    it('are named to a client that has no other host, and to the operator', async () => {
      const a = await holder()
      const { host } = new URL(a.mirror)
      for (const [path, why] of [
        [
          'docker.io/team/hidden/manifests/1',
          /docker\.io\/team\/hidden:1 is not mirrored here: --exclude docker\.io\/team\/\*\* leaves it out/,
        ],
        [`docker.io/team/hidden/blobs/${own}`, /docker\.io\/team\/hidden is not mirrored here: --exclude/],
        ['ghcr.io/org/app/manifests/1', /ghcr\.io\/org\/app:1 is not mirrored here: --include leaves it out/],
      ] as const) {
        const response = await fetch(`http://${host}/v2/${path}`)
        assert.equal(response.status, 403)
        assert.match(await response.text(), why)
      }
      const shown = { registries: 'all', include: ['docker.io/**'], exclude: ['docker.io/team/**', '**:latest'] }
      const { mirrored } = (await (await fetchOver(a.adminSocket, '/api/v1/status')).json()) as {
        mirrored: unknown
      }
      assert.deepEqual(mirrored, shown)
      // Patterns may name private images: other programs of this machine are not told.
      assert.equal('mirrored' in (await a.status()), false)
    })
  })
}

describe('nabo doctor', () => {
  it('says which images are mirrored, and where --registries contradicts that', async () => {
    const look = async (...flags: readonly string[]) =>
      (await examine(['--store', 'directory', ...flags], { checks: ['images'] })).get('images')
    assert.equal(await look(), undefined)
    const finding = await look(...FILTERS)
    assert.equal(finding?.level, 'ok')
    assert.match(finding.says, /only docker\.io\/\*\*, without docker\.io\/team\/\*\*, \*\*:latest/)
    const useless = await look('--registries', 'docker.io', '--include', 'ghcr.io/org/**')
    assert.equal(useless?.level, 'warning')
    assert.match(useless.says, /--include ghcr\.io\/org\/\*\* has no effect: --registries leaves ghcr\.io out/)
  })
})
