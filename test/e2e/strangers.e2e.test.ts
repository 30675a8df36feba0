import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { makeImage } from '../support/image-maker.ts'
import type { NaboProcess } from '../support/nabo-process.ts'
import { clusterUnavailable } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'
import { Fleet, statusOf } from './fleet.ts'

const skip = (await clusterUnavailable()) ?? false
const image = makeImage({ layers: [{ size: 300_000, seed: 'shared' }] })
const secretImage = makeImage({ layers: [{ size: 200_000, seed: 'private' }] })

describe('a node that does not belong', { skip }, () => {
  for (const secret of ['another secret', 'none'] as const) {
    it(`gets no membership, no index and no content (${secret})`, async () => {
      await using fleet = await Fleet.start({ nodes: 3, bare: 1 })
      await fleet.cluster.hub.publish('app', '1', image)
      await fleet.pulled(0, image)
      await fleet.announced(0)
      const stranger = await startStranger(fleet, secret)
      await eventually('it has tried', () => stranger.logs.some((line) => line.includes('cannot be reached')))
      const { peers, index } = await statusOf(stranger)
      assert.deepEqual({ peers, claims: index.claims }, { peers: 0, claims: 0 })
      await fleet.together()
      await assertClosed(fleet)
    })
  }
})

describe('an image pulled with credentials', { skip }, () => {
  it('is not given to a node that has none, by tag, by digest or under a public name', async () => {
    await using fleet = await Fleet.start({
      nodes: 2,
      hub: {
        users: [{ name: 'ann', password: 'secret', mayPull: ['org/hidden'] }],
        privateRepositories: ['org/hidden'],
      },
    })
    const { hub } = fleet.cluster
    await hub.publish('org/hidden', '1', secretImage)
    await hub.publish('app', '1', image)
    const reference = 'docker.io/org/hidden:1'
    await fleet.pulled(0, secretImage, { reference, withoutNabo: true, user: 'ann:secret' })
    await fleet.pulled(0, image, { withoutNabo: true })
    await fleet.announced(0)

    const { root, config, layers } = secretImage
    const paths = ['org/hidden', 'library/app'].flatMap((name) => [
      `${name}/manifests/${root.descriptor.digest}`,
      ...[config, ...layers].map(({ descriptor }) => `${name}/blobs/${descriptor.digest}`),
    ])
    for (const path of ['org/hidden/manifests/1', ...paths]) {
      const { status, body } = await fleet.node(1).fetch(`http://127.0.0.1:7950/v2/${path}?ns=docker.io`)
      const expected = path.startsWith('org/hidden/') ? 401 : 404
      assert.equal(status, expected, `${path}: ${Buffer.from(body).toString()}`)
    }
    assert.equal(await fleet.nabo(0).metric('nabo_bytes_total', { listener: 'peer' }), 0)

    // The way between them is open: what is public flows.
    await fleet.pulled(1, image, { fallback: 'nobody' })
    assert.ok((await fleet.nabo(0).metric('nabo_bytes_total', { listener: 'peer' })) > 300_000)
  })
})

async function startStranger(fleet: Fleet, secret: 'another secret' | 'none'): Promise<NaboProcess> {
  const flags = ['--store', 'directory', '--log-level', 'debug']
  if (secret === 'none')
    return fleet.node(2).startNabo([...flags, '--insecure-without-secret'], ['--cluster-secret-file'])
  const file = join(fleet.cluster.directory, 'another-secret')
  await writeFile(file, 'what some other cluster has for a secret\n')
  return fleet.node(2).startNabo([...flags, '--cluster-secret-file', file])
}

/** Asks a member's peer listener for everything from the stranger's machine. */
async function assertClosed(fleet: Fleet): Promise<void> {
  const { root, layers } = image
  const peer = `http://${fleet.node(0).ip}:7951`
  const paths = [
    '/v2/',
    '/v2/library/app/manifests/1?ns=docker.io',
    `/v2/library/app/manifests/${root.descriptor.digest}?ns=docker.io`,
    ...layers.map(({ descriptor }) => `/v2/library/app/blobs/${descriptor.digest}?ns=docker.io`),
  ]
  for (const path of paths) {
    const { status, body } = await fleet.node(2).fetch(`${peer}${path}`)
    assert.equal(status, 403, path)
    assert.match(Buffer.from(body).toString(), /"DENIED"/)
  }
  for (const path of ['/nabo/v1/lookup', '/nabo/v1/announce']) {
    const { status } = await fleet.node(2).fetch(`${peer}${path}`, { method: 'POST', body: '{}' })
    assert.equal(status, 403, path)
  }
}
