import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { type MemberRequest, TestMember } from '../support/test-member.ts'

const accept = MANIFEST_ACCEPT.join(', ')
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
const ann = basic('ann:kept-to-herself')
const carl = basic('carl:his-own')
const wrong = [
  basic('ann:guessed'),
  basic('nobody:at-all'),
  basic('bob:knows-nothing'),
  basic(':kept-to-herself'),
  basic('ann:'),
  basic('ann:kept-to-herself\n'),
  basic('a\u0000b:c'),
]
/** What is no credential for a mirror. */
const none = [undefined, 'Bearer kept-to-herself', 'Basic', 'Basic !!!', basic(':')]
const hidden = 'org/hidden'

describe('an image that is not public', () => {
  const base = { size: 40_000, seed: 'base' }
  const secret = makeImage({ layers: [{ size: 300_000, seed: 'secret' }, base], multiArch: true })
  const open = makeImage({ layers: [{ size: 30_000, seed: 'open' }, base] })
  const privateLayer = secret.layers[0]?.descriptor.digest ?? assert.fail()
  const commonLayer = secret.layers[1]?.descriptor.digest ?? assert.fail()
  const unknownLayer = digestOf(Buffer.from('nobody has this'))
  let hub: Hub
  let directory: string
  let nodes: TestDaemon[]

  before(async () => {
    hub = await createHub({
      users: [
        { name: 'ann', password: 'kept-to-herself', mayPull: [hidden] },
        { name: 'bob', password: 'knows-nothing' },
        { name: 'carl', password: 'his-own', mayPull: [hidden] },
      ],
      privateRepositories: [hidden],
    })
    await hub.publish(hidden, '1', secret)
    await hub.publish('library/app', '1', open)
  })
  after(() => hub.close())
  beforeEach(async () => {
    await hub.reset()
    directory = await mkdtemp(join(tmpdir(), 'nabo-private-'))
    await writeFile(join(directory, 'secret'), 'a secret that all nodes share\n')
    nodes = []
  })
  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await rm(directory, { recursive: true, force: true })
  })

  async function start(
    flags: readonly string[] = [],
    options: { cache?: string; secret?: boolean } = {},
  ): Promise<TestDaemon> {
    const join = nodes[0] === undefined ? [] : ['--bootstrap', `static:${nodes[0].router}`]
    const secret = options.secret === false ? [] : ['--cluster-secret-file', `${directory}/secret`]
    const store = options.cache === undefined ? {} : { directory: options.cache }
    const hasSecret = options.secret === undefined ? {} : { secret: options.secret }
    const node = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`, ...secret, ...join, ...flags], {
      ...store,
      ...hasSecret,
    })
    nodes.push(node)
    return node
  }
  const together = () =>
    eventually('all nodes know all', async () => {
      const all = await Promise.all(nodes.map((node) => node.status()))
      return all.every((status) => status.peers === nodes.length - 1 && status.index.membersHeard === nodes.length - 1)
    })
  const holds = (node: TestDaemon, blobs: number) =>
    eventually('its content is announced', async () => {
      const status = await node.status()
      return status.blobs === blobs && status.index.peersInSync === nodes.length - 1
    })
  const get = (node: TestDaemon, path: string, authorization?: string, method = 'GET') =>
    fetch(`${node.mirror}/v2/${path}`, {
      method,
      headers: { accept, ...(authorization === undefined ? {} : { authorization }) },
    })
  const status = async (node: TestDaemon, path: string, authorization?: string): Promise<number> => {
    const response = await get(node, path, authorization)
    await response.arrayBuffer()
    return response.status
  }
  const blob = (name: string, digest: Digest) => `${name}/blobs/${digest}`
  async function pull(node: TestDaemon, name: string, image: Image, authorization?: string): Promise<void> {
    const manifests = image.manifests.map(({ descriptor }) => `${name}/manifests/${descriptor.digest}`)
    const blobs = image.blobs.map(({ descriptor }) => blob(name, descriptor.digest))
    for (const path of [`${name}/manifests/1`, ...manifests, ...blobs]) {
      const response = await get(node, path, authorization)
      const bytes = new Uint8Array(await response.arrayBuffer())
      assert.equal(response.status, 200, path)
      assert.ok(path.endsWith('/1') || path.endsWith(digestOf(bytes)))
    }
  }
  const size = secret.manifests.length + secret.blobs.length

  it('is asked for with a challenge where the client sent no credentials', async () => {
    const node = await start()
    for (const credential of none) {
      for (const path of [`${hidden}/manifests/1`, blob(hidden, privateLayer), blob(hidden, unknownLayer)]) {
        const response = await get(node, path, credential)
        assert.equal(response.status, 401, `${path} ${credential}`)
        assert.equal(response.headers.get('www-authenticate'), 'Basic realm="nabo"')
        const { errors } = (await response.json()) as { errors: { code: string; message: string }[] }
        assert.deepEqual([errors.length, errors[0]?.code], [1, 'UNAUTHORIZED'])
        assert.equal((await get(node, path, credential, 'HEAD')).status, 401)
      }
    }
    assert.equal(await status(node, `${hidden}/tags/list`), 401)
    assert.equal(await status(node, ''), 200)
  })

  it('is given to the credentials that its registry takes, and kept for them', async () => {
    const node = await start()
    await pull(node, hidden, secret, ann)
    assert.equal(await status(node, `${hidden}/tags/list`, ann), 200)
    await holds(node, size)
    const before = await hub.counters()
    await pull(node, hidden, secret, ann)
    assert.equal((await hub.counters()).blobHeads, before.blobHeads)
    await pull(node, hidden, secret, carl)
    await pull(node, hidden, secret, carl)
    const later = await hub.counters()
    assert.deepEqual([later.manifestGets, later.blobGets], [before.manifestGets, before.blobGets])
    // A right is one content's, so that each is asked about once.
    assert.equal(later.blobHeads, before.blobHeads + secret.blobs.length)
    assert.ok(node.requests().every((line) => line['kind'] !== 'manifest' || line['status'] === 200))
  })

  it('is 404 for wrong credentials, in the same words whether it is there or not', async () => {
    const node = await start()
    await pull(node, hidden, secret, ann)
    await holds(node, size)
    const answer = async (path: string, credential: string) => {
      const response = await get(node, path, credential)
      assert.equal(response.headers.get('www-authenticate'), null)
      const name = path.split('/').at(-1) ?? ''
      return `${response.status} ${(await response.text()).replaceAll(name, 'it')}`
    }
    for (const credential of wrong) {
      const words = new Set<string>()
      for (const digest of [privateLayer, unknownLayer]) words.add(await answer(blob(hidden, digest), credential))
      assert.equal(words.size, 1, [...words].join())
      for (const tag of ['1', 'never']) words.add(await answer(`${hidden}/manifests/${tag}`, credential))
      assert.equal(words.size, 2)
      assert.ok(words.values().every((word) => word.startsWith('404 ')))
      const never = (await answer(blob('org/never', privateLayer), credential)).replaceAll('org/never', hidden)
      assert.ok(words.has(never), never)
      assert.equal(await status(node, `${hidden}/tags/list`, credential), 404)
    }
  })

  it('is not given under the name of another', async () => {
    const node = await start()
    await pull(node, 'library/app', open)
    await pull(node, hidden, secret, ann)
    for (const credential of [undefined, ann, carl, ...wrong]) {
      assert.equal(await status(node, blob('library/app', privateLayer), credential), 404)
      assert.equal(await status(node, `library/app/manifests/${secret.manifest.descriptor.digest}`, credential), 404)
      assert.equal(await status(node, blob('library/app', commonLayer), credential), 200)
    }
    // What came from a public repository alone is no secret under any name.
    for (const credential of [undefined, carl, wrong[0]])
      assert.equal(await status(node, blob(hidden, commonLayer), credential), 200)
  })

  it('leaves what is public to everybody, whatever credentials they send', async () => {
    const node = await start()
    for (const credential of [...wrong, ann, undefined]) await pull(node, 'library/app', open, credential)
    assert.ok((await hub.requests()).every((request) => request.user === undefined))
    assert.equal(await status(node, 'library/app/manifests/never'), 404)
    assert.equal(await status(node, blob('library/app', unknownLayer), ann), 404)
  })

  it('is a stranger’s neither while it arrives nor after a restart', async () => {
    const cache = join(directory, 'cache')
    const node = await start([], { cache })
    await status(node, `${hidden}/manifests/1`, ann)
    await hub.setFaults({ cdn: { bytesPerSecond: 200_000 } })
    const arriving = await get(node, blob(hidden, privateLayer), ann)
    assert.equal(arriving.status, 200)
    assert.equal(await status(node, blob(hidden, privateLayer)), 401)
    assert.equal(await status(node, blob(hidden, privateLayer), wrong[2]), 404)
    assert.equal(await status(node, blob('library/app', privateLayer)), 404)
    const joined = await get(node, blob(hidden, privateLayer), carl)
    await hub.setFaults({ cdn: {} })
    for (const response of [arriving, joined]) {
      assert.equal(digestOf(new Uint8Array(await response.arrayBuffer())), privateLayer)
    }
    assert.equal((await hub.counters()).blobGets, 1)
    await pull(node, hidden, secret, ann)
    await holds(node, size)

    await nodes.pop()?.stop()
    await hub.reset()
    const again = await start([], { cache })
    assert.equal(await status(again, blob(hidden, privateLayer)), 401)
    assert.equal(await status(again, blob(hidden, privateLayer), wrong[1]), 404)
    await pull(again, hidden, secret, ann)
    const { manifestGets, blobGets } = await hub.counters()
    assert.deepEqual([manifestGets, blobGets], [0, 0])
  })

  it('is 404 while its registry cannot be asked, and for a caller it knows it goes on', async () => {
    const cache = join(directory, 'cache')
    await pull(await start([], { cache }), hidden, secret, ann)
    await hub.setFaults(everywhere({ down: true }))
    const [node] = nodes
    assert.ok(node)
    assert.equal(await status(node, blob(hidden, privateLayer), ann), 200)
    assert.equal(await status(node, blob(hidden, privateLayer), carl), 404)
    await nodes.pop()?.stop()
    const again = await start([], { cache })
    for (const credential of [undefined, ann, wrong[0]]) {
      assert.equal(await status(again, blob(hidden, privateLayer), credential), 404)
      assert.equal(await status(again, `${hidden}/manifests/1`, credential), 404)
    }
  })

  it('comes from a neighbour for a caller whom its own node has checked', async () => {
    const [a, b] = [await start(), await start()]
    await together()
    await pull(a, hidden, secret, ann)
    await holds(a, size)
    const before = await hub.counters()
    await pull(b, hidden, secret, carl)
    const later = await hub.counters()
    assert.deepEqual([later.manifestGets, later.blobGets], [before.manifestGets, before.blobGets])
    assert.ok(b.requests().some((line) => line['kind'] === 'blob' && line['source'] === 'peer'))
    // Nobody is told who fetches what is not public.
    assert.ok([a, b].every((node) => node.lines.every((line) => line['kind'] !== 'join')))
    await hub.setFaults({ cdn: { down: true } })
    assert.equal(await status(b, blob(hidden, privateLayer)), 401)
    assert.equal(await status(b, blob('library/app', privateLayer), ann), 404)
  })

  it('is given to a peer that proves that it has checked its client, for this very digest', async () => {
    const node = await start()
    await pull(node, hidden, secret, ann)
    await holds(node, size)
    const [member, outsider] = [
      await TestMember.create(['a secret that all nodes share']),
      await TestMember.create(['another secret altogether']),
    ]
    const target = (digest: Digest) => `/v2/${hidden}/blobs/${digest}?ns=docker.io`
    const asked = { id: node.id, url: node.peer }
    const verified = { headers: { 'nabo-verified': '1' } }
    for (const [sender, request, expected] of [
      [member, verified, 200],
      [member, {}, 404],
      [member, { tamper: ({ headers }) => void (headers['nabo-verified'] = '1') }, 403],
      [member, { ...verified, tamper: ({ headers }) => void delete headers['nabo-verified'] }, 403],
      [member, { ...verified, tamper: (sent) => void (sent.target = target(commonLayer)) }, 403],
      [outsider, verified, 403],
    ] as [TestMember, MemberRequest, number][]) {
      const response = await sender.ask(asked, target(privateLayer), request)
      await response.arrayBuffer()
      assert.equal(response.status, expected)
    }
  })

  it('goes to no neighbour in a cluster without a secret', async () => {
    const [a, b] = [await start([], { secret: false }), await start([], { secret: false })]
    await together()
    await pull(a, hidden, secret, ann)
    await holds(a, size)
    const asPeer = `${a.peer}/v2/${hidden}/blobs/${privateLayer}?ns=docker.io`
    const response = await fetch(asPeer, { headers: { 'nabo-verified': '1' } })
    assert.equal(response.status, 404)
    const before = await hub.counters()
    await pull(b, hidden, secret, carl)
    assert.equal((await hub.counters()).blobGets, before.blobGets + secret.blobs.length)
    assert.ok(b.requests().every((line) => line['source'] !== 'peer'))
  })

  it('is nobody’s business where private images are skipped, and is never asked for where all is shared', async () => {
    const skip = await start(['--private-images', 'skip'])
    for (const credential of [undefined, ann, wrong[0]]) {
      for (const path of [`${hidden}/manifests/1`, blob(hidden, privateLayer), `${hidden}/tags/list`]) {
        assert.equal(await status(skip, path, credential), 404, path)
      }
    }
    await pull(skip, 'library/app', open, wrong[0])
    const share = await start(['--private-images', 'share'])
    assert.equal(await status(share, `${hidden}/manifests/1`), 404)
    assert.equal(await status(share, `${hidden}/tags/list`), 404)
    await pull(share, hidden, secret, ann)
    assert.equal(await status(share, blob(hidden, privateLayer)), 200)
  })

  it('is for every client of a node that has credentials for it itself', async () => {
    const file = join(directory, 'config.json')
    await writeFile(file, JSON.stringify({ auths: { 'docker.io': { username: 'ann', password: 'kept-to-herself' } } }))
    const node = await start(['--credentials-file', file])
    for (const credential of [undefined, wrong[0], carl]) await pull(node, hidden, secret, credential)
  })

  it('leaves no trace of a credential in the log', async () => {
    const node = await start()
    await pull(node, hidden, secret, ann)
    for (const credential of wrong) await status(node, blob(hidden, privateLayer), credential)
    await hub.setFaults(everywhere({ down: true }))
    await status(node, `${hidden}/manifests/other`, carl)
    const log = JSON.stringify(node.lines)
    for (const text of ['kept-to-herself', 'guessed', 'his-own', ann.slice(6), carl.slice(6)]) {
      assert.ok(!log.includes(text), text)
    }
    assert.doesNotMatch(log, /"authorization|authorization: (?:basic|bearer)/i)
  })

  it('stands apart from what others found out to be public, which a node learns while the registry is down', async () => {
    const a = await start()
    const b = await start()
    await together()
    await pull(a, 'library/app', open)
    await holds(a, open.manifests.length + open.blobs.length)
    await hub.setFaults(everywhere({ down: true }))
    const late = await start(['--private-images', 'skip'])
    await together()
    const layer = blob('library/app', open.layers[0]?.descriptor.digest ?? assert.fail())
    assert.equal(await status(late, layer), 200)
    assert.equal(await status(late, blob(hidden, privateLayer)), 404)
    assert.equal(await status(b, layer), 200)
  })
})
