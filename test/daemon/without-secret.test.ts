import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import { encodeMessage } from '../../src/contracts/message.ts'
import { quota } from '../../src/contracts/node/quota.ts'
import { resolveAddresses } from '../../src/daemon/advertised-hosts.ts'
import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { type TestDaemon, readServeFlags, runDaemon } from '../support/daemon.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { TestMember } from '../support/test-member.ts'

const accept = MANIFEST_ACCEPT.join(', ')
const ANN = { authorization: `Basic ${Buffer.from('ann:kept-to-herself').toString('base64')}` }
const imageOf = (seed: string) => makeImage({ layers: [{ size: 50_000, seed }] })

/** The registry of the node under test, and the registry that a lying neighbour takes its answers from. */
let hub: Hub
let liar: Hub
let nodes: TestDaemon[]
let directory: string
const real: Image = imageOf('real')
const forged: Image = imageOf('forged')
const hidden: Image = imageOf('hidden')

before(async () => {
  hub = await createHub({
    users: [{ name: 'ann', password: 'kept-to-herself', mayPull: ['org/hidden'] }],
    privateRepositories: ['org/hidden'],
  })
  liar = await createHub()
  await hub.publish('app', '1', real)
  await liar.publish('app', '1', forged)
  await liar.publish('mirrored', '1', real)
  for (const one of [hub, liar]) await one.publish('org/hidden', '1', hidden)
})
after(() => Promise.all([hub.close(), liar.close()]))
beforeEach(async () => {
  await Promise.all([hub.reset(), liar.reset()])
  nodes = []
  directory = await mkdtemp(join(tmpdir(), 'nabo-without-secret-'))
})
afterEach(async () => {
  await Promise.all(nodes.map((node) => node.stop()))
  await rm(directory, { recursive: true, force: true })
})

async function start(
  registry: Hub,
  options: { flags?: readonly string[]; secret?: boolean; cache?: string } = {},
): Promise<TestDaemon> {
  const { flags = [], secret = false, cache } = options
  const join = nodes[0] === undefined ? [] : ['--bootstrap', `static:${nodes[0].router}`]
  const all = ['--upstream', `docker.io=${registry.registryUrl}`, ...join, ...flags]
  const node = await runDaemon(all, { secret, ...(cache === undefined ? {} : { directory: cache }) })
  nodes.push(node)
  return node
}
const together = () =>
  eventually('all nodes know all', async () => {
    const all = await Promise.all(nodes.map((node) => node.status()))
    return all.every(({ peers, index }) => peers === nodes.length - 1 && index.membersHeard === nodes.length - 1)
  })
const told = (node: TestDaemon, blobs: number) =>
  eventually('its content is announced', async () => {
    const status = await node.status()
    return status.blobs >= blobs && status.index.peersInSync === nodes.length - 1
  })

async function ask(
  node: TestDaemon,
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; digest: string | null; source: string | null; text: string }> {
  const response = await fetch(`${node.mirror}/v2/${path}?ns=docker.io`, { headers: { accept, ...headers } })
  const text = await response.text()
  const digest = response.headers.get('docker-content-digest')
  return { status: response.status, digest, source: response.headers.get('nabo-source'), text }
}

/** Pulls an image by tag and digest, as a client does. */
async function pull(node: TestDaemon, name: string, image: Image, headers: Record<string, string> = {}): Promise<void> {
  const manifests = ['1', image.root.descriptor.digest, image.manifest.descriptor.digest].map(
    (reference) => `${name}/manifests/${reference}`,
  )
  const blobs = [image.config, ...image.layers].map(({ descriptor }) => `${name}/blobs/${descriptor.digest}`)
  for (const path of [...manifests, ...blobs]) assert.equal((await ask(node, path, headers)).status, 200, path)
}
const blobsOf = (image: Image) =>
  new Set([image.root, image.manifest, image.config, ...image.layers].map(({ descriptor }) => descriptor.digest)).size
const TAG = 'library/app/manifests/1'
const headsOf = async (registry: Hub) =>
  (await registry.requests()).filter(
    ({ method, path, status }) => method === 'HEAD' && status === 200 && path.endsWith(TAG),
  )

