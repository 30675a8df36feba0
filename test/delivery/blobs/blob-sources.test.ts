import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import { BlobDeliveries, type BlobDeliveriesOptions } from '../../../src/delivery/blobs/blob-deliveries.ts'
import { BlobSources, type BlobSourcesOptions, type PeerAttempt } from '../../../src/delivery/blobs/blob-sources.ts'
import { KnownSizes } from '../../../src/delivery/blobs/known-sizes.ts'
import { RemoteBlob, type RemoteBlobOptions } from '../../../src/delivery/blobs/remote-blob.ts'
import type { BlobRequest } from '../../../src/delivery/blobs/blob-request.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { OciError } from '../../../src/oci/errors.ts'
import type { PeerBlob } from '../../../src/peers/peer-client.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { MemoryStore } from '../../support/memory-store.ts'

const signal = new AbortController().signal
const repository = { registry: 'docker.io', name: 'library/app' }
const request = { repository, digest: digestOf(Buffer.from('sources')) }

describe('sources of a blob', () => {
  const ann = { id: 'ann', credential: { username: 'ann', password: 'secret' } }
  const holder = { peer: { id: 'a', address: 'a:1' }, complete: true, level: 0 }
  let asked: object[]
  let path: readonly string[]
  let access: PeerBlob['access']
  let anonymous: boolean
  let shownTo: readonly string[]
  let refusedTo: readonly string[]
  let sources: BlobSources

  beforeEach(() => {
    asked = []
    path = []
    access = 'unknown'
    anonymous = true
    shownTo = []
    refusedTo = []
    const common = () => ({ size: 100, body: (async function* () {})(), cancel: () => {} })
    sources = new BlobSources({
      ...({} as BlobSourcesOptions),
      self: { id: 'self', address: 'self:1' },
      peers: {
        getBlob: async (_peer, _repository, _digest, { start, end, verified = false }) => {
          asked.push({ start, end, verified })
          return { ...common(), path, access }
        },
        headBlob: async (_peer, _repository, _digest, { verified = false }) => {
          asked.push({ verified })
          return 100
        },
      },
      upstream: {
        getBlob: async (_repository, _digest, { start, end }) => {
          asked.push({ start, end })
          return { ...common(), address: 'https://a', anonymous }
        },
        headBlob: async () => undefined,
      },
      sizes: new KnownSizes(),
      rights: {
        vouchesFor: async (caller, of, probe) => {
          assert.deepEqual([of, probe], [repository, { kind: 'blobs', reference: request.digest }])
          return caller !== undefined && shownTo.includes(caller.id)
        },
        isRefused: (caller) => caller !== undefined && refusedTo.includes(caller.id),
      },
      index: { find: async () => [holder.peer], disprove: () => {} },
      peerStall: 1_000,
      log: { debug: () => {}, warn: () => {} } as unknown as BlobSourcesOptions['log'],
    })
  })

  const attempt = { position: 0, end: undefined, signal, left: () => {} }
  const openPeer = (of: BlobRequest = request, options: Partial<PeerAttempt> = {}) =>
    sources.openPeer(of, [holder], { ...attempt, ...options })
  const openUpstream = (of: BlobRequest = request, options: Partial<PeerAttempt> = {}) =>
    sources.openUpstream(of, { ...attempt, ...options, last: [] })

  it('take a peer that was said to hold the whole blob for a relay when it says so itself', async () => {
    for (const [said, complete] of [
      [[], true],
      [['root', 'a'], false],
    ] as const) {
      path = said
      const from = (await openPeer())?.from ?? []
      assert.deepEqual(
        from.map((source) => source.complete),
        [complete],
      )
    }
  })

  it('are left for a moment only when they say that they read from this node: what they say may be old', async () => {
    path = ['root', 'self', 'b']
    const relay = { ...holder, complete: false }
    const left: object[] = []
    const options = { ...attempt, left: (source: object) => void left.push(source) }
    assert.equal(await sources.openPeer(request, [relay], options), undefined)
    assert.deepEqual(left, [{ id: 'a', reason: 'absent' }])
  })

  it('are asked for no more than the wanted part', async () => {
    await openPeer(request, { position: 10, end: 20 })
    await openUpstream(request, { position: 10, end: 20 })
    assert.deepEqual(asked, [
      { start: 10, end: 20, verified: false },
      { start: 10, end: 20 },
    ])
  })

  it('that are peers are told that a client is verified only if its registry showed it this blob', async () => {
    shownTo = ['ann']
    for (const caller of [undefined, { ...ann, id: 'bob' }, ann]) {
      await openPeer({ ...request, caller })
      await sources.sizeAtPeers({ ...request, caller }, { signal })
    }
    const isVerified = asked.map((question) => 'verified' in question && question.verified)
    assert.deepEqual(isVerified, [false, false, false, false, true, true])
  })

  it('say with which rights the blob came', async () => {
    shownTo = ['ann']
    for (const said of ['public', 'open', 'imported', 'unknown'] as const) {
      access = said
      for (const caller of [undefined, { ...ann, id: 'bob' }, ann]) {
        const isVouched = caller === ann
        const { delivery } = (await openPeer({ ...request, caller })) ?? assert.fail()
        assert.deepEqual(delivery, { from: 'peer', access: said, isVouched })
      }
    }
    for (const said of [true, false]) {
      anonymous = said
      assert.deepEqual((await openUpstream())?.delivery, { from: 'upstream', anonymous: said })
    }
  })

  it('do not include the registry for a caller that it has just refused', async () => {
    refusedTo = ['ann']
    await assert.rejects(
      openUpstream({ ...request, caller: ann }),
      isUpstreamError('denied', /docker\.io has just refused this client/),
    )
    assert.deepEqual(asked, [])
    assert.ok(await openUpstream())
  })

  it('do not include peers for a blob of a local registry, which is another one on each node', async () => {
    assert.equal((await sources.holders(request, { signal })).length, 1)
    const local = { ...request, repository: { registry: 'localhost:5000', name: 'app' } }
    assert.deepEqual(await sources.holders(local, { signal }), [])
  })
})

