import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { KnownSizes } from '../../../src/delivery/blobs/known-sizes.ts'
import { BlobSources, type BlobSourcesOptions } from '../../../src/delivery/blobs/blob-sources.ts'
import { DeliveryCounters } from '../../../src/delivery/blobs/delivery-counters.ts'
import { RemoteBlobs, type RemoteBlobsOptions } from '../../../src/delivery/blobs/remote-blobs.ts'
import { Transfers } from '../../../src/delivery/blobs/transfers.ts'
import { UpstreamRates } from '../../../src/delivery/blobs/upstream-rates.ts'
import { Spool } from '../../../src/delivery/integrity/spool.ts'
import { Suspects } from '../../../src/delivery/integrity/suspects.ts'
import { VettedCopies } from '../../../src/delivery/integrity/vetted-copies.ts'
import { BufferPool } from '../../../src/mover/buffer-pool.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { OciError } from '../../../src/oci/errors.ts'
import type { Peer } from '../../../src/overlay/overlay.ts'
import { abortable } from '../../../src/time/deadline.ts'
import { FakeSwarm } from '../../support/fake-swarm.ts'
import { MemoryStore } from '../../support/memory-store.ts'

const LIARS = 20
const BYTES = randomBytes(3_000_000)
const DIGEST = digestOf(BYTES)
const WRONG = Buffer.from(BYTES)
WRONG[1_000_000] = (WRONG[1_000_000] ?? 0) ^ 1
const APP = { registry: 'docker.io', name: 'library/app' }

/** How a pull ended: `refused` without a byte. */
type Result = 'right' | 'wrong' | 'broken' | 'refused'

