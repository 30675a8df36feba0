import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { TestMember } from '../support/test-member.ts'

const accept = MANIFEST_ACCEPT.join(', ')
const SECRET = 'a secret that all nodes share'

describe('nodes that share a secret', () => {
  let hub: Hub
  let image: Image
  let directory: string
  let nodes: TestDaemon[]

  before(async () => {
    image = makeImage({
      layers: [
        { size: 4_000_000, seed: 'x' },
        { size: 40_000, seed: 'y' },
      ],
      multiArch: true,
    })
    hub = await createHub({
      users: [{ name: 'ann', password: 'kept-to-herself', mayPull: ['org/hidden'] }],
      privateRepositories: ['org/hidden'],
    })
    await hub.publish('app', '1', image)
    await hub.publish('org/hidden', '1', image)
    await hub.publish('org/other', '1', makeImage({ layers: [{ size: 1000, seed: 'other' }] }))
  })
  after(() => hub.close())
  beforeEach(async () => {
    await hub.reset()
    directory = await mkdtemp(join(tmpdir(), 'nabo-cluster-'))
    await writeFile(join(directory, 'secret'), `${SECRET}\n`)
    nodes = []
  })
  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await rm(directory, { recursive: true, force: true })
  })

  async function start(flags: string[] = []): Promise<TestDaemon> {
    const join = nodes[0] === undefined ? [] : ['--bootstrap', `static:${nodes[0].router}`]
    const secret = ['--cluster-secret-file', `${directory}/secret`]
    const node = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`, ...secret, ...join, ...flags])
    nodes.push(node)
    return node
  }
  const together = () =>
    eventually('all nodes know all', async () => {
      const all = await Promise.all(nodes.map((node) => node.status()))
      return all.every((status) => status.peers === nodes.length - 1 && status.index.membersHeard === nodes.length - 1)
    })
  const settled = (node: TestDaemon, blobs: number) =>
    eventually('its content is announced', async () => {
      const status = await node.status()
      return status.blobs === blobs && status.index.peersInSync === nodes.length - 1
    })
  async function pull(node: TestDaemon, options: { repository?: string; tag?: string } = {}): Promise<void> {
    const { repository = 'library/app', tag = '1' } = options
    for (const reference of [tag, image.manifest.descriptor.digest]) {
      const response = await fetch(`${node.mirror}/v2/${repository}/manifests/${reference}`, { headers: { accept } })
      assert.equal(response.status, 200, await response.clone().text())
    }
    for (const { descriptor } of [image.config, ...image.layers]) {
      const response = await fetch(`${node.mirror}/v2/${repository}/blobs/${descriptor.digest}`)
      assert.equal(response.status, 200)
      assert.equal(digestOf(new Uint8Array(await response.arrayBuffer())), descriptor.digest)
    }
  }
  const held = () => image.layers.length + 3

  it('ask Docker Hub for each blob once, and for manifests only on the first pull', async () => {
    const a = await start()
    await start()
    await start()
    await together()
    await pull(a)
    await settled(a, held())
    const first = await hub.counters()
    for (const node of nodes.slice(1)) {
      await pull(node)
      await settled(node, held())
    }
    const last = await hub.counters()
    assert.equal(last.manifestGets, first.manifestGets)
    assert.equal(last.blobBytes, first.blobBytes)
    assert.ok(nodes[2]?.requests().some((line) => line['kind'] === 'blob' && line['source'] === 'peer'))
  })

  it('give each other tags and content while Docker Hub is down, hangs or limits', async () => {
    const a = await start()
    const b = await start()
    await together()
    await pull(a)
    await settled(a, held())
    for (const fault of [{ down: true }, { status: 429, text: 'Too Many Requests' }, { hang: true }]) {
      await hub.setFaults(everywhere(fault))
      await pull(b)
    }
  })

  it('answer with the tag that the upstream named last, when it is down', async () => {
    const newer = makeImage({ layers: [{ size: 1000, seed: 'newer' }] })
    await hub.publish('moving', 'latest', image)
    const a = await start()
    const resolve = async (node: TestDaemon) =>
      (await fetch(`${node.mirror}/v2/library/moving/manifests/latest`, { headers: { accept } })).headers.get(
        'docker-content-digest',
      )
    // Alone, so that its answer is not shared with the others, who come later.
    assert.equal(await resolve(a), image.root.descriptor.digest)
    const [b, c] = [await start(), await start()]
    await together()
    await hub.publish('moving', 'latest', newer)
    await hub.setFaults({ dateOffsetMs: 60_000 })
    assert.equal(await resolve(b), newer.root.descriptor.digest)
    await settled(a, 1)
    await settled(b, 1)
    await hub.setFaults(everywhere({ down: true }))
    assert.equal(await resolve(c), newer.root.descriptor.digest)
  })

  it('do not ask the upstream for a registry that does not fall back', async () => {
    const a = await start()
    const b = await start(['--fallback', 'none'])
    await together()
    const url = `${b.mirror}/v2/library/app/blobs/${image.layers[0]?.descriptor.digest}`
    const missing = await fetch(url)
    assert.equal(missing.status, 403)
    assert.match(await missing.text(), /no node has it, and docker.io is not fetched by the mirror/)
    // Who came by `ns` has another host to go to.
    assert.equal((await fetch(`${url}?ns=docker.io`)).status, 404)
    await pull(a)
    await settled(a, held())
    const before = await hub.counters()
    assert.equal(digestOf(new Uint8Array(await (await fetch(url)).arrayBuffer())), image.layers[0]?.descriptor.digest)
    assert.equal((await hub.counters()).blobGets, before.blobGets)
  })

  it('give nothing to a stranger', async () => {
    const a = await start()
    await pull(a)
    const target = `/v2/library/app/blobs/${image.layers[0]?.descriptor.digest}?ns=docker.io`
    const [member, outsider] = [
      await TestMember.create([SECRET]),
      await TestMember.create(['another secret altogether']),
    ]
    const node = { id: a.id, url: a.peer }
    const ask = (authorization?: string) =>
      fetch(`${a.peer}${target}`, authorization === undefined ? {} : { headers: { authorization } })
    for (const refused of [ask(), ask('Nabo t=1,mac=00'), outsider.ask(node, target)]) {
      const response = await refused
      assert.equal(response.status, 403)
      assert.ok(!(await response.text()).includes('sha256'))
    }
    assert.equal((await member.ask(node, target)).status, 200)
    const asMember = { method: 'POST', body: '{}' }
    assert.equal((await fetch(`${a.peer}/nabo/v1/lookup`, asMember)).status, 403)
    assert.equal((await outsider.ask(node, '/nabo/v1/announce', asMember)).status, 403)
    assert.equal((await member.ask(node, '/nabo/v1/announce', asMember)).status, 400)

    await writeFile(join(directory, 'other'), 'another secret altogether\n')
    const stranger = await runDaemon([
      ...['--upstream', `docker.io=${hub.registryUrl}`, '--fallback', 'none', '--bootstrap', `static:${a.router}`],
      ...['--cluster-secret-file', join(directory, 'other')],
    ])
    try {
      await eventually('the stranger was refused', () =>
        stranger.lines.some((line) => /bootstrap|dial|reach/.test(String(line['msg']))),
      )
      assert.equal((await stranger.status()).peers, 0)
      assert.equal((await a.status()).peers, 0)
    } finally {
      await stranger.stop()
    }
  })

  it('do not share what was pulled with credentials, under its own name or another', async () => {
    const file = join(directory, 'config.json')
    await writeFile(file, JSON.stringify({ auths: { 'docker.io': { username: 'ann', password: 'kept-to-herself' } } }))
    const a = await start(['--credentials-file', file])
    const b = await start()
    await together()
    await pull(a, { repository: 'org/hidden' })
    await settled(a, held())
    const digest = image.layers[0]?.descriptor.digest
    for (const [repository, status] of [
      ['org/hidden', 401],
      ['org/other', 404],
    ] as const) {
      assert.equal((await fetch(`${b.mirror}/v2/${repository}/blobs/${digest}`)).status, status, repository)
    }
    assert.equal((await fetch(`${b.mirror}/v2/org/hidden/manifests/1`, { headers: { accept } })).status, 401)
    // The same node shares what turns out to be public, although it has credentials.
    await pull(a)
    await hub.setFaults({ cdn: { down: true } })
    await pull(b)
  })

  it('leave at once when they are told to stop', async () => {
    const a = await start()
    const b = await start()
    await together()
    await pull(b)
    await settled(b, held())
    await b.stop()
    nodes = [a]
    await eventually('b is gone', async () => {
      const status = await a.status()
      return status.peers === 0 && status.index.claims === 0
    })
  })

  it('stop sending to peers beyond the limit of transfers', async () => {
    const a = await start(['--peer-max-transfers', '1'])
    await pull(a)
    const target = `/v2/library/app/blobs/${image.layers[0]?.descriptor.digest}?ns=docker.io`
    const member = await TestMember.create([SECRET])
    const slow = await member.ask({ id: a.id, url: a.peer }, target)
    const busy = await member.ask({ id: a.id, url: a.peer }, target)
    assert.equal(busy.status, 503)
    assert.equal(busy.headers.get('nabo-busy'), '1')
    await slow.arrayBuffer()
  })
})
