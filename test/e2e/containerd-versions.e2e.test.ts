// Two versions of containerd, so that each change is tried with the old and the new one; `npm run test:matrix` tries more with every version.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type ContainerdVariant, findContainerd } from '../support/containerd.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { execute } from '../support/netns/commands.ts'
import { clusterUnavailable } from '../support/netns-cluster.ts'
import { Fleet, hubShare } from './fleet.ts'

const VARIANTS: readonly ContainerdVariant[] = [{ version: '1.6' }, { version: '2.1' }]

for (const containerd of VARIANTS) {
  const skip = (await clusterUnavailable(containerd)) ?? false
  describe(`two nodes with containerd ${containerd.version}`, { skip }, () => {
    it('pull an image at once by ctr and by the CRI, and Docker Hub sends each blob once', async (t) => {
      t.diagnostic(await versionOf(containerd))
      await using fleet = await Fleet.start({ nodes: 2, cri: true, containerd })
      const byCtr = imageOf('by ctr')
      await fleet.cluster.hub.publish('app', '1', byCtr)
      await Promise.all([0, 1].map((number) => fleet.pulled(number, byCtr, { fallback: 'nobody' })))
      await assertFetchedOnce(fleet, byCtr)

      const byCri = imageOf('by the CRI')
      await fleet.cluster.hub.publish('other', '1', byCri)
      const pull = (number: number) =>
        fleet.node(number).criPull('docker.io/library/other:1', undefined, { fallback: 'nobody' })
      const pulls = await Promise.all([0, 1].map(pull))
      for (const [number, pulled] of pulls.entries()) {
        assert.ok('imageRef' in pulled, `${JSON.stringify(pulled)}\n${fleet.nabo(number).logs.slice(-20).join('\n')}`)
        for (const { descriptor } of [byCri.config, ...byCri.layers])
          assert.equal(await fleet.node(number).blobSha256(descriptor.digest), descriptor.digest)
      }
      await assertFetchedOnce(fleet, byCri)
    })
  })
}

function imageOf(seed: string): Image {
  const layers = [
    { size: 3_000_000, seed },
    { size: 200_000, seed: `${seed} too` },
  ]
  return makeImage({ layers, multiArch: true })
}

async function assertFetchedOnce(fleet: Fleet, image: Image): Promise<void> {
  for (const { descriptor } of [image.config, ...image.layers]) {
    const { digest, size } = descriptor
    assert.deepEqual(await hubShare(fleet, digest), { gets: 1, bytes: size }, digest)
  }
}

/** Suites go on: what ran is worth a line. */
async function versionOf(variant: ContainerdVariant): Promise<string> {
  const found = await findContainerd(variant)
  return 'skip' in found ? found.skip : (await execute(`${found.binDir}/containerd`, ['--version'])).stdout.trim()
}
