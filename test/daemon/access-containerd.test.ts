// What containerd's source labels may lead to: they can be added to by whoever has an image pulled, and they have no port.
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import type { Digest } from '../../src/oci/digest.ts'
import { Lab, contentsOf, needsContainerd } from '../store/containerd/support.ts'
import type { TestDaemon } from '../support/daemon.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { type NamedRegistry, NamedRegistries } from '../support/named-registries.ts'
import { eventually } from '../support/poll.ts'
import { RightsLab } from '../support/rights-lab.ts'
import { SmallRegistry } from '../support/small-registry.ts'

const ANN = 'ann:kept-to-herself'
const NOBODY = 'mallory:anything'
const users = { ann: 'kept-to-herself' }
const LABEL = 'containerd.io/distribution.source.'
const base = { size: 20_000, seed: 'base of all' }
const secret = makeImage({ layers: [{ size: 60_000, seed: 'private' }, base] })
const open = makeImage({ layers: [{ size: 10_000, seed: 'public' }, base] })
/** What an attacker publishes: a manifest that lists layers of others. */
const bait = makeImage({
  layers: [
    { size: 60_000, seed: 'private' },
    { size: 10, seed: 'bait' },
  ],
})
const baseBait = makeImage({ layers: [base, { size: 10, seed: 'another bait' }] })
const [privateLayer, baseLayer] = secret.layers.map(({ descriptor }) => descriptor.digest) as [Digest, Digest]

