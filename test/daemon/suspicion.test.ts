import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it, mock } from 'node:test'

import { SelfCheck } from '../../src/delivery/integrity/self-check.ts'
import { type Digest, digestHex, digestOf } from '../../src/oci/digest.ts'
import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { type MemberRequest, TestMember } from '../support/test-member.ts'

const accept = MANIFEST_ACCEPT.join(', ')
const SECRET = 'a secret that all nodes share'

describe('a node whose disk has damaged a layer', () => {
  let hub: Hub
  let image: Image
  let directory: string
  let nodes: TestDaemon[]
  let holder: TestDaemon
  let layer: Digest

  before(async () => {
    image = makeImage({ layers: [{ size: 6_000_000, seed: 'damaged' }] })
    layer = image.layers[0]?.descriptor.digest ?? assert.fail()
    hub = await createHub({})
    await hub.publish('app', '1', image)
  })
  after(() => hub.close())
  beforeEach(async () => {
    await hub.reset()
    directory = await mkdtemp(join(tmpdir(), 'nabo-suspicion-'))
    await writeFile(join(directory, 'secret'), `${SECRET}\n`)
    nodes = []
  })
  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await rm(directory, { recursive: true, force: true })
  })

  async function start(flags: string[] = []): Promise<TestDaemon> {
    const first = nodes[0]
    const join = first === undefined ? [] : ['--bootstrap', `static:${first.router}`]
    const common = ['--upstream', `docker.io=${hub.registryUrl}`, '--cluster-secret-file', `${directory}/secret`]
    const options = { directory: `${directory}/${first === undefined ? 'holder' : `node-${nodes.length}`}` }
    const node = await runDaemon([...common, ...join, ...flags], options)
    nodes.push(node)
    return node
  }
  /** The first node and those named hold the image, and its layer is damaged on their disks; the others know that they hold it. */
  async function prepare(others: string[][], flags: string[] = [], damagedToo: number[] = []): Promise<void> {
    holder = await start(flags)
    for (const flags of others) await start(flags)
    const holders = [0, ...damagedToo]
    for (const number of holders) assert.equal(await pull(nodes[number] ?? assert.fail()), 'right')
    await eventually('its content is announced', async () => {
      const all = await Promise.all(nodes.map((node) => node.status()))
      return (
        holders.every((number) => all[number]?.blobs === 3) &&
        all.every(({ peers, index }) => peers === others.length && index.peersInSync === peers)
      )
    })
    await damage('holder')
    for (const number of damagedToo) await damage(`node-${number}`)
  }
  async function damage(folder: string): Promise<void> {
    const names = await readdir(join(directory, folder), { recursive: true })
    const path = join(directory, folder, names.find((name) => name.endsWith(digestHex(layer))) ?? assert.fail())
    const bytes = await readFile(path)
    bytes[bytes.length >> 1] = ~(bytes[bytes.length >> 1] ?? 0)
    await writeFile(path, bytes)
  }
  async function pull(node: TestDaemon): Promise<'right' | 'wrong' | 'broken'> {
    for (const reference of ['1', image.manifest.descriptor.digest]) {
      const response = await fetch(`${node.mirror}/v2/library/app/manifests/${reference}`, { headers: { accept } })
      assert.equal(response.status, 200, await response.clone().text())
      await response.arrayBuffer()
    }
    const results: ('right' | 'wrong' | 'broken')[] = []
    for (const { descriptor } of [image.config, ...image.layers]) results.push(await get(node, descriptor.digest))
    return results.find((result) => result !== 'right') ?? 'right'
  }
  async function get(node: TestDaemon, digest: Digest): Promise<'right' | 'wrong' | 'broken'> {
    const response = await fetch(`${node.mirror}/v2/library/app/blobs/${digest}`)
    assert.equal(response.status, 200)
    const bytes = await response.arrayBuffer().catch(() => undefined)
    if (bytes === undefined) return 'broken'
    return digestOf(new Uint8Array(bytes)) === digest ? 'right' : 'wrong'
  }
  const errors = (node: TestDaemon) => node.lines.filter((line) => line['level'] === 50)
  const quarantined = () =>
    eventually('the holder has found out', () => errors(holder).some((line) => line['digest'] === layer))
  const metric = async (node: TestDaemon, name: string) => {
    const text = await (await fetch(`${node.admin}/metrics`)).text()
    return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1])
  }

  it('fails one pull of a neighbour at most, finds out, and takes its claim back', async () => {
    await prepare([[]])
    const [, other] = nodes as [TestDaemon, TestDaemon]
    const before = await holder.status()
    assert.equal(await pull(other), 'broken')
    await quarantined()
    await eventually(
      'it holds the layer no more',
      async () => (await holder.status()).index.ownKeys === before.index.ownKeys - 1,
    )
    assert.equal(await pull(other), 'right')
    assert.equal(await metric(holder, 'nabo_quarantines_total'), 1)
    assert.equal(await metric(other, 'nabo_quarantines_total'), 0)
    assert.equal(await metric(other, 'nabo_suspect_blobs_total'), 1)
    assert.ok(other.lines.some((line) => /sent wrong bytes/.test(String(line['msg'])) && line['digest'] === layer))
    assert.equal(errors(holder).length, 1)
    assert.ok(!JSON.stringify(errors(holder)).includes(directory))
    // Its own client gets the right one as well.
    assert.equal(await pull(holder), 'right')
  })

  it('is found out when the cache of its neighbour does not keep the layer, which is hashed on its way all the same', async () => {
    // Too small for the layer: it passes through.
    await prepare([['--cache-size', '1MiB']])
    const [, other] = nodes as [TestDaemon, TestDaemon]
    assert.equal(await get(other, layer), 'broken')
    assert.equal(await get(other, layer), 'right')
    await quarantined()
    assert.equal(await get(other, layer), 'right')
  })

  it('does not give it to who had wrong bytes from another one', async () => {
    await prepare([[], ['--cache-size', '1MiB']], [], [1])
    const [, , other] = nodes as [TestDaemon, TestDaemon, TestDaemon]
    assert.equal(await get(other, layer), 'broken')
    assert.equal(await get(other, layer), 'right')
  })

  it('is the only one to blame when a neighbour passes its bytes on', async () => {
    await prepare(
      [
        ['--tree-children', '1'],
        ['--tree-children', '1'],
      ],
      ['--tree-children', '1', '--peer-bandwidth', '4MB'],
    )
    const others = nodes.slice(1)
    const first = await Promise.all(others.map(pull))
    assert.ok(first.includes('broken') || first.includes('right'))
    assert.ok(!first.includes('wrong'))
    await quarantined()
    for (const node of others) assert.equal(await pull(node), 'right')
    for (const node of others) {
      assert.deepEqual(errors(node), [])
      assert.equal(await metric(node, 'nabo_quarantines_total'), 0)
    }
  })

  it('checks a layer for those only who belong, and takes no nonsense', async () => {
    await prepare([])
    const target = '/nabo/v1/verify'
    const [member, outsider] = [
      await TestMember.create([SECRET]),
      await TestMember.create(['another secret altogether']),
    ]
    const asked = { id: holder.id, url: holder.peer }
    const ask = (body: string, sender = member, tamper?: MemberRequest['tamper']) =>
      sender.ask(asked, target, { method: 'POST', body, ...(tamper === undefined ? {} : { tamper }) })
    const about = (digest: string) => JSON.stringify({ digest })

    assert.equal((await fetch(`${holder.peer}${target}`, { method: 'POST', body: about(layer) })).status, 403)
    assert.equal((await ask(about(layer), outsider)).status, 403)
    const exchanged = await ask('{}', member, (sent) => void (sent.body = Buffer.from(about(layer))))
    assert.equal(exchanged.status, 403)
    for (const body of [
      '',
      'null',
      '{}',
      '{"digest":7}',
      about('sha256:00'),
      about('../../etc/passwd'),
      `{"digest":"${layer}","x":1}`,
    ]) {
      assert.equal((await ask(body)).status, 400, body)
    }
    const long = about('x'.repeat(100_000))
    assert.equal((await ask(long)).status, 413)
    assert.deepEqual(errors(holder), [])

    const unknown = about(`sha256:${'0'.repeat(64)}`)
    const harmless = await ask(unknown)
    assert.equal(harmless.status, 200)
    assert.deepEqual(await harmless.json(), { accepted: true })

    const answers = await Promise.all(Array.from({ length: 50 }, async () => (await ask(about(layer))).json()))
    assert.equal(answers.filter((answer) => (answer as { accepted: boolean }).accepted).length, 1)
    await quarantined()
  })
})