describe('a transfer whose range proves to be none', () => {
  it('is ended', async () => {
    let ended = 0
    const remote = {
      open: async () => ({ size: 0, record: undefined, cancel: () => (ended += 1) }),
      head: async () => 0,
    } as unknown as BlobDeliveriesOptions['remote']
    const store = new MemoryStore()
    const sizes = { of: () => undefined }
    const nothing = { ...({} as BlobDeliveriesOptions), storedSizes: { learn: async () => {} } }
    const blobs = new BlobDeliveries({ ...nothing, store, remote, sizes, fills: undefined })
    await assert.rejects(blobs.open(request, { type: 'from', start: 1 }, signal), OciError)
    assert.equal(ended, 1)
  })
})

describe('a blob that another client is fetching into the cache', () => {
  const [ann, bob] = ['ann', 'bob'].map((id) => ({ id, credential: { username: id, password: 'secret' } }))
  const other = { registry: 'docker.io', name: 'library/other' }
  let access: Awaited<ReturnType<BlobDeliveriesOptions['rights']['access']>>

  /** Whether `wanted` is served from the fetch that `running` began. */
  async function isShared(running: Partial<BlobRequest>, wanted: Partial<BlobRequest>): Promise<boolean> {
    const origin = { source: 'upstream' }
    const open = async () => ({ close: async () => {} })
    const fill = { repository, caller: undefined, ...running, size: 10, written: 10, origin, open }
    const alone = { size: 10, record: undefined, cancel: () => {} }
    const blobs = new BlobDeliveries({
      ...({} as BlobDeliveriesOptions),
      store: new MemoryStore(),
      rights: { access: async () => access, mayServe: async () => access !== undefined },
      remote: { open: async () => alone, head: async () => 10 } as unknown as BlobDeliveriesOptions['remote'],
      sizes: { of: () => undefined },
      storedSizes: { learn: async () => {} },
      fills: { join: async () => fill } as unknown as BlobDeliveriesOptions['fills'],
    })
    const delivery = await blobs.open({ ...request, ...wanted }, { type: 'whole' }, signal)
    return 'origin' in delivery && delivery.origin === origin
  }

  it('is shared with clients that have the same right', async () => {
    access = undefined
    assert.ok(await isShared({}, {}))
    assert.ok(await isShared({ caller: ann }, { caller: ann }))
  })

  it('is shared with others only if they have a right of their own', async () => {
    const pairs: readonly (readonly [Partial<BlobRequest>, Partial<BlobRequest>])[] = [
      [{}, { repository: other }],
      [{}, { caller: ann }],
      [{ caller: ann }, {}],
      [{ caller: ann }, { caller: bob }],
      [{ caller: ann }, { caller: ann, repository: other }],
    ]
    for (const [running, wanted] of pairs) {
      access = undefined
      assert.equal(await isShared(running, wanted), false)
      access = 'unknown'
      assert.equal(await isShared(running, wanted), true)
    }
  })
})

describe('a blob that was opened for a store', () => {
  it('is missed there only if it was read', async () => {
    const said: string[] = []
    const handOut = {
      caution: 'none',
      sized: () => {},
      sent: () => {},
      committing: () => void said.push('committing'),
      end: () => void said.push('end'),
    } as const
    const body = (async function* () {})()
    const blob = new RemoteBlob({
      digest: request.digest,
      start: 0,
      serves: true,
      signal,
      first: { kind: 'upstream', name: 'docker.io', stall: 1_000, size: 10, body, cancel: () => {} },
      search: { onRecall: () => {}, end: () => {} } as unknown as RemoteBlobOptions['search'],
      handOut,
      suspects: {} as RemoteBlobOptions['suspects'],
    })
    // The store has no room for it.
    blob.cancel()
    assert.deepEqual(said, ['end'])
  })
})
