// What must not be given away, on real daemons with a cluster secret: on the node that holds it, and on a second node that asks the first.
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import type { Digest } from '../../src/oci/digest.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import type { TestDaemon } from '../support/daemon.ts'
import { type Image, indexOf, makeImage } from '../support/image-maker.ts'
import { type NamedRegistry, NamedRegistries } from '../support/named-registries.ts'
import { RightsLab } from '../support/rights-lab.ts'
import { SmallRegistry } from '../support/small-registry.ts'

const ANN = 'ann:kept-to-herself'
const NOBODY = 'mallory:anything'
const HIDDEN = 'team/app'
const users = { ann: 'kept-to-herself' }
const base = { size: 20_000, seed: 'base of all' }
const secret = makeImage({ layers: [{ size: 60_000, seed: 'private' }, base] })
const open = makeImage({ layers: [{ size: 10_000, seed: 'public' }, base] })
const [privateLayer, baseLayer] = secret.layers.map(({ descriptor }) => descriptor.digest) as [Digest, Digest]
const privateManifest = secret.manifest.descriptor.digest

for (const policy of ['verify', 'skip', 'share'] as const) {
  describe(`content that is not public, with --private-images ${policy}`, () => {
    let names: NamedRegistries
    /** The registry that the content comes from, and one that an attacker runs. */
    let priv: NamedRegistry
    let evil: NamedRegistry
    let hub: SmallRegistry
    let lab: RightsLab
    let a: TestDaemon
    let b: TestDaemon

    before(async () => {
      names = await NamedRegistries.start(['priv.test', 'evil.test', 'reg.test'])
      priv = await names.add('priv.test', { users })
      evil = await names.add('evil.test', { vouchesForAll: true })
      hub = await SmallRegistry.start({ users })
      priv.registry.publish(HIDDEN, '1', secret)
      priv.registry.allow(HIDDEN, ['ann'])
      hub.publish('library/app', '1', open)
    })
    after(async () => {
      await hub[Symbol.asyncDispose]()
      await names[Symbol.asyncDispose]()
    })
    beforeEach(async () => {
      lab = await RightsLab.create()
      const flags = ['--upstream', `docker.io=${hub.url}`, '--private-images', policy, ...names.flags]
      // To skip is to leave private content to containerd, so that it is here only if the node's owner had it fetched.
      const fetching = [...flags, '--fallback', `docker.io,${priv.name}`]
      a = await lab.start(policy === 'skip' ? [...fetching, '--private-images', 'verify'] : fetching, {
        directory: `${lab.directory}/a`,
      })
      await pull(a, priv.name, HIDDEN, secret, ANN)
      if (policy === 'skip') {
        await lab.stop(a)
        a = await lab.start(fetching, { directory: `${lab.directory}/a` })
      }
      b = await lab.start(flags)
      await lab.together()
      await lab.announced(a, secret.manifests.length + secret.blobs.length)
      evil.registry.seen.length = 0
    })
    afterEach(() => lab[Symbol.asyncDispose]())

    async function pull(node: TestDaemon, registry: string, name: string, image: Image, login?: string): Promise<void> {
      for (const { descriptor } of image.manifests) {
        const { status } = await lab.ask(node, {
          registry,
          name,
          kind: 'manifests',
          reference: descriptor.digest,
          login,
        })
        assert.equal(status, 200, `${registry}/${name}@${descriptor.digest}`)
      }
      for (const { descriptor } of image.blobs) {
        const { status } = await lab.ask(node, { registry, name, reference: descriptor.digest, login })
        assert.equal(status, 200, `${registry}/${name}@${descriptor.digest}`)
      }
    }
    /** Neither node gives it, whatever credentials come with the question. */
    async function isNotGiven(registry: string, name: string): Promise<void> {
      for (const node of [a, b]) {
        for (const login of [undefined, NOBODY, ANN]) {
          for (const [kind, reference] of [
            ['blobs', privateLayer],
            ['manifests', privateManifest],
          ] as const) {
            for (const range of [undefined, 'bytes=0-99', 'bytes=5-']) {
              const { status } = await lab.ask(node, {
                registry,
                name,
                kind,
                reference,
                login,
                ...(range && { range }),
              })
              const where = `${node === a ? 'a' : 'b'} ${registry}/${name} ${kind} ${login}`
              assert.ok([401, 403, 404].includes(status), `${where}: ${status}`)
            }
            const head = await lab.ask(node, { registry, name, kind, reference, login, method: 'HEAD' })
            assert.ok([401, 403, 404].includes(head.status))
          }
        }
      }
    }

    it('is not given for the word of another registry that anybody can run', async () => {
      await isNotGiven(evil.name, 'x/y')
      await isNotGiven(evil.name, HIDDEN)
      // A client that names the mirror itself has no registry to go on to, and is told which flag is the reason.
      if (policy === 'verify') {
        const authorization = `Basic ${Buffer.from(NOBODY).toString('base64')}`
        for (const node of [a, b]) {
          const url = `${node.mirror}/v2/${evil.name}/x/y/blobs/${privateLayer}`
          const told = await fetch(url, { headers: { authorization } })
          assert.equal(told.status, 403)
          assert.match(await told.text(), /--fallback docker\.io.*evil\.test/)
        }
      }
      // It was asked, and said yes: that is not enough.
      if (policy !== 'skip') assert.ok(evil.registry.seen.some(({ status }) => status === 200 || status === 401))
    })

    it('is not given for the word of a registry on this machine, which is not even asked', async () => {
      await using local = await SmallRegistry.start({ vouchesForAll: true })
      for (const host of ['127.0.0.1', 'localhost', '127.0.0.2', '2130706433', '[::1]', '0.0.0.0'])
        await isNotGiven(`${host}:${local.port}`, 'x/y')
      assert.deepEqual(local.seen, [])
    })

    it('is not given under the name of a public image that lists it', async () => {
      const listing = makeImage({
        layers: [
          { size: 60_000, seed: 'private' },
          { size: 10, seed: 'bait' },
        ],
      })
      hub.publish('library/bait', '1', listing, { without: [privateLayer] })
      const index = indexOf([secret.manifest])
      hub.putManifest('library/index', index, '1')
      for (const node of [a, b]) {
        for (const [name, content] of [
          ['library/bait', listing.manifest],
          ['library/index', index],
        ] as const) {
          const reference = content.descriptor.digest
          assert.equal((await lab.ask(node, { name, kind: 'manifests', reference })).status, 200)
          assert.equal((await lab.ask(node, { name, kind: 'manifests', reference: '1', login: NOBODY })).status, 200)
        }
      }
      await isNotGiven('docker.io', 'library/bait')
      await isNotGiven('docker.io', 'library/index')
    })

    it('is not given under the name of another port of its registry’s host', async () => {
      const other = await names.add('priv.test', { vouchesForAll: true })
      await isNotGiven(other.name, HIDDEN)
      await isNotGiven('priv.test', HIDDEN)
    })

    it('is given to callers that its registry lets in, and to others as the policy says', async () => {
      const status = async (node: TestDaemon, login?: string) =>
        (await lab.ask(node, { registry: priv.name, name: HIDDEN, reference: privateLayer, login })).status
      for (const node of [a, b]) {
        switch (policy) {
          case 'verify':
            assert.equal(await status(node, ANN), 200)
            assert.ok([401, 404].includes(await status(node)))
            assert.equal(await status(node, NOBODY), 404)
            break
          case 'skip':
            for (const login of [undefined, NOBODY, ANN]) assert.equal(await status(node, login), 404)
            break
          case 'share':
            for (const login of [undefined, NOBODY, ANN]) assert.equal(await status(node, login), 200)
        }
      }
    })

    it('does not keep a public image from being pulled that shares a layer with it', async () => {
      for (const node of [a, b]) await pull(node, 'docker.io', 'library/app', open)
      assert.equal((await lab.ask(a, { name: 'library/app', reference: baseLayer })).source, 'store')
      assert.ok(parseDigest(baseLayer))
    })
  })
}