describe('holders that send wrong bytes and vouch for their copies', () => {
  const LIARS = 5
  let hub: Hub
  let image: Image
  let directory: string
  let honest: TestDaemon
  let liars: TestDaemon[]
  let layer: Digest
  let started = 0

  before(async () => {
    image = makeImage({ layers: [{ size: 300_000, seed: 'lies' }] })
    layer = image.layers[0]?.descriptor.digest ?? assert.fail()
    hub = await createHub({})
    await hub.publish('app', '1', image)
    directory = await mkdtemp(join(tmpdir(), 'nabo-lies-'))
    await writeFile(join(directory, 'secret'), `${SECRET}\n`)
    honest = await start()
    liars = await Promise.all(Array.from({ length: LIARS }, () => start()))
    for (const node of [honest, ...liars]) {
      await eventually('it holds the image', async () => (await pull(node)) === 'right')
    }
    for (let number = 1; number <= LIARS; number += 1) await damage(number)
    // The holders are in this process: none of them checks its copy.
    mock.method(SelfCheck.prototype, 'request', () => true)
  })
  after(async () => {
    mock.restoreAll()
    await Promise.all([honest, ...liars].map((node) => node.stop()))
    await hub.close()
    await rm(directory, { recursive: true, force: true })
  })

  function start(flags: string[] = []): Promise<TestDaemon> {
    const join = started === 0 ? [] : ['--bootstrap', `static:${honest.router}`]
    const common = ['--upstream', `docker.io=${hub.registryUrl}`, '--cluster-secret-file', `${directory}/secret`]
    return runDaemon([...common, ...join, ...flags], { directory: `${directory}/node-${started++}` })
  }
  async function damage(number: number): Promise<void> {
    const names = await readdir(join(directory, `node-${number}`), { recursive: true })
    const name = names.find((found) => found.endsWith(digestHex(layer))) ?? assert.fail()
    const path = join(directory, `node-${number}`, name)
    const bytes = await readFile(path)
    bytes[1000] = ~(bytes[1000] ?? 0)
    await writeFile(path, bytes)
  }
  async function pull(node: TestDaemon): Promise<'right' | 'wrong' | 'broken' | number> {
    const manifest = await fetch(`${node.mirror}/v2/library/app/manifests/1?ns=docker.io`, { headers: { accept } })
    await manifest.arrayBuffer()
    if (!manifest.ok) return manifest.status
    const response = await fetch(`${node.mirror}/v2/library/app/blobs/${layer}?ns=docker.io`)
    const bytes = await response.arrayBuffer().catch(() => undefined)
    if (bytes === undefined) return 'broken'
    if (!response.ok) return response.status
    return digestOf(new Uint8Array(bytes)) === layer ? 'right' : 'wrong'
  }
  /** The results of pulls by a new node that knows all holders, up to the first that succeeds. */
  async function results(flags: string[], pulls: number): Promise<(string | number)[]> {
    const node = await start(flags)
    try {
      await eventually('it knows all holders', async () => {
        const { index } = await node.status()
        return index.peersInSync === LIARS + 1
      })
      const all: (string | number)[] = []
      while (all.length < pulls && !all.includes('right')) all.push(await pull(node))
      return all
    } finally {
      await node.stop()
    }
  }

  it('fail one pull at most where the registry may be asked', async () => {
    const all = await results([], 25)
    assert.ok(all.length <= 2 && all.at(-1) === 'right', all.join(' '))
  })

  it('fail one pull at most where one honest holder is among them and no registry may be asked', async () => {
    const all = await results(['--fallback', 'none'], 25)
    assert.ok(all.length <= 2 && all.at(-1) === 'right', all.join(' '))
  })

  it('fail one pull at most of a client whose blobs only pass through', async () => {
    const all = await results(['--fallback', 'none', '--cache-size', '100KB'], 25)
    assert.ok(all.length <= 2 && all.at(-1) === 'right', all.join(' '))
  })

  it('lead to a refusal, not to wrong bytes, where nothing else is left', async () => {
    await damage(0)
    const all = await results(['--fallback', 'none'], 3)
    assert.deepEqual(all.slice(1), [404, 404], all.join(' '))
  })
})
