import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { PEER } from '../../../src/delivery/access/audience.ts'
import { TagMemory } from '../../../src/delivery/tags/tag-memory.ts'
import { TagResolver, type TagResolverOptions, accepts } from '../../../src/delivery/tags/tag-resolver.ts'
import type { Rights } from '../../../src/delivery/access/rights.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { OciError } from '../../../src/oci/errors.ts'
import { type Descriptor, MANIFEST_ACCEPT, MEDIA_TYPES } from '../../../src/oci/manifest.ts'
import type { Peer } from '../../../src/overlay/overlay.ts'
import type { PeerTag } from '../../../src/peers/peer-client.ts'
import { PeerError } from '../../../src/peers/peer-transport.ts'
import type { KnownTag } from '../../../src/store/content-store.ts'
import {
  UpstreamError,
  type UpstreamOptions,
  type UpstreamQuestion,
  type UpstreamTag,
} from '../../../src/upstream/upstream.ts'
import { makeRights, proofOf } from '../../support/delivery-nodes.ts'
import { FakeSwarm } from '../../support/fake-swarm.ts'
import { MemoryStore } from '../../support/memory-store.ts'
import { eventually } from '../../support/poll.ts'

const NODE = { kind: 'node' } as const
const signal = new AbortController().signal
const tag = { registry: 'docker.io', name: 'library/app', tag: 'latest' }
const descriptorOf = (text: string, mediaType: string = MEDIA_TYPES.ociIndex): Descriptor => ({
  digest: digestOf(Buffer.from(text)),
  size: text.length,
  mediaType,
})
const peerOf = (name: string): Peer => ({ id: name, address: `${name}:7951` })