describe('a node without a cluster secret', () => {
  it('does not believe the tag of a stranger while the registry is down', async () => {
    const node = await start(hub)
    const stranger = await start(liar)
    await together()
    await pull(stranger, 'library/app', forged)
    await told(stranger, blobsOf(forged))
    await hub.setFaults(everywhere({ down: true }))
    const { status, text } = await ask(node, TAG)
    assert.equal(status, 404)
    assert.match(text, /this node does not know it/)
    // Nor does the operator get the stranger's word.
    const found = await fetch(`${node.admin}/api/v1/find?image=app:1`)
    assert.ok(!(await found.text()).includes(forged.root.descriptor.digest))
  })

  it('does not believe the answer about a tag that a stranger shares in the swarm', async () => {
    const all = [await start(hub), await start(liar), await start(hub), await start(liar)]
    await together()
    const digests = await Promise.all(all.map(async (node) => (await ask(node, TAG)).digest))
    const again = await Promise.all(all.map(async (node) => (await ask(node, TAG)).digest))
    const [own, other] = [real.root.descriptor.digest, forged.root.descriptor.digest]
    for (const answers of [digests, again]) assert.deepEqual(answers, [own, other, own, other])
    // Each node asks for itself, once for the clients of fifteen seconds.
    assert.equal((await headsOf(hub)).length, 2)
  })

  it('takes content by digest from a stranger', async () => {
    const node = await start(hub)
    const stranger = await start(liar)
    await together()
    await pull(stranger, 'library/mirrored', real)
    await told(stranger, blobsOf(real))
    assert.equal((await ask(node, TAG)).digest, real.root.descriptor.digest)
    await hub.setFaults({ cdn: { down: true } })
    const layer = await ask(node, `library/app/blobs/${real.layers[0]?.descriptor.digest}`)
    assert.equal(layer.status, 200)
    assert.equal(layer.source, 'peer')
  })

  it('does not believe a stranger that private content is public', async () => {
    const node = await start(hub)
    const stranger = await start(liar)
    await together()
    // The stranger's registry shows everybody what the registry of this node keeps for ann.
    await pull(stranger, 'org/hidden', hidden)
    await told(stranger, blobsOf(hidden))
    await pull(node, 'org/hidden', hidden, ANN)
    const layer = `org/hidden/blobs/${hidden.layers[0]?.descriptor.digest}`
    const manifest = `org/hidden/manifests/${hidden.manifest.descriptor.digest}`
    assert.ok(node.requests().some((line) => line['source'] === 'peer'))
    // While the stranger is there, clients get from it what it gives to everybody.
    await stranger.stop()
    nodes = [node]
    for (const path of [layer, manifest]) {
      assert.equal((await ask(node, path)).status, 401, path)
      const asStranger = await fetch(`${node.peer}/v2/${path}?ns=docker.io`)
      await asStranger.arrayBuffer()
      assert.equal(asStranger.status, 404, path)
    }
    // Nor that a public repository is private.
    await pull(node, 'library/app', real)
  })

  it('takes no message about quotas from a stranger', async () => {
    const node = await start(hub)
    const seen = { registry: 'docker.io', host: 'registry-1.docker.io', source: 'ann', limit: 100, remaining: 0 }
    const body = encodeMessage(quota.request, { ...seen, windowSeconds: 21_600, asOf: Date.now() })
    const stranger = await TestMember.create([])
    const response = await stranger.ask({ id: node.id, url: node.peer }, quota.path, { method: 'POST', body })
    await response.arrayBuffer()
    assert.equal(response.status, 405)
    assert.ok(!(await (await fetch(`${node.admin}/api/v1/quota`)).text()).includes('docker.io'))
  })

  it('tells peers its loopback address, and says so in its log', async () => {
    const node = await start(hub)
    for (const host of ['localhost', '127.0.0.1']) {
      const { advertiseAddr } = await resolveAddresses(readServeFlags(['--peer-addr', `${host}:1`]))
      assert.deepEqual(advertiseAddr, ['127.0.0.1'])
    }
    const [about] = node.lines.filter(({ msg }) => /no --cluster-secret-file/.test(String(msg)))
    assert.match(String(about?.['msg']), /the peer and router listeners are on loopback/)
  })

  it('listens for other machines if the operator allows it, and warns of what that opens', async () => {
    const open = ['--insecure-without-secret', '--peer-addr', '0.0.0.0:0']
    const node = await start(hub, { flags: open })
    const [about] = node.lines.filter(({ msg }) => /no --cluster-secret-file/.test(String(msg)))
    assert.match(String(about?.['msg']), /can join, announce content, and read public and imported images/)
    assert.deepEqual(about?.['open'], ['0.0.0.0:0'])
  })
})

describe('a node with --tag-policy own', () => {
  const own = { flags: ['--tag-policy', 'own'], secret: true }

  it('asks the registry itself, whatever its neighbours say', async () => {
    const all = [await start(hub, own), await start(liar, { secret: true }), await start(hub, own)]
    await together()
    await ask(all[1] ?? assert.fail(), TAG)
    for (const node of [all[0], all[2]]) {
      const { digest } = await ask(node ?? assert.fail(), TAG)
      assert.equal(digest, real.root.descriptor.digest)
    }
    assert.equal((await headsOf(hub)).length, 2)
  })

  it('answers what it knows itself while the registry is down, and nothing that a neighbour knows', async () => {
    const cache = join(directory, 'cache')
    const before = await start(hub, { ...own, cache })
    await pull(before, 'library/app', real)
    await before.stop()
    nodes = []
    const node = await start(hub, { ...own, cache })
    const newcomer = await start(hub, own)
    const neighbour = await start(liar, { secret: true })
    await together()
    // Later than what the node knows: with `fresh` the neighbour's answer would win.
    await liar.setFaults({ dateOffsetMs: 60_000 })
    await pull(neighbour, 'library/app', forged)
    await told(neighbour, blobsOf(forged))
    await hub.setFaults(everywhere({ down: true }))
    const { digest, source } = await ask(node, TAG)
    assert.equal(digest, real.root.descriptor.digest)
    assert.equal(source, 'store')
    assert.equal((await ask(newcomer, TAG)).status, 404)
    // By digest the neighbours give it all the same.
    const path = `library/app/manifests/${real.root.descriptor.digest}`
    assert.equal((await ask(newcomer, path)).status, 200)
  })
})
