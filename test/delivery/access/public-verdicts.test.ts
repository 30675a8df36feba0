import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { PublicVerdicts } from '../../../src/delivery/access/public-verdicts.ts'
import { SharedVerdicts } from '../../../src/delivery/access/shared-verdicts.ts'
import { memberMessages } from '../../../src/http/member-messages.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { repositoryKey } from '../../../src/oci/reference.ts'
import { ACCESS_PATH, AccessClient } from '../../../src/peers/access-client.ts'
import { PeerError } from '../../../src/peers/peer-transport.ts'
import { hour, minute, second } from '../../../src/time/units.ts'
import { UpstreamError } from '../../../src/upstream/upstream.ts'
import { FakeCluster } from '../../support/fake-overlay.ts'

const signal = new AbortController().signal
const app = { registry: 'docker.io', name: 'library/app' }
const probe = { kind: 'blobs', reference: digestOf(Buffer.from('x')), isMember: true } as const
const asked = { ...probe, isMember: false }
const N = 5

describe('whether a repository is public', () => {
  let says: 'yes' | 'no' | UpstreamError['reason']
  let heads: number
  let nodes: { verdicts: PublicVerdicts; isUp: boolean }[]

  beforeEach(async () => {
    mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
    says = 'yes'
    heads = 0
    nodes = []
    const cluster = new FakeCluster()
    for (let i = 0; i < N; i += 1) await add(cluster)
  })
  afterEach(() => mock.timers.reset())

  async function add(cluster: FakeCluster): Promise<void> {
    const overlay = cluster.overlay({ id: `n${nodes.length}`, address: String(nodes.length) })
    await overlay.start()
    const post = async (peer: { address: string }, path: string, body: Uint8Array) => {
      const node = nodes[Number(peer.address)]
      if (node?.isUp !== true) throw new PeerError('unreachable', 'gone')
      assert.equal(path, ACCESS_PATH)
      const { verdicts } = node
      const visibility = {
        publicAge: verdicts.publicAge.bind(verdicts),
        heardPublic: verdicts.heardPublic.bind(verdicts),
        forgetPublic: verdicts.forget.bind(verdicts),
      }
      const handlers = { visibility } as Parameters<typeof memberMessages>[0]
      return Buffer.from((await memberMessages(handlers).get(path)?.answer(body, signal)) ?? '')
    }
    const shared = new SharedVerdicts({
      overlay,
      client: new AccessClient({ post }),
      replicas: 2,
      log: { debug: () => {} },
    })
    nodes.push({ verdicts: verdictsOf(shared), isUp: true })
  }
  const verdictsOf = (cluster?: SharedVerdicts) =>
    new PublicVerdicts({ upstream: { headManifest: () => assert.fail(), headBlob: async () => head() }, cluster })
  function head(): number | undefined {
    heads += 1
    if (says === 'yes') return 7
    if (says === 'no') return undefined
    throw new UpstreamError(says, 'no')
  }
  const ask = async (number: number, of: typeof asked | typeof probe = probe) => {
    const standing = await nodes[number]?.verdicts.standing(app, of, { signal })
    // What is told to others waits for nothing but promises.
    await setImmediate()
    return standing
  }

  it('is asked once in a cluster, for a day', async () => {
    for (let i = 0; i < N; i += 1) assert.equal(await ask(i), 'public')
    assert.equal(heads, 1)
    mock.timers.tick(24 * hour)
    await ask(0)
    assert.equal(heads, 2)
  })

  it('is as old as where it was found out, wherever it was heard', async () => {
    await ask(0)
    mock.timers.tick(20 * hour)
    await ask(1)
    mock.timers.tick(5 * hour)
    await ask(1)
    assert.equal(heads, 2)
  })

  it('is known to a node that comes while the registry is down, however old', async () => {
    await ask(0)
    says = 'unreachable'
    assert.equal(await ask(4), 'public')
    mock.timers.tick(48 * hour)
    assert.equal(await ask(3), 'public')
    assert.equal(await ask(3), 'public')
    mock.timers.tick(5 * second)
    says = 'denied'
    assert.equal(await ask(3), 'closed')
  })

  it('is not known while nobody knows and the registry is down', async () => {
    says = 'unreachable'
    assert.equal(await ask(0), 'unknown')
    for (const node of nodes) node.isUp = false
    says = 'yes'
    mock.timers.tick(5 * second)
    assert.equal(await ask(0), 'public')
    assert.equal(nodes.filter(({ verdicts }) => verdicts.known(app) === true).length, 1)
  })

  it('is over for all once the registry has refused it to one', async () => {
    await ask(0)
    mock.timers.tick(24 * hour)
    says = 'denied'
    assert.equal(await ask(0), 'closed')
    says = 'unreachable'
    for (let i = 1; i < N; i += 1) assert.notEqual(await ask(i), 'public', String(i))
  })

  it('is not heard again from others by a node that was refused later', async () => {
    const age = { value: 1 * hour }
    const stubborn = { ask: async () => age.value, tell: () => {} }
    const verdicts = new PublicVerdicts({
      upstream: { headManifest: () => assert.fail(), headBlob: async () => head() },
      cluster: stubborn,
    })
    assert.equal(await verdicts.standing(app, probe, { signal }), 'public')
    mock.timers.tick(24 * hour)
    age.value = 25 * hour
    says = 'denied'
    assert.equal(await verdicts.standing(app, probe, { signal }), 'closed')
    mock.timers.tick(minute)
    age.value = 2 * minute
    assert.equal(await verdicts.standing(app, probe, { signal }), 'closed')
    mock.timers.tick(minute)
    age.value = 10 * second
    assert.equal(await verdicts.standing(app, probe, { signal }), 'public')
  })

  it('is not what a neighbour says in a cluster without a secret, nor just after a refusal', async () => {
    const headBlob = async () => head()
    const upstream = { headManifest: () => assert.fail(), headBlob }
    const wary = new PublicVerdicts({ upstream, believesPeers: false })
    wary.heardPublic(app)
    assert.equal(wary.known(app), undefined)
    const [node] = nodes
    says = 'denied'
    await ask(0)
    node?.verdicts.heardPublic(app)
    assert.equal(node?.verdicts.known(app), false)
    mock.timers.tick(minute)
    node?.verdicts.heardPublic(app)
    assert.equal(node?.verdicts.known(app), true)
  })

  it('is no matter of a digest that may not be there', async () => {
    says = 'no'
    assert.equal(await ask(0, asked), 'unknown')
    assert.equal(nodes[0]?.verdicts.known(app), undefined)
    assert.equal(await ask(0, probe), 'closed')
    // Enough to keep it to oneself, not to ask a client for its credentials.
    assert.equal(await ask(0, asked), 'unknown')
    says = 'denied'
    assert.equal(await ask(0, asked), 'closed')
    assert.equal(nodes[0]?.verdicts.known(app), false)
  })

  it('is asked by each for its own digest where that of another was not there', async () => {
    const [node] = nodes
    assert.ok(node)
    says = 'no'
    const second = { ...asked, reference: digestOf(Buffer.from('y')) }
    const both = Promise.all([asked, second].map((of) => node.verdicts.standing(app, of, { signal })))
    assert.deepEqual(await both, ['unknown', 'unknown'])
    assert.equal(heads, 2)
  })
})

describe('what nodes say to each other about a repository', () => {
  it('is read strictly', async () => {
    const visibility = { publicAge: () => 1500, heardPublic: assert.fail, forgetPublic: assert.fail }
    const handlers = { visibility } as unknown as Parameters<typeof memberMessages>[0]
    const message = memberMessages(handlers).get(ACCESS_PATH)
    const answer = (body: unknown) => message?.answer(Buffer.from(JSON.stringify(body)), signal)
    assert.equal(answer({ repository: repositoryKey(app) }), '{"ageSeconds":2}')
    for (const body of [{}, { repository: 'x' }, { repository: 'docker.io/../x' }, { repository: 7 }, []]) {
      assert.throws(() => answer(body), { name: 'InvalidMessage' })
    }
    assert.throws(() => answer({ repository: repositoryKey(app), found: 'maybe' }), { name: 'InvalidMessage' })
    assert.equal(memberMessages({ ...handlers, visibility: undefined }).get(ACCESS_PATH), undefined)
  })
})
