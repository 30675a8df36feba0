import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import { PEER } from '../../../src/delivery/access/audience.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import { MANIFEST_ACCEPT } from '../../../src/oci/manifest.ts'
import { OciError } from '../../../src/oci/errors.ts'
import { UpstreamError } from '../../../src/upstream/upstream.ts'
import { type DeliveryNode, DeliveryNodes } from '../../support/delivery-nodes.ts'
import { type Content, makeImage } from '../../support/image-maker.ts'
import { eventually } from '../../support/poll.ts'

const NODE = { kind: 'node' } as const
const signal = new AbortController().signal
const app = { registry: 'docker.io', name: 'library/app' }
const other = { registry: 'docker.io', name: 'library/other' }
const tag = { ...app, tag: '1' }
const N = 8
const image = makeImage({
  layers: [
    { size: 1000, seed: 'manifests' },
    { size: 2000, seed: 'of eight nodes' },
  ],
  multiArch: true,
})
const root = image.root.descriptor.digest
const platform = image.manifest.descriptor.digest

describe('manifests in a rollout', () => {
  let all: DeliveryNodes

  beforeEach(() => {
    all = new DeliveryNodes()
    const publish = (reference: string, { descriptor, bytes }: Content) =>
      all.upstream.content.set(reference, { descriptor, bytes, date: 1000, anonymous: true })
    publish('1', image.root)
    for (const manifest of image.manifests) publish(manifest.descriptor.digest, manifest)
  })

  const start = (options: Parameters<DeliveryNodes['add']>[0] = {}, count = N) =>
    Array.from({ length: count }, () => all.add(options))
  const get = (node: DeliveryNode, digest: Digest = platform) => node.manifests.get(app, digest, signal)
  const pull = async (node: DeliveryNode) => {
    const resolved = await node.tags.resolve(tag, MANIFEST_ACCEPT, signal)
    await get(node, resolved.descriptor.digest)
    return get(node)
  }
  /** Holds all answers of the upstream back until the returned function is called. */
  const hold = () => {
    const gate = Promise.withResolvers<void>()
    all.upstream.gate = gate.promise
    return () => {
      all.upstream.gate = undefined
      gate.resolve()
    }
  }
  const leader = async (method: 'GET' | 'HEAD') => {
    await eventually('somebody asks the upstream', async () => all.upstream.count(method) > 0)
    return all.upstream.asked.find((line) => line.includes(method))?.split(' ')[0] ?? ''
  }

  it('cost one HEAD and two GETs, however many nodes pull at once', async () => {
    const pulled = await Promise.all(start().map((node) => pull(node)))
    for (const { bytes } of pulled) assert.deepEqual(bytes, image.manifest.bytes)
    assert.deepEqual([all.upstream.count('HEAD'), all.upstream.count('GET')], [1, 2])
    assert.equal(pulled.filter(({ source }) => source === 'upstream').length, 1)
  })

  it('by digest cost one GET and no HEAD, also for a node that comes later', async () => {
    const nodes = start()
    await Promise.all(nodes.map((node) => get(node)))
    await get(all.add())
    // Each of them tells its peers that the manifest is public.
    for (const node of nodes)
      assert.equal((await node.manifests.getLocal(app, platform, PEER, signal))?.access, 'public')
    assert.equal(all.upstream.count('GET'), 1)
    assert.equal(all.upstream.count('HEAD'), 0)
    // A holder speaks of this manifest alone, the registry of the repository.
    const verdicts = nodes.map((node) => node.rights.knownVerdict(app))
    assert.deepEqual(
      verdicts.filter((verdict) => verdict !== undefined),
      [true],
    )
  })

  it('are asked for once by a node whose clients ask at the same time', async () => {
    const [node] = start({}, 1)
    assert.ok(node)
    await Promise.all(Array.from({ length: 5 }, () => pull(node)))
    assert.equal(all.upstream.asked.length, 3)
  })

  it('cost no HEADs where everything is shared, whoever may see it', async () => {
    all.upstream.isPublic = false
    const nodes = start({
      privateImages: 'share',
      cache: { putManifest: async () => {} },
    })
    await Promise.all(nodes.map((node) => pull(node)))
    assert.deepEqual([all.upstream.count('HEAD'), all.upstream.count('GET')], [1, 2])
  })

  it('of a caller are fetched for it alone, and shown to it and to peers whose client is verified', async () => {
    all.upstream.isPublic = false
    const [node] = start({ rights: { hasCredentials: false } }, 2)
    assert.ok(node)
    const [ann, bob, eve] = ['ann', 'bob', 'eve'].map((id) => ({
      id,
      credential: { username: id, password: 'secret' },
    }))
    await Promise.all([ann, bob].map((caller) => node.manifests.get(app, platform, signal, caller)))
    assert.equal(all.upstream.count('GET'), 2)
    assert.deepEqual(all.swarm.grants, [])
    const asked = all.upstream.asked.length
    assert.ok(await node.manifests.getLocal(app, platform, { kind: 'peer', verified: true }, signal))
    assert.ok(await node.manifests.getLocal(app, platform, { kind: 'node', caller: ann }, signal))
    // The answers to their GETs are proofs: the registry is not asked again.
    assert.equal(all.upstream.asked.length, asked)
    assert.equal(await node.manifests.getLocal(app, platform, PEER, signal), undefined)
    assert.equal(await node.manifests.getLocal(app, platform, NODE, signal), undefined)
    all.upstream.failure = new UpstreamError('denied', 'docker.io denies access: 401')
    assert.equal(await node.manifests.getLocal(app, platform, { kind: 'node', caller: eve }, signal), undefined)
  })

  it('do not prove a right to the layers that they list', async () => {
    all.upstream.isPublic = false
    const [node] = start({}, 1)
    assert.ok(node)
    const ann = { id: 'ann', credential: { username: 'ann', password: 'secret' } }
    await node.manifests.get(app, platform, signal, ann)
    await get(node)
    const digest = image.layers[0]?.descriptor.digest ?? assert.fail()
    for (const audience of [NODE, PEER, { kind: 'node', caller: ann } as const])
      assert.equal(await node.rights.access(app, { kind: 'blobs', digest }, audience, { signal }), undefined)
  })

  it('are not given to others by a node that has them with its credentials only', async () => {
    all.upstream.isPublic = false
    const nodes = start()
    const pulled = await Promise.all(nodes.map((node) => pull(node)))
    assert.deepEqual(new Set(pulled.map(({ source }) => source)), new Set(['upstream']))
    assert.equal(all.upstream.count('GET'), 2 * N)
    assert.equal(all.upstream.asked.filter((line) => line.includes('anonymous')).length, 1)
    assert.deepEqual(
      nodes.map((node) => node.rights.knownVerdict(app)),
      Array(N).fill(false),
    )
  })

  it('of a private repository by digest are had by everybody alone, without waiting in a row', async () => {
    all.upstream.isPublic = false
    const open = hold()
    const pulling = Promise.all(start().map((node) => get(node)))
    await leader('GET')
    open()
    for (const { source } of await pulling) assert.equal(source, 'upstream')
  })

  for (const [reason, message] of [
    ['denied', 'registry-1.docker.io denies access: 401'],
    ['limited', 'registry-1.docker.io limits requests: 429'],
    ['failed', 'registry-1.docker.io answered 503'],
  ] as const) {
    it(`that are ${reason} to the one that asks are refused to all at once, with the reason`, async () => {
      all.upstream.failure = new UpstreamError(reason, message)
      const results = await Promise.allSettled(start().map((node) => get(node)))
      const messages = results.map((result) => {
        assert.ok(result.status === 'rejected' && result.reason instanceof OciError)
        return result.reason.message
      })
      // A node that only heard of it does not vouch for the words.
      const heard = `${platform}: no node has it, and another node says: ${message}`
      const expected = [`${platform}: no node has it, and ${message}`, ...Array(messages.length - 1).fill(heard)]
      assert.deepEqual(
        messages.toSorted((a, b) => a.length - b.length),
        expected,
      )
      assert.equal(all.upstream.asked.length, 1)
    })
  }

  it('that do not exist are asked for once', async () => {
    all.upstream.content.clear()
    const results = await Promise.allSettled(start().map((node) => get(node)))
    for (const result of results) {
      assert.ok(result.status === 'rejected')
      assert.match(String(result.reason), /no node has it, nor has docker\.io/)
    }
    assert.equal(all.upstream.asked.length, 1)
  })

  it('are fetched by another node when the one that went upstream dies', async () => {
    const open = hold()
    const nodes = start()
    const pulling = nodes.map((node) => get(node))
    const first = await leader('GET')
    // Only the first one's answer never comes.
    all.upstream.gate = undefined
    all.kill(first)
    const survivors = pulling.filter((_, index) => nodes[index]?.peer.id !== first)
    for (const { bytes } of await Promise.all(survivors)) assert.deepEqual(bytes, image.manifest.bytes)
    assert.equal(all.upstream.count('GET'), 2)
    assert.equal(new Set(all.swarm.grants).size, 2)
    open()
    await Promise.all(pulling)
  })

  it('come from the upstream when nobody coordinates', async () => {
    all.swarm.down()
    for (const { source } of await Promise.all(start().map((node) => get(node)))) assert.equal(source, 'upstream')
    assert.equal(all.upstream.count('GET'), N)
  })

  it('that a holder sends wrongly come from somebody else, and its claim is disproved', async () => {
    const [liar, honest, asker, later] = start({}, 4)
    assert.ok(liar && honest && asker && later)
    await get(liar)
    all.lies.set(liar.peer.id, Buffer.from('{"schemaVersion":2,"layers":[]}'))
    const found = await get(asker)
    assert.deepEqual(found.bytes, image.manifest.bytes)
    assert.match(asker.warnings.join(), /is not sha256/)
    assert.equal((await get(later)).peer, asker.peer.address)
    assert.equal(later.warnings.length, 0)
  })

  it('that are public are handed on from memory, under every name', async () => {
    const [node] = start({}, 1)
    assert.ok(node)
    await get(node)
    const asked = all.upstream.asked.length
    assert.equal((await node.manifests.getLocal(app, platform, PEER, signal))?.access, 'public')
    // That the other repository is public is not known.
    assert.equal((await node.manifests.getLocal(other, platform, PEER, signal))?.access, 'open')
    assert.ok(await node.manifests.holds(platform, signal))
    assert.equal((await get(node)).source, 'local')
    assert.equal(all.upstream.asked.length, asked)
  })

  it('that are not public are handed on from memory under no name', async () => {
    all.upstream.isPublic = false
    const [node] = start({}, 1)
    assert.ok(node)
    await get(node)
    for (const repository of [app, other])
      assert.equal(await node.manifests.getLocal(repository, platform, PEER, signal), undefined)
    assert.ok(await node.manifests.holds(platform, signal))
    assert.equal((await get(node)).source, 'local')
  })

  for (const [title, believesPeers] of [
    ['are recorded as public if a peer says so', true],
    ['are not recorded as public if a peer says so in a cluster without a secret', false],
  ] as const) {
    it(title, async () => {
      const recorded: boolean[] = []
      const putManifest = async (_bytes: Uint8Array, { isPublic }: { isPublic: boolean }) =>
        void recorded.push(isPublic)
      const [holder] = start({}, 1)
      assert.ok(holder)
      await get(holder)
      all.upstream.isPublic = false
      const node = all.add({ rights: { believesPeers, hasCredentials: false }, cache: { putManifest } })
      assert.equal((await get(node)).source, 'peer')
      assert.deepEqual(recorded, [believesPeers])
      assert.equal(
        (await node.manifests.getLocal(app, platform, PEER, signal))?.access,
        believesPeers ? 'public' : undefined,
      )
    })
  }

  it('that have just arrived are not missed by a neighbour whose question to the store took longer', async () => {
    const [node] = start({}, 1)
    assert.ok(node)
    const open = hold()
    const getting = get(node)
    await leader('GET')
    const stored = Promise.withResolvers<undefined>()
    node.store.open = () => stored.promise
    const asked = node.manifests.getLocal(app, platform, { kind: 'peer', verified: true }, signal)
    open()
    await getting
    stored.resolve(undefined)
    assert.deepEqual((await asked)?.bytes, image.manifest.bytes)
  })

  it('go on arriving for the neighbours when the client that asked first has gone', async () => {
    const [first, second] = start({}, 2)
    assert.ok(first && second)
    const open = hold()
    const gone = new AbortController()
    const asking = first.manifests.get(app, platform, gone.signal)
    await leader('GET')
    const following = get(second)
    gone.abort(new Error('gone'))
    await assert.rejects(asking, /gone/)
    open()
    assert.equal((await following).peer, first.peer.address)
    assert.equal(all.upstream.asked.length, 1)
  })

  it('tell the swarm and the node what comes next', async () => {
    const [node] = start({}, 1)
    assert.ok(node)
    await get(node, root)
    const prepared = () => all.swarm.prepared.get(node.peer.id)?.map(({ content }) => content) ?? []
    const children = image.manifests.filter(({ descriptor }) => descriptor.digest !== root)
    assert.deepEqual(
      new Set(prepared()),
      new Set(children.map(({ descriptor: { digest } }) => ({ kind: 'manifest', digest }))),
    )
    await get(node, platform)
    for (const { descriptor } of [image.config, ...image.layers]) {
      assert.ok(prepared().some((item) => item.kind === 'blob' && item.digest === descriptor.digest))
      assert.equal(node.sizes.of(app, descriptor.digest), descriptor.size)
      assert.equal(node.sizes.of(other, descriptor.digest), undefined)
    }
  })

  it('of a registry that is not fetched from are asked of nobody but the holders', async () => {
    const [node] = start({}, 1)
    assert.ok(node)
    const elsewhere = { registry: 'ghcr.io', name: 'org/app' }
    await assert.rejects(node.manifests.get(elsewhere, platform, signal), /ghcr\.io is not fetched by the mirror/)
    assert.deepEqual(all.swarm.grants, [])
    assert.deepEqual(all.upstream.asked, [])
  })
})
