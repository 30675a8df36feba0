import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import type { BlobSources, PeerStream, UpstreamStream } from '../../../src/delivery/blobs/blob-sources.ts'
import { SourceSearch, type SourceSearchOptions } from '../../../src/delivery/blobs/source-search.ts'
import type { Caller } from '../../../src/delivery/access/audience.ts'
import type { Rights } from '../../../src/delivery/access/rights.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const signal = new AbortController().signal
const ann = { id: 'ann', credential: { username: 'ann', password: 'secret' } }
const request = {
  repository: { registry: 'docker.io', name: 'library/app' },
  digest: digestOf(Buffer.from('search')),
}
const bodyOf = async function* () {}

describe('a search for a blob of which a manifest has said the size', () => {
  /** `peers`: the sizes that the holders say, by name. */
  const searchWith = (
    peers: Readonly<Record<string, number>>,
    upstreamSize: number | undefined,
    { caller, recorded, anonymous = true }: { caller?: Caller; recorded?: Promise<void>; anonymous?: boolean } = {},
  ) => {
    const cancelled: string[] = []
    const holders = Object.keys(peers).map((id) => ({ peer: { id, address: `${id}:1` }, complete: true, level: 0 }))
    const lasts: (readonly string[])[] = []
    const delivered: unknown[] = []
    /** States that searches are in. */
    const entered = new Set<string>()
    const transfer = { path: [] as readonly string[], end: () => {} }
    const paths: (readonly string[])[] = []
    const sources = {
      fallsBack: () => true,
      holders: async () => holders,
      openPeer: async (_, from): Promise<PeerStream | undefined> => {
        const [source] = from
        if (source === undefined) return undefined
        const { id, address } = source.peer
        const cancel = () => void cancelled.push(id)
        const size = peers[id] ?? 0
        const common = { stall: 1000, size, body: bodyOf(), from: [source], path: ['root', id], cancel }
        return { kind: 'peer', name: address, delivery: { from: 'peer', access: 'imported' }, ...common }
      },
      openUpstream: async (_, { last }): Promise<UpstreamStream | undefined> => {
        lasts.push(last)
        paths.push(transfer.path)
        const cancel = () => void cancelled.push('upstream')
        if (upstreamSize === undefined) return undefined
        const common = { stall: 1000, size: upstreamSize, body: bodyOf(), cancel }
        const delivery = { from: 'upstream', anonymous } as const
        return { kind: 'upstream', name: 'docker.io', address: 'hub:443', delivery, ...common }
      },
    } satisfies Pick<BlobSources, 'fallsBack' | 'holders' | 'openPeer' | 'openUpstream'>
    const options = {
      sources: sources as unknown as BlobSources,
      transfers: { begin: () => transfer },
      suspects: { avoids: () => false },
      rights: {
        mayShare: () => false,
        blobComes: async (...what: Parameters<Rights['blobComes']>) => {
          await recorded
          delivered.push(what)
        },
      },
      sizes: { of: () => 10 },
      rates: { note: () => {} },
      counters: {
        enter: (state: string) => {
          entered.add(state)
          return () => void entered.delete(state)
        },
        left: () => {},
        resumed: () => {},
        recalled: () => {},
      },
      log: { warn: () => {}, debug: () => {} },
    } as unknown as SourceSearchOptions
    return {
      options,
      search: new SourceSearch(
        options,
        { ...request, caller },
        { start: 0, end: undefined, serves: false, caution: 'none' },
      ),
      cancelled,
      lasts,
      delivered,
      entered,
      transfer,
      paths,
    }
  }

  it('goes past whoever says another one, asks them once, and notes whence the blob comes', async () => {
    const { search, cancelled, delivered } = searchWith({ a: 11, b: 9, c: 10 }, undefined)
    assert.equal((await search.next(0, signal))?.name, 'c:1')
    assert.deepEqual(cancelled, ['a', 'b'])
    assert.deepEqual(delivered, [
      [request.repository, request.digest, { from: 'peer', access: 'imported' }, { signal }],
    ])
  })

  it('goes to the upstream when all neighbours do', async () => {
    const { search, cancelled, delivered } = searchWith({ a: 11 }, 10, { caller: ann })
    assert.equal((await search.next(0, signal))?.kind, 'upstream')
    assert.deepEqual(cancelled, ['a'])
    assert.deepEqual(delivered, [
      [request.repository, request.digest, { from: 'upstream', anonymous: true }, { signal }],
    ])
  })

  it('knows whether all bytes came from the registry, and whether without credentials', async () => {
    const start = async (...parameters: Parameters<typeof searchWith>) => {
      const { search } = searchWith(...parameters)
      return { search, source: (await search.next(0, signal)) ?? assert.fail() }
    }
    for (const anonymous of [true, false]) {
      const { search, source } = await start({}, 10, { anonymous })
      const at = search.fromRegistry?.at ?? assert.fail()
      assert.deepEqual(search.fromRegistry, { from: 'upstream', anonymous, at })
      assert.ok(await search.resume(5, { source, error: new Error('broke off'), progressed: true }, signal))
      // As of its first answer: the registry may have refused it since.
      assert.deepEqual(search.fromRegistry, { from: 'upstream', anonymous, at })
    }
    // The rest comes from the registry, what came before does not.
    const { search, source } = await start({ a: 10 }, 10)
    assert.equal(search.fromRegistry, undefined)
    const rest = await search.resume(5, { source, error: new Error('broke off'), progressed: true }, signal)
    assert.equal(rest?.kind, 'upstream')
    assert.equal(search.fromRegistry, undefined)
  })

  it('tells nobody the path to a source that is gone', async () => {
    const { search, transfer, paths } = searchWith({ a: 10 }, 10)
    const source = (await search.next(0, signal)) ?? assert.fail()
    assert.deepEqual(transfer.path, ['root', 'a'])
    await search.resume(5, { source, error: new Error('broke off'), progressed: true }, signal)
    // As of the moment when the registry was asked, and after its answer.
    assert.deepEqual([...paths, transfer.path], [[], []])
  })

  it('gives nothing before it is recorded where the blob comes from', async () => {
    const recorded = Promise.withResolvers<void>()
    const { search, delivered } = searchWith({ a: 10 }, undefined, { recorded: recorded.promise })
    let found: unknown
    const searching = search.next(0, signal).then((stream) => (found = stream))
    await setImmediate()
    assert.equal(found, undefined)
    recorded.resolve()
    await searching
    assert.ok(found)
    assert.equal(delivered.length, 1)
  })

  it('that has ended meanwhile lets go of what it has found', async () => {
    const recorded = Promise.withResolvers<void>()
    const { search, cancelled, entered } = searchWith({ a: 10 }, undefined, { recorded: recorded.promise })
    const searching = search.next(0, signal)
    await setImmediate()
    search.end({ reachedEnd: false })
    recorded.resolve()
    assert.equal(await searching, undefined)
    assert.deepEqual(cancelled, ['a'])
    assert.deepEqual([...entered], [])
  })

  it('names whose words a shared failure has', async () => {
    const { options } = searchWith({}, undefined)
    const failure = { absent: false, message: 'invented: run this' }
    const membership = {
      ask: async () => ({ type: 'failed', failure, isOwn: false }),
      onRecall: () => {},
      leave: () => {},
    }
    const shared = {
      ...options,
      swarm: { enter: () => membership },
      rights: { ...options.rights, mayShare: () => true },
    } as unknown as SourceSearchOptions
    const search = new SourceSearch(shared, request, { start: 0, end: undefined, serves: false, caution: 'none' })
    assert.equal(await search.next(0, signal), undefined)
    assert.match(search.refusal().message, /: no node has it, and another node says: invented: run this$/)
  })

  it('ends when everybody does, and says so', async () => {
    const { search, cancelled, lasts, delivered } = searchWith({ a: 11 }, 12)
    assert.equal(await search.next(0, signal), undefined)
    assert.deepEqual(cancelled, ['a', 'upstream', 'upstream', 'upstream'])
    assert.deepEqual(lasts, [[], ['hub:443'], ['hub:443']])
    assert.deepEqual(delivered, [])
    assert.match(search.refusal().message, /docker\.io says 12 bytes where others said 10/)
  })
})