describe('a blob of which twenty invented holders send wrong bytes and vouch for each other', () => {
  let directory: string
  let holders: Peer[]
  let honest: Set<string>
  let fallback: Set<string>
  /** Ids of the holders that were asked for bytes, or `upstream`. */
  let asked: string[]
  let hasUpstream: boolean
  let upstreamHangs: boolean
  let suspects: Suspects
  let vetted: VettedCopies
  let remote: RemoteBlobs

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-liars-'))
  })
  after(() => rm(directory, { recursive: true, force: true }))
  beforeEach(() => {
    holders = Array.from({ length: LIARS }, (_, i) => ({ id: `liar-${i}`, address: `10.0.0.66:${7000 + i}` }))
    honest = new Set()
    fallback = new Set()
    asked = []
    hasUpstream = true
    upstreamHangs = false
    create(new Spool(directory))
  })

  function create(spool: Spool): void {
    const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
    const self = { id: 'self', address: '10.0.0.1:7951' }
    const body = async function* (bytes: Buffer, start: number, end = bytes.length) {
      for (let at = start; at < end; at += 65_536) yield Buffer.from(bytes.subarray(at, Math.min(at + 65_536, end)))
    }
    const drops = async function* () {
      for (;;) {
        await setImmediate()
        yield Buffer.from([0])
      }
    }
    const peers = {
      getBlob: async (peer: Peer, _repository: object, _digest: string, { start = 0, end }: BlobRange) => {
        asked.push(peer.id)
        if (peer.id === 'slow')
          return { size: BYTES.length, body: drops(), path: [], access: 'public', cancel: () => {} }
        const bytes = honest.has(peer.id) ? BYTES : WRONG
        return { size: bytes.length, body: body(bytes, start, end), path: [], access: 'public', cancel: () => {} }
      },
      headBlob: async () => BYTES.length,
      // All of them answer so; no use case may believe it.
      call: async () => ({ accepted: true }),
    } as unknown as BlobSourcesOptions['peers']
    const sources = new BlobSources({
      self,
      index: { find: async () => holders, disprove: () => {} },
      peers,
      upstream: {
        getBlob: async (_repository, _digest, { start, end, signal }) => {
          asked.push('upstream')
          if (upstreamHangs) await abortable(new Promise<never>(() => {}), signal)
          if (!hasUpstream) return undefined
          const common = { size: BYTES.length, address: 'hub', anonymous: true, cancel: () => {} }
          return { ...common, body: body(BYTES, start, end) }
        },
        headBlob: async () => BYTES.length,
      },
      policy: { mirrored: 'all', fallback, upstreams: new Set() },
      rights: { vouchesFor: async () => false, isRefused: () => false },
      sizes: new KnownSizes(),
      peerStall: 3_000,
      upstreamStall: 10_000,
      log,
    })
    suspects = new Suspects({ store: new MemoryStore(), log, onSuspect: () => {} })
    vetted = new VettedCopies({ sources, suspects, spool, buffers: new BufferPool(), log })
    remote = new RemoteBlobs({
      sources,
      swarm: new FakeSwarm().member(self),
      transfers: new Transfers(),
      suspects,
      vetted,
      rights: { mayShare: () => false, blobComes: async () => {} },
      sizes: { of: () => BYTES.length },
      rates: new UpstreamRates(),
      counters: new DeliveryCounters(),
      log,
    } satisfies RemoteBlobsOptions)
  }
  afterEach(async () => {
    suspects.stop()
    await vetted.stop()
    assert.deepEqual(await readdir(directory), [])
  })

  interface BlobRange {
    readonly start?: number
    readonly end?: number | undefined
  }
  async function pull(range: BlobRange = {}): Promise<Result> {
    const { start = 0, end } = range
    const signal = new AbortController().signal
    const got: Uint8Array[] = []
    try {
      const blob = await remote.open({ repository: APP, digest: DIGEST }, { start, end, serves: false, signal })
      try {
        for await (const chunk of blob.chunks(end ?? blob.size)) got.push(Buffer.from(chunk))
      } finally {
        blob.cancel()
      }
    } catch (error) {
      return error instanceof OciError ? 'refused' : 'broken'
    }
    return Buffer.concat(got).equals(BYTES.subarray(start, end)) ? 'right' : 'wrong'
  }
  async function pulls(): Promise<Result[]> {
    const results: Result[] = []
    while (results.length < LIARS + 5 && !results.includes('right')) results.push(await pull())
    return results
  }
  const addHonest = (address: string) => {
    honest.add('honest')
    holders.push({ id: 'honest', address })
  }

  it('fails one pull, and the retry gets the right bytes from the registry', async () => {
    fallback.add('docker.io')
    assert.deepEqual(await pulls(), ['wrong', 'right'])
    assert.equal(asked.at(-1), 'upstream')
    assert.equal(asked.length, 2)
  })

  it('fails one pull, and the retry finds the honest holder, though it has the address of the liars', async () => {
    addHonest('10.0.0.66:9000')
    const results = await pulls()
    assert.ok(results.length <= 2 && results.at(-1) === 'right', results.join(' '))
    assert.ok(asked.length <= LIARS + 2, asked.join(' '))
  })

  it('costs the retry two transfers at most where the liars share a host and the honest holder has its own', async () => {
    addHonest('10.0.0.7:7951')
    const results = await pulls()
    assert.ok(results.length <= 2 && results.at(-1) === 'right', results.join(' '))
    assert.ok(asked.length <= 3, asked.join(' '))
  })

  it('is refused where there is nobody else', async () => {
    assert.equal(await pull(), 'wrong')
    assert.equal(await pull(), 'refused')
    assert.equal(asked.length, 1 + LIARS)
    assert.equal(await pull(), 'refused', 'a client that asks again at once costs no further search')
    assert.equal(asked.length, 1 + LIARS)
    assert.equal(suspects.stats().caughtHolders, LIARS)
  })

  it('comes right where the registry does not have it any more, from the honest holder', async () => {
    fallback.add('docker.io')
    hasUpstream = false
    addHonest('10.0.0.7:7951')
    const results = await pulls()
    assert.ok(results.length <= 2 && results.at(-1) === 'right', results.join(' '))
  })

  it('comes right where the registry does not answer, from the honest holder', async () => {
    fallback.add('docker.io')
    upstreamHangs = true
    addHonest('10.0.0.7:7951')
    const results = await pulls()
    assert.ok(results.length <= 2 && results.at(-1) === 'right', results.join(' '))
  })

  it('does not wait for a holder that sends drop by drop', async (test) => {
    assert.equal(await pull(), 'wrong')
    holders = [{ id: 'slow', address: '10.0.0.66:9000' }]
    addHonest('10.0.0.7:7951')
    test.mock.method(Math, 'random', () => 0)
    test.mock.timers.enable({ apis: ['setTimeout'] })
    const pulling = pull()
    let seconds = 0
    while (!asked.includes('honest')) {
      for (let turn = 0; turn < 20; turn += 1) await setImmediate()
      if (asked.includes('slow')) test.mock.timers.tick((seconds += 1) && 1_000)
    }
    assert.equal(await pulling, 'right')
    assert.ok(seconds >= 10, `${seconds} s`)
  })

  it('is refused after one transfer where its node has no room to check it', async () => {
    create(new Spool('/proc/nowhere'))
    addHonest('10.0.0.7:7951')
    honest.clear()
    assert.equal(await pull(), 'wrong')
    assert.equal(await pull(), 'refused')
    assert.equal(asked.length, 2)
  })

  it('comes right in parallel parts as well, from one copy', async (test) => {
    assert.equal(await pull(), 'wrong')
    addHonest('10.0.0.7:7951')
    const before = asked.length
    // A retry comes more than a second later; sooner, the parts could belong to the first pull.
    const now = performance.now()
    test.mock.method(performance, 'now', () => now + 2_000)
    const parts = [0, 1_000_000, 2_000_000].map((start) => pull({ start, end: start + 1_000_000 }))
    assert.deepEqual(await Promise.all(parts), ['right', 'right', 'right'])
    assert.ok(asked.length - before <= 2, asked.join(' '))
  })

  it('cannot fail a pull of an image of which another layer was wrong before', async () => {
    const other = digestOf(Buffer.from('another layer'))
    const signal = new AbortController().signal
    const handOut = await suspects.begin({ digest: other, repository: APP }, { start: 0, end: undefined }, { signal })
    handOut.end()
    suspects.wrong(other, [], { alone: false })
    addHonest('10.0.0.7:7951')
    assert.equal(await pull(), 'right')
  })
})