describe('content of a containerd', needsContainerd, () => {
  let hub: SmallRegistry
  let names: NamedRegistries
  let evil: NamedRegistry
  let reg: NamedRegistry
  let containerd: Lab
  let lab: RightsLab
  let a: TestDaemon
  let b: TestDaemon

  before(async () => {
    hub = await SmallRegistry.start({ users })
    names = await NamedRegistries.start(['evil.test', 'reg.test'])
    evil = await names.add('evil.test', { vouchesForAll: true })
    reg = await names.add('reg.test', { vouchesForAll: true })
    hub.publish('org/hidden', '1', secret)
    hub.allow('org/hidden', ['ann'])
    hub.publish('library/app', '1', open)
    hub.publish('evil/y', '1', bait, { without: [privateLayer] })
    hub.publish('evil/base', '1', baseBait, { without: [baseLayer] })
  })
  after(async () => {
    await names[Symbol.asyncDispose]()
    await hub[Symbol.asyncDispose]()
  })
  beforeEach(async () => {
    containerd = await (await Lab.create()).start()
    lab = await RightsLab.create()
    hub.isDown = false
  })
  afterEach(async () => {
    await lab[Symbol.asyncDispose]()
    await containerd[Symbol.asyncDispose]()
  })

  /** Has containerd itself fetch an image of docker.io, past Nabo, with what it does to labels. */
  async function fetchImage(name: string, login?: string): Promise<void> {
    const hosts = join(containerd.root, 'certs.d')
    await mkdir(join(hosts, 'docker.io'), { recursive: true })
    await writeFile(
      join(hosts, 'docker.io', 'hosts.toml'),
      `server = "${hub.url}"\n[host."${hub.url}"]\n  capabilities = ["pull", "resolve"]\n`,
    )
    const user = login === undefined ? [] : ['--user', login]
    await containerd.ctr('k8s.io', 'content', 'fetch', '--hosts-dir', hosts, ...user, `docker.io/${name}:1`)
  }
  const labelsOf = async (digest: Digest) =>
    (await containerd.ctr('k8s.io', 'content', 'ls')).split('\n').find((line) => line.startsWith(digest)) ?? ''

  async function startNodes(flags: readonly string[] = [], blobs = 1): Promise<void> {
    const common = ['--upstream', `docker.io=${hub.url}`, ...names.flags]
    a = await lab.start([...common, ...flags, '--store', 'containerd', '--containerd-socket', containerd.socket])
    await eventually('its content is listed', async () => (await a.status()).blobs >= blobs)
    b = await lab.start([...common, ...flags.filter((flag) => flag !== '--data-dir' && !flag.endsWith('/kept'))])
    await lab.together()
    await lab.announced(a, blobs)
    hub.seen.length = 0
  }
  async function isNotGiven(registry: string, name: string, digest: Digest): Promise<void> {
    for (const node of [a, b]) {
      for (const login of [undefined, NOBODY]) {
        const { status } = await lab.ask(node, { registry, name, reference: digest, login })
        assert.ok([401, 403, 404].includes(status), `${node === a ? 'a' : 'b'} ${registry}/${name} ${login}: ${status}`)
      }
    }
  }
  async function pull(node: TestDaemon, name: string, image: Image): Promise<void> {
    for (const { descriptor } of image.manifests)
      assert.equal((await lab.ask(node, { name, kind: 'manifests', reference: descriptor.digest })).status, 200)
    for (const { descriptor } of image.blobs)
      assert.equal((await lab.ask(node, { name, reference: descriptor.digest })).status, 200)
  }

  it('is not given under a name that another pull has added to its label', async () => {
    await fetchImage('org/hidden', ANN)
    hub.seen.length = 0
    await fetchImage('evil/y')
    // So containerd does it: not a byte was fetched, and the label says that it came from there too.
    assert.ok(hub.seen.every(({ path }) => !path.endsWith(privateLayer)))
    assert.match(await labelsOf(privateLayer), new RegExp(`${LABEL}docker.io=(?:evil/y,org/hidden|org/hidden,evil/y)`))
    for (const policy of ['verify', 'skip'] as const) {
      await startNodes(['--private-images', policy], 6)
      await isNotGiven('docker.io', 'evil/y', privateLayer)
      const { status } = await lab.ask(a, { name: 'org/hidden', reference: privateLayer, login: ANN })
      assert.equal(status, policy === 'verify' ? 200 : 404)
      await lab.stop(b)
      await lab.stop(a)
    }
    // To share is to give each name's content to everybody: what the label says counts, and gives nothing that `org/hidden` does not.
    await startNodes(['--private-images', 'share'], 6)
    assert.equal((await lab.ask(a, { name: 'org/hidden', reference: privateLayer })).status, 200)
    await isNotGiven(evil.name, 'x/y', privateLayer)
  })

  it('is given where it is public, whatever a label says that an attacker had added', async () => {
    await fetchImage('library/app')
    await fetchImage('evil/base')
    await containerd.ctr('k8s.io', 'content', 'label', baseLayer, `${LABEL}evil.test=x/y`)
    assert.match(await labelsOf(baseLayer), /evil\.test=x\/y/)
    await startNodes([], 6)
    await pull(b, 'library/app', open)
    await pull(a, 'library/app', open)
    // The registry said once for both nodes that it shows the layer, and gave nothing itself.
    assert.deepEqual(
      hub
        .requests('HEAD', 'blobs')
        .filter(({ path }) => path.endsWith(baseLayer))
        .map(({ status }) => status),
      [200],
    )
    assert.deepEqual([...hub.requests('GET', 'blobs'), ...hub.requests('GET', 'manifests')], [])
  })

  it('is not given to one port of a host because a label of another port names the host', async () => {
    await containerd.import('k8s.io', secret, 'reg.test:5001/team/app:1')
    await containerd.label('k8s.io', contentsOf(secret), { registry: 'reg.test', name: 'team/app' })
    // On the usual port of the same host is a registry whose repository of that name is public and has something else.
    await using usual = await SmallRegistry.start()
    usual.publish('team/app', '1', open)
    for (const policy of ['verify', 'skip', 'share'] as const) {
      await startNodes(['--upstream', `reg.test=${usual.url}`, '--private-images', policy], 4)
      await isNotGiven(reg.name, 'team/app', privateLayer)
      if (policy !== 'share') {
        for (const reference of [open.manifest.descriptor.digest, '1'])
          await lab.ask(a, { registry: 'reg.test', name: 'team/app', kind: 'manifests', reference })
        await isNotGiven('reg.test', 'team/app', privateLayer)
      }
      await lab.stop(b)
      await lab.stop(a)
    }
  })

  it('that has a label is not imported because an imported manifest lists it', async () => {
    await fetchImage('org/hidden', ANN)
    // The owner imports an image that lists layers which came from a registry.
    await containerd.import('k8s.io', bait, 'docker.io/local/tool:1')
    for (const policy of ['verify', 'skip'] as const) {
      await startNodes(['--private-images', policy], 6)
      await isNotGiven('docker.io', 'local/tool', privateLayer)
      // What came from no registry is for everybody under the name that it was given.
      const own = bait.layers[1]?.descriptor.digest ?? assert.fail()
      // A node that skips answers for what it holds itself alone.
      for (const node of policy === 'skip' ? [a] : [a, b]) {
        const isGiven = async () => (await lab.ask(node, { name: 'local/tool', reference: own })).status === 200
        await eventually('the imported layer is given', isGiven)
      }
      await lab.stop(b)
      await lab.stop(a)
    }
  })

  it('is served by nodes that restart while the registry is down, if they have kept what it said', async () => {
    await fetchImage('library/app')
    await fetchImage('org/hidden', ANN)
    for (const [kept, expected] of [
      [['--data-dir', `${lab.directory}/kept`], 200],
      [[], 404],
    ] as const) {
      hub.isDown = false
      await startNodes(kept, 6)
      await pull(a, 'library/app', open)
      assert.equal((await lab.ask(a, { name: 'org/hidden', reference: privateLayer, login: ANN })).status, 200)
      await lab.stop(b)
      await lab.stop(a)
      hub.isDown = true
      await startNodes(kept, 6)
      for (const node of [a, b]) {
        for (const { descriptor } of open.blobs)
          assert.equal((await lab.ask(node, { name: 'library/app', reference: descriptor.digest })).status, expected)
        for (const login of [undefined, ANN])
          assert.equal((await lab.ask(node, { name: 'org/hidden', reference: privateLayer, login })).status, 404)
      }
      await lab.stop(b)
      await lab.stop(a)
    }
  })
})