describe('a tag', () => {
  let store: MemoryStore
  let answers: Map<string, (KnownTag & Partial<PeerTag>) | undefined | Error>
  let disproved: string[]
  let upstream: (
    accept: readonly string[],
    as: UpstreamOptions['as'],
  ) => UpstreamTag | undefined | Error | Promise<UpstreamTag | undefined>
  let asked: string[]
  /** Peers that were told that the registry showed the tag to the client. */
  let verifiedAt: string[]
  let warnings: object[]

  beforeEach(async () => {
    store = new MemoryStore()
    await store.start()
    answers = new Map()
    disproved = []
    asked = []
    verifiedAt = []
    warnings = []
    upstream = () => new UpstreamError('unreachable', 'docker.io cannot be reached')
  })

  function resolverOf(options: Partial<TagResolverOptions> = {}): TagResolver {
    const headManifest = async (
      _repository: object,
      reference: string,
      { accept = [], as = 'node' }: Pick<UpstreamOptions, 'accept' | 'as'>,
    ) => {
      asked.push(`upstream ${reference}`)
      const answer = await upstream(accept, as)
      if (answer instanceof Error) throw answer
      return answer
    }
    const log = { debug: () => {}, info: () => {}, error: () => {}, warn: (fields: object) => warnings.push(fields) }
    const shows = async (repository: object, { reference }: UpstreamQuestion, options: UpstreamOptions) =>
      proofOf(await headManifest(repository, reference, options))
    return new TagResolver({
      store,
      index: { find: async () => [...answers.keys()].map(peerOf), disprove: (_, peer) => disproved.push(peer.id) },
      peers: {
        resolveTag: async (peer, _tag, { verified = false }) => {
          asked.push(peer.id)
          if (verified) verifiedAt.push(peer.id)
          const answer = answers.get(peer.id)
          if (answer instanceof Error) throw answer
          return answer && { access: 'public', ...answer }
        },
      },
      upstream: { headManifest },
      swarm: new FakeSwarm().member(peerOf('self')),
      policy: { mirrored: 'all', fallback: new Set(['docker.io']) },
      tagPolicy: 'fresh',
      upstreamTimeout: 20_000,
      believesPeers: true,
      rights: makeRights({ store, upstream: { shows } }),
      tags: new TagMemory(),
      log,
      ...options,
    })
  }
  const upstreamSays = (descriptor: Descriptor, date = 1000): UpstreamTag => ({ descriptor, date, anonymous: true })
  const hold = (text: string, asOf: number) => {
    store.put(Buffer.from(text), { registry: tag.registry, name: tag.name })
    store.tag(tag, descriptorOf(text), asOf)
  }

  it('is what the upstream says now', async () => {
    hold('old', 5000)
    answers.set('a', { descriptor: descriptorOf('older'), asOf: 9000 })
    upstream = () => upstreamSays(descriptorOf('new'))
    const found = await resolverOf().resolve(tag, [], signal)
    assert.deepEqual(found, { descriptor: descriptorOf('new'), asOf: 1000, source: 'upstream' })
    assert.deepEqual(asked, ['upstream latest'])
  })

  it('is not there if the upstream says so, whatever a neighbour says', async () => {
    hold('old', 5000)
    upstream = () => undefined
    await assert.rejects(resolverOf().resolve(tag, [], signal), (error) => {
      assert.ok(error instanceof OciError && error.code === 'MANIFEST_UNKNOWN')
      assert.match(error.message, /docker\.io\/library\/app:latest does not exist at docker\.io/)
      return true
    })
  })

  it('of an imported image is that, if the upstream says that it has none, for a client that it refuses too', async () => {
    const ann = { id: 'ann', credential: { username: 'ann', password: 'secret' } }
    hold('pulled', 9000)
    answers.set('a', { descriptor: descriptorOf('pulled elsewhere'), asOf: 8000 })
    answers.set('b', { descriptor: descriptorOf('imported'), asOf: 2000, access: 'imported' })
    answers.set('c', { descriptor: descriptorOf('imported earlier'), asOf: 1000, access: 'imported' })
    const found = { descriptor: descriptorOf('imported'), asOf: 2000, source: 'peer', peer: 'b:7951' }
    upstream = () => undefined
    assert.deepEqual(await resolverOf().resolve(tag, [], signal), found)
    assert.deepEqual(await resolverOf().resolve(tag, [], signal, ann), found)
    upstream = () => new UpstreamError('denied', 'docker.io denies access: 401')
    assert.deepEqual(await resolverOf().resolve(tag, [], signal, ann), found)
    assert.deepEqual(verifiedAt, [])
    upstream = () => undefined
    // Without a secret anybody could say so.
    await assert.rejects(resolverOf({ believesPeers: false }).resolve(tag, [], signal), /does not exist at docker\.io/)
    await assert.rejects(resolverOf({ tagPolicy: 'own' }).resolve(tag, [], signal), /does not exist at docker\.io/)
    const own = { ...tag, tag: 'own' }
    const digest = store.put(Buffer.from('own'), { registry: tag.registry, name: tag.name, access: 'imported' })
    store.tag(own, { ...descriptorOf('own'), digest }, 3000)
    for (const options of [{ believesPeers: false }, { tagPolicy: 'own' }] as const)
      assert.equal((await resolverOf(options).resolve(own, [], signal)).source, 'local')
  })

  for (const reason of ['unreachable', 'limited', 'denied', 'failed'] as const) {
    it(`is the latest that anybody knows when the upstream is ${reason}, and that is said`, async () => {
      upstream = () => new UpstreamError(reason, 'no')
      hold('mine', 3000)
      answers.set('a', { descriptor: descriptorOf('a'), asOf: 2000 })
      answers.set('b', { descriptor: descriptorOf('b'), asOf: 4000 })
      answers.set('c', new PeerError('unreachable', 'c is gone'))
      answers.set('d', undefined)
      const found = await resolverOf().resolve(tag, [], signal)
      assert.deepEqual(found, { descriptor: descriptorOf('b'), asOf: 4000, source: 'peer', peer: 'b:7951' })
      assert.deepEqual(disproved, ['d'])
      assert.equal(warnings.length, 1)
      answers.delete('b')
      // What this node recorded as public is not shown any longer once the registry refuses the repository.
      const isHidden = reason === 'denied'
      assert.equal((await resolverOf().resolve(tag, [], signal)).source, isHidden ? 'peer' : 'local')
    })
  }

  for (const [title, options] of [
    ['--tag-policy own', { tagPolicy: 'own' }],
    ['no cluster secret', { believesPeers: false }],
    ['neither', { tagPolicy: 'own', believesPeers: false }],
    ['--tag-policy peers and no cluster secret', { tagPolicy: 'peers', believesPeers: false }],
  ] as const) {
    it(`is never what a neighbour says with ${title}`, async () => {
      answers.set('a', { descriptor: descriptorOf('a'), asOf: 9000 })
      const resolver = resolverOf(options)
      assert.equal(resolver.asksNeighbours, false)
      await assert.rejects(resolver.resolve(tag, [], signal), /this node does not know it, and docker\.io cannot/)
      hold('mine', 3000)
      const found = await resolver.resolve(tag, [], signal)
      assert.deepEqual(found, { descriptor: descriptorOf('mine'), asOf: 3000, source: 'local' })
      assert.ok(!asked.includes('a'))
    })
  }

  it('that nobody knows says why', async () => {
    await assert.rejects(resolverOf().resolve(tag, [], signal), /no node knows it, and docker\.io cannot be reached/)
    const nowhere = resolverOf({ policy: { mirrored: 'all', fallback: 'none' } })
    asked = []
    await assert.rejects(
      nowhere.resolve(tag, [], signal),
      /no node knows it, and docker\.io is not fetched by the mirror: --fallback docker\.io would let it/,
    )
    assert.deepEqual(asked, [])
  })

  it('is never asked of the upstream while a neighbour knows it, if that is the policy', async () => {
    answers.set('a', { descriptor: descriptorOf('a'), asOf: 2000 })
    upstream = () => upstreamSays(descriptorOf('new'))
    const resolver = resolverOf({ tagPolicy: 'peers' })
    assert.equal((await resolver.resolve(tag, [], signal)).source, 'peer')
    answers.clear()
    assert.equal((await resolver.resolve(tag, [], signal)).source, 'upstream')
    assert.deepEqual(asked, ['a', 'upstream latest'])
  })

  it('of a type that the client cannot read is asked for in its own words', async () => {
    upstream = (accept) =>
      accept.includes(MEDIA_TYPES.ociIndex)
        ? upstreamSays(descriptorOf('index'))
        : upstreamSays(descriptorOf('manifest', MEDIA_TYPES.dockerManifest))
    const resolver = resolverOf()
    assert.deepEqual((await resolver.resolve(tag, MANIFEST_ACCEPT, signal)).descriptor, descriptorOf('index'))
    const old = await resolver.resolve(tag, [MEDIA_TYPES.dockerManifest], signal)
    assert.deepEqual(old.descriptor, descriptorOf('manifest', MEDIA_TYPES.dockerManifest))
    assert.equal(asked.length, 2)
  })

  it('is shown to peers only if its manifest may be, as fresh as it was last heard', async () => {
    upstream = (_, as) => (as === 'node' ? { ...upstreamSays(descriptorOf('hidden')), anonymous: false } : undefined)
    const digest = store.put(Buffer.from('hidden'), { registry: tag.registry, name: tag.name, access: 'unknown' })
    store.tag(tag, { ...descriptorOf('hidden'), digest }, 100)
    const tags = new TagMemory()
    const resolver = resolverOf({ tags })
    assert.equal(await resolver.resolveLocal(tag, PEER, signal), undefined)
    assert.equal((await resolver.resolveLocal(tag, NODE, signal))?.asOf, 100)
    tags.note(tag, { descriptor: descriptorOf('hidden'), asOf: 700 })
    assert.equal((await resolver.resolveLocal(tag, NODE, signal))?.asOf, 700)
    tags.note(tag, { descriptor: descriptorOf('another'), asOf: 900 })
    assert.equal((await resolver.resolveLocal(tag, NODE, signal))?.asOf, 100)
  })

  it('is asked of peers for a verified client only if the registry has shown it the tag', async () => {
    const [ann, bob] = ['ann', 'bob'].map((id) => ({ id, credential: { username: id, password: 'secret' } }))
    const isAnn = (as: UpstreamOptions['as']) => typeof as === 'object' && as.username === 'ann'
    upstream = (_, as) =>
      isAnn(as)
        ? { ...upstreamSays(descriptorOf('hidden')), anonymous: false }
        : new UpstreamError('unreachable', 'docker.io cannot be reached')
    const resolver = resolverOf()
    assert.equal((await resolver.resolve(tag, [], signal, ann)).source, 'upstream')
    upstream = () => new UpstreamError('unreachable', 'docker.io cannot be reached')
    answers.set('a', { descriptor: descriptorOf('hidden'), asOf: 2000 })
    for (const caller of [bob, undefined]) await resolver.resolve(tag, [], signal, caller)
    assert.deepEqual(verifiedAt, [])
    await resolver.resolve(tag, [], signal, ann)
    assert.deepEqual(verifiedAt, ['a'])
  })

  it('is remembered as everybody is told it, and not as a client with credentials or of few words is', async () => {
    const ann = { id: 'ann', credential: { username: 'ann', password: 'secret' } }
    upstream = (accept) =>
      accept.includes(MEDIA_TYPES.ociIndex)
        ? upstreamSays(descriptorOf('index'))
        : upstreamSays(descriptorOf('manifest', MEDIA_TYPES.dockerManifest))
    const tags = new TagMemory()
    const resolver = resolverOf({ tags })
    await resolver.resolve(tag, [], signal, ann)
    await resolver.resolve(tag, [MEDIA_TYPES.dockerManifest], signal, ann)
    assert.equal(tags.get(tag), undefined)
    await resolver.resolve(tag, [], signal)
    await resolver.resolve(tag, [MEDIA_TYPES.dockerManifest], signal)
    assert.deepEqual(tags.get(tag)?.descriptor, descriptorOf('index'))
  })

  it('of a client that the registry refuses is not what peers have from the registry', async () => {
    upstream = () => new UpstreamError('denied', 'docker.io denies access: 401')
    hold('mine', 3000)
    answers.set('a', { descriptor: descriptorOf('a'), asOf: 2000 })
    const ann = { id: 'ann', credential: { username: 'ann', password: 'wrong' } }
    await assert.rejects(resolverOf().resolve(tag, [], signal, ann), /docker\.io denies access/)
    assert.deepEqual(verifiedAt, [])
  })

  it('of a local registry is asked of no peer, which has another registry of that name', async () => {
    answers.set('a', { descriptor: descriptorOf('a'), asOf: 2000 })
    const local = { ...tag, registry: 'localhost:5000' }
    await assert.rejects(resolverOf().resolve(local, [], signal), /no node knows it, and docker\.io cannot be reached/)
    assert.deepEqual(asked, ['upstream latest'])
  })

  it('is of no interest to a client that has gone', async () => {
    const controller = new AbortController()
    upstream = () => {
      controller.abort(new Error('gone'))
      return new UpstreamError('unreachable', 'no')
    }
    await assert.rejects(resolverOf().resolve(tag, [], controller.signal), /gone/)
    assert.deepEqual(asked, ['upstream latest'])
  })

  describe('whose registry is slow', () => {
    let answered: PromiseWithResolvers<UpstreamTag | undefined>
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    const pass = async (ms: number) => {
      for (let passed = 0; passed < ms; passed += 500) {
        await turn()
        mock.timers.tick(500)
        await turn()
      }
    }

    beforeEach(() => {
      answered = Promise.withResolvers()
      upstream = () => answered.promise
      mock.timers.enable({ apis: ['setTimeout'] })
    })
    afterEach(() => mock.timers.reset())

    it('is asked of the neighbours meanwhile, and is what the registry says if that comes in time', async () => {
      answers.set('a', { descriptor: descriptorOf('a'), asOf: 4000 })
      const resolving = resolverOf().resolve(tag, [], signal)
      await pass(500)
      assert.deepEqual(asked, ['upstream latest'])
      await pass(2000)
      assert.deepEqual(asked, ['upstream latest', 'a'])
      answered.resolve(upstreamSays(descriptorOf('new')))
      assert.equal((await resolving).source, 'upstream')
      assert.equal(warnings.length, 0)
    })

    it('is what the neighbours have said when it does not, for patient clients too', async () => {
      answers.set('a', { descriptor: descriptorOf('a'), asOf: 4000 })
      const resolver = resolverOf()
      const both = [false, true].map((isPatient) => resolver.resolve(tag, [], signal, undefined, { isPatient }))
      await pass(4000)
      for (const { source, peer } of await Promise.all(both)) assert.deepEqual([source, peer], ['peer', 'a:7951'])
      assert.deepEqual(asked, ['upstream latest', 'a', 'a'])
    })

    it('is waited for by a patient client alone if no node knows it, and the registry is asked once', async () => {
      const resolver = resolverOf()
      const patient = resolver.resolve(tag, [], signal, undefined, { isPatient: true })
      const impatient = assert.rejects(resolver.resolve(tag, [], signal), /docker\.io has not answered within 4 s/)
      await pass(4000)
      await impatient
      // The next attempt need not wait again.
      const next = assert.rejects(resolver.resolve(tag, [], signal), /docker\.io has not answered within 4 s/)
      await pass(500)
      await next
      answered.resolve(upstreamSays(descriptorOf('late')))
      assert.deepEqual((await patient).descriptor, descriptorOf('late'))
      // Nor is the registry asked again.
      assert.deepEqual((await resolver.resolve(tag, [], signal)).descriptor, descriptorOf('late'))
      assert.deepEqual(asked, ['upstream latest'])
    })

    it('is given up by a patient client after the time of the flag', async () => {
      const patient = resolverOf({ upstreamTimeout: 10_000 }).resolve(tag, [], signal, undefined, { isPatient: true })
      const given = assert.rejects(patient, /no node knows it, and docker\.io has not answered within 10 s/)
      await pass(10_000)
      await given
    })

    it('is asked of no registry twice for the proof that peers want to hear of', async () => {
      answers.set('a', { descriptor: descriptorOf('hidden'), asOf: 2000 })
      const ann = { id: 'ann', credential: { username: 'ann', password: 'secret' } }
      const resolving = resolverOf().resolve(tag, [], signal, ann)
      await pass(4000)
      assert.equal((await resolving).source, 'peer')
      assert.deepEqual(asked, ['upstream latest', 'a'])
      assert.deepEqual(verifiedAt, [])
    })
  })
})

