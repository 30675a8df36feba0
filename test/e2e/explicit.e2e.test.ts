// References that name the mirror themselves, as tools use that know no mirrors: 127.0.0.1:7950/ghcr.io/org/app:1.
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'

import { findTool } from '../support/debian-tool.ts'
import { everywhere } from '../support/hub/create-hub.ts'
import { type Image, makeImage, toOciTar } from '../support/image-maker.ts'
import type { CommandResult } from '../support/netns/commands.ts'
import { clusterUnavailable } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'
import { Fleet, hubShare } from './fleet.ts'

const skip = (await clusterUnavailable()) ?? false
const skopeo = await findTool('skopeo')
const noSkopeo = 'skip' in skopeo ? skopeo.skip : false
const MIRROR = '127.0.0.1:7950'
const ANN = 'ann:a-secret-of-ann'
const imageOf = (seed: string) => makeImage({ layers: [{ size: 1_500_000, seed }], multiArch: true })
const images = {
  app: imageOf('explicit'),
  other: imageOf('explicit too'),
  third: imageOf('explicit third'),
  hidden: imageOf('explicit and hidden'),
  unfetched: imageOf('explicit and not fetched'),
}

describe('a reference that names the mirror', { skip }, () => {
  let fleet: Fleet

  before(async () => {
    fleet = await Fleet.start({
      nodes: 2,
      hub: {
        users: [{ name: 'ann', password: 'a-secret-of-ann', mayPull: ['org/hidden'] }],
        privateRepositories: ['org/hidden'],
      },
      // The same hub is two registries that the daemon fetches, and one that it does not.
      flags: ({ hubUrl }) => [
        ...['docker.io', 'ghcr.io', 'quay.io'].flatMap((registry) => ['--upstream', `${registry}=${hubUrl}`]),
        ...['--fallback', 'docker.io,ghcr.io'],
      ],
    })
    const { hub } = fleet.cluster
    await hub.publish('app', '1', images.app)
    await hub.publish('org/other', '1', images.other)
    await hub.publish('org/other', '2', images.other)
    await hub.publish('org/third', '1', images.third)
    await hub.publish('org/unfetched', '1', images.unfetched)
    await hub.publish('org/hidden', '1', images.hidden)
  })
  after(() => fleet[Symbol.asyncDispose]())
  afterEach(() => fleet.cluster.hub.setFaults(everywhere({})))

  const layerOf = (image: Image) => image.layers[0]?.descriptor.digest ?? assert.fail()
  const down = () => fleet.cluster.hub.setFaults(everywhere({ down: true }))
  const explicit = (number: number, image: Image, reference: string) =>
    fleet.pulled(number, image, { reference: `${MIRROR}/${reference}`, explicit: true })

  it('is pulled by ctr, and given to neighbours under the name of its registry', async () => {
    await explicit(0, images.app, 'docker.io/library/app:1')
    assert.ok((await hubShare(fleet, layerOf(images.app))).gets > 0)
    await fleet.announced(0)
    await down()
    // By the name that everybody else uses.
    await fleet.pulled(1, images.app, { fallback: 'nobody' })
    assert.ok(fleet.answers(1, layerOf(images.app)).some(({ source }) => source === 'peer'))
  })

  it('may imply Docker Hub', async () => {
    await explicit(0, images.third, 'org/third:1')
    await fleet.announced(0)
    await down()
    await fleet.pulled(1, images.third, { reference: 'docker.io/org/third:1', fallback: 'nobody' })
  })

  it('is pulled from the neighbour that has it by such a reference, while the registry is down', async () => {
    await explicit(0, images.other, 'ghcr.io/org/other:1')
    await fleet.announced(0)
    await down()
    await explicit(1, images.other, 'ghcr.io/org/other:1')
  })

  it('may be of a private image: ctr is asked for its credentials', async () => {
    const pull = (number: number, user?: string) =>
      fleet.node(number).pull(`${MIRROR}/docker.io/org/hidden:1`, {
        explicit: true,
        ...(user === undefined ? {} : { user }),
      })
    assert.notEqual((await pull(0)).code, 0)
    await fleet.arrived(0, images.hidden, await pull(0, ANN))
    await fleet.announced(0)
    const before = await hubShare(fleet, layerOf(images.hidden))
    assert.notEqual((await pull(1, 'ann:guessed')).code, 0)
    await fleet.arrived(1, images.hidden, await pull(1, ANN))
    assert.deepEqual(await hubShare(fleet, layerOf(images.hidden)), before)
  })

  it('of a registry that the daemon does not fetch is refused with the flag to set', async () => {
    const { code, stderr } = await fleet.node(0).pull(`${MIRROR}/quay.io/org/unfetched:1`, { explicit: true })
    assert.notEqual(code, 0)
    assert.match(stderr, /quay\.io is not fetched by the mirror: --fallback docker\.io,ghcr\.io,quay\.io/)
  })

  it('may be the name of an import', async () => {
    const image = makeImage({ layers: [{ size: 1_500_000, seed: 'explicit import' }] })
    const tar = join(fleet.cluster.directory, 'import.tar')
    await writeFile(tar, toOciTar(image, `${MIRROR}/ghcr.io/org/airgap:1`))
    const imported = await fleet.node(0).containerd.importTar('k8s.io', tar)
    assert.equal(imported.code, 0, imported.stderr)
    await down()
    const tag = { method: 'HEAD', headers: { accept: image.root.descriptor.mediaType } }
    const url = `http://${MIRROR}/v2/org/airgap/manifests/1?ns=ghcr.io`
    await eventually('its tag is known', async () => (await fleet.node(1).fetch(url, tag)).status === 200)
    await explicit(1, image, 'ghcr.io/org/airgap:1')
  })

  describe('in skopeo', { skip: noSkopeo }, () => {
    let count = 0
    let home: string

    before(async () => {
      home = join(fleet.cluster.directory, 'home')
      await mkdir(home)
    })

    function run(...args: readonly string[]): Promise<CommandResult> {
      const binDir = 'skip' in skopeo ? '' : skopeo.binDir
      const command = [`HOME=${home}`, `XDG_RUNTIME_DIR=${home}`, join(binDir, 'skopeo'), '--insecure-policy', ...args]
      return fleet.node(1).exec('env', command, { timeoutMs: 60_000 })
    }
    const copy = (name: string, ...args: readonly string[]) =>
      run('copy', '--src-tls-verify=false', ...args, `docker://${MIRROR}/${name}`, `dir:${join(home, `${count++}`)}`)

    it('works for public images', async () => {
      for (const name of ['docker.io/library/app:1', 'app:1', 'ghcr.io/org/other:1']) {
        const { code, stderr } = await copy(name)
        assert.equal(code, 0, `${name}: ${stderr}`)
      }
    })

    it('works for private ones with credentials', async () => {
      const { code, stderr } = await copy('docker.io/org/hidden:1', '--src-creds', ANN)
      assert.equal(code, 0, stderr)
      for (const args of [[], ['--src-creds', 'ann:guessed']])
        assert.notEqual((await copy('docker.io/org/hidden:1', ...args)).code, 0)
    })

    it('lists tags', async () => {
      // A registry that was down a moment ago is left alone for a second.
      const stdout = await eventually('the registry is asked again', async () => {
        const listed = await run('list-tags', '--tls-verify=false', `docker://${MIRROR}/ghcr.io/org/other`)
        assert.equal(listed.code, 0, listed.stderr)
        return listed.stdout
      })
      assert.deepEqual(JSON.parse(stdout), { Repository: `${MIRROR}/ghcr.io/org/other`, Tags: ['1', '2'] })
    })

    it('says which flag to set for a registry that the daemon does not fetch', async () => {
      const { code, stderr } = await copy('quay.io/org/unfetched:1')
      assert.notEqual(code, 0)
      assert.match(stderr, /--fallback docker\.io,ghcr\.io,quay\.io/)
    })
  })
})