describe('a tag that many nodes want at once', () => {
  const N = 8
  let swarm: FakeSwarm
  let asked: string[]
  /** What the upstream says to a node, with its credentials or without. */
  let answer: (id: string, as: string, accept: readonly string[]) => UpstreamTag | undefined | Promise<UpstreamTag>
  let rightsOf: Map<string, Rights>

  beforeEach(() => {
    swarm = new FakeSwarm()
    asked = []
    rightsOf = new Map()
    answer = () => found
  })
  const found: UpstreamTag = { descriptor: descriptorOf('index'), date: 1000, anonymous: true }

  function nodeOf(
    id: string,
    policy: 'verify' | 'share' = 'verify',
    options: Partial<TagResolverOptions> = {},
  ): TagResolver {
    const headManifest = async (_: object, __: string, { as = 'node', accept = [] }: UpstreamOptions) => {
      const who = typeof as === 'object' ? as.username : as
      asked.push(`${id} ${who}`)
      return answer(id, who, accept)
    }
    const store = new MemoryStore()
    const shows = async (repository: object, { reference }: UpstreamQuestion, options: UpstreamOptions) =>
      proofOf(await headManifest(repository, reference, options))
    const upstream = { headManifest, shows }
    const rights = makeRights({ store, upstream, policy })
    rightsOf.set(id, rights)
    return new TagResolver({
      store,
      index: { find: async () => [peerOf('neighbour')], disprove: () => {} },
      peers: { resolveTag: async () => ({ descriptor: descriptorOf('neighbour'), asOf: 500, access: 'public' }) },
      upstream,
      swarm: swarm.member(peerOf(id)),
      policy: { mirrored: 'all', fallback: new Set(['docker.io']) },
      tagPolicy: 'fresh',
      upstreamTimeout: 20_000,
      believesPeers: true,
      rights,
      tags: new TagMemory(),
      log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
      ...options,
    })
  }
  const nodes = (policy?: 'share') => Array.from({ length: N }, (_, index) => nodeOf(`n${index}`, policy))
  const resolveAll = (all: readonly TagResolver[], accept: readonly string[] = MANIFEST_ACCEPT) =>
    Promise.all(all.map((node) => node.resolve(tag, accept, signal)))

  it('is asked for once, and all know then that it is public', async () => {
    for (const { descriptor, asOf } of await resolveAll(nodes())) {
      assert.deepEqual(descriptor, found.descriptor)
      assert.equal(asOf, found.date)
    }
    assert.equal(asked.length, 1)
    for (const rights of rightsOf.values()) assert.equal(rights.knownVerdict(tag), true)
  })

  for (const options of [{ tagPolicy: 'own' }, { believesPeers: false }] as const) {
    it(`is asked for by each node, once for all of its clients, with ${JSON.stringify(options)}`, async () => {
      const all = [nodeOf('n0', 'verify', options), nodeOf('n1', 'verify', options), nodeOf('n2')]
      const [liar] = [all[2] ?? assert.fail()]
      answer = (node) => (node === 'n2' ? { ...found, descriptor: descriptorOf('forged') } : found)
      await liar.resolve(tag, [], signal)
      for (const node of [all[0], all[1], all[0]])
        assert.deepEqual((await node?.resolve(tag, [], signal))?.descriptor, found.descriptor)
      assert.deepEqual(asked, ['n2 node', 'n0 node', 'n1 node'])
    })
  }

  it('is asked for once by a node whose clients ask at the same time, even when the first one goes', async () => {
    const gate = Promise.withResolvers<UpstreamTag>()
    answer = () => gate.promise
    const node = nodeOf('n0')
    const gone = new AbortController()
    const first = node.resolve(tag, [], gone.signal)
    const second = node.resolve(tag, [], signal)
    await eventually('it is asked for', async () => asked.length > 0)
    gone.abort(new Error('gone'))
    await assert.rejects(first, /gone/)
    gate.resolve(found)
    assert.equal((await second).source, 'upstream')
    assert.equal(asked.length, 1)
  })

  it('is fresh again as soon as what was shared is forgotten', async () => {
    const all = nodes()
    await resolveAll(all)
    swarm.forget()
    answer = () => ({ ...found, descriptor: descriptorOf('newer') })
    for (const { descriptor } of await resolveAll(all)) assert.deepEqual(descriptor, descriptorOf('newer'))
    assert.equal(asked.length, 2)
  })

  for (const reason of ['denied', 'limited', 'failed', 'unreachable'] as const) {
    it(`is what the neighbours know, at once, when the upstream is ${reason} for the one that asks`, async () => {
      answer = () => {
        throw new UpstreamError(reason, 'no')
      }
      for (const { source, descriptor } of await resolveAll(nodes())) {
        assert.equal(source, 'peer')
        assert.deepEqual(descriptor, descriptorOf('neighbour'))
      }
      assert.equal(asked.length, 1)
    })
  }

  it('of which another node tells that the registry is slow is asked for by a node with a patient client', async () => {
    const [first, second] = nodes()
    answer = () => {
      throw new UpstreamError('unreachable', 'no')
    }
    const silent = { index: { find: async () => [], disprove: () => {} } }
    const leader = nodeOf('leader', 'verify', silent)
    await assert.rejects(leader.resolve(tag, [], signal), /no node knows it, and no/)
    answer = () => found
    const resolve = (node: TagResolver | undefined, isPatient: boolean) =>
      (node ?? assert.fail()).resolve(tag, [], signal, undefined, { isPatient })
    assert.equal((await resolve(first, false)).source, 'peer')
    // It asks the neighbours first.
    assert.equal((await resolve(second, true)).source, 'peer')
    assert.equal((await resolve(nodeOf('n9', 'verify', silent), true)).source, 'upstream')
    assert.deepEqual(asked, ['leader node', 'n9 node'])
  })

  it('that does not exist is there for the next who asks, as soon as it has been pushed', async () => {
    answer = () => undefined
    const all = nodes()
    const results = await Promise.allSettled(all.map((node) => node.resolve(tag, [], signal)))
    for (const result of results) assert.ok(result.status === 'rejected' && result.reason instanceof OciError)
    assert.ok(!swarm.outcomes.some((line) => line.includes('failed')))
    answer = () => found
    for (const { descriptor } of await resolveAll(all)) assert.deepEqual(descriptor, found.descriptor)
  })

  it('is asked for past the shared answer by a client that cannot read it', async () => {
    const [first, second] = nodes()
    assert.ok(first && second)
    const old = descriptorOf('manifest', MEDIA_TYPES.dockerManifest)
    answer = (_id, _as, accept) => (accept.includes(MEDIA_TYPES.ociIndex) ? found : { ...found, descriptor: old })
    assert.deepEqual((await first.resolve(tag, [], signal)).descriptor, found.descriptor)
    assert.deepEqual((await second.resolve(tag, [MEDIA_TYPES.dockerManifest], signal)).descriptor, old)
    assert.deepEqual((await second.resolve(tag, [], signal)).descriptor, found.descriptor)
    assert.deepEqual(asked, ['n0 node', 'n1 node'])
  })

  it('is answered by the next node when the one that asks dies', async () => {
    const never = Promise.withResolvers<UpstreamTag>()
    answer = (id) => (id === 'n0' ? never.promise : found)
    const [first, ...others] = nodes()
    assert.ok(first)
    const dying = first.resolve(tag, [], signal)
    await eventually('the first one asks', async () => asked.length > 0)
    const resolving = resolveAll(others)
    swarm.kill('n0')
    for (const { descriptor } of await resolving) assert.deepEqual(descriptor, found.descriptor)
    assert.equal(asked.length, 2)
    never.resolve(found)
    await dying
  })

  it('is asked for by each when nobody coordinates', async () => {
    swarm.down()
    await resolveAll(nodes())
    assert.equal(asked.length, N)
  })

  it('that was had with credentials is asked for by each with its own, and not together again', async () => {
    answer = (_id, as) => {
      if (as === 'anonymous') throw new UpstreamError('denied', 'no')
      return { ...found, anonymous: false }
    }
    const all = nodes()
    for (const { source } of await resolveAll(all)) assert.equal(source, 'upstream')
    const own = asked.filter((line) => line.endsWith('node'))
    assert.deepEqual(new Set(own).size, N)
    assert.equal(asked.length - own.length, 1)
    const before = swarm.grants.length
    await resolveAll(all)
    assert.equal(swarm.grants.length, before)
  })

  it('that was had with credentials is everybody’s where everything is shared', async () => {
    answer = () => ({ ...found, anonymous: false })
    await resolveAll(nodes('share'))
    assert.deepEqual(asked, ['n0 node'])
  })

  it('of a public repository is shared by a node that has credentials', async () => {
    answer = (_id, as) => ({ ...found, anonymous: as === 'anonymous' })
    await resolveAll(nodes())
    assert.deepEqual(asked, ['n0 node', 'n0 anonymous'])
  })
})

describe('an Accept header', () => {
  it('takes what it names, or anything', () => {
    assert.ok(accepts([], 'a/b'))
    assert.ok(accepts(['*/*'], 'a/b'))
    assert.ok(accepts(['x/y', 'a/b'], 'a/b'))
    assert.ok(accepts(['application/*'], MEDIA_TYPES.ociIndex))
    assert.ok(!accepts(['x/y'], 'a/b'))
  })
})
