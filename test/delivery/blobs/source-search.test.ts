import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { BlobSources, PeerStream, UpstreamStream } from '../../../src/delivery/blobs/blob-sources.ts'
import { SourceSearch, type SourceSearchOptions } from '../../../src/delivery/blobs/source-search.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const signal = new AbortController().signal
const request = { repository: { registry: 'docker.io', name: 'library/app' }, digest: digestOf(Buffer.from('search')) }
const bodyOf = async function* () {}

describe('a search for a blob of which a manifest has said the size', () => {
  /** `peers`: the sizes that the holders say, by name. */
  const searchWith = (peers: Readonly<Record<string, number>>, upstreamSize: number | undefined) => {
    const cancelled: string[] = []
    const holders = Object.keys(peers).map((id) => ({ peer: { id, address: `${id}:1` }, complete: true, level: 0 }))
    const lasts: (readonly string[])[] = []
    const sources = {
      fallsBack: () => true,
      holders: async () => holders,
      openPeer: async (_, from): Promise<PeerStream | undefined> => {
        const [source] = from
        if (source === undefined) return undefined
        const { id, address } = source.peer
        const cancel = () => void cancelled.push(id)
        const size = peers[id] ?? 0
        return { kind: 'peer', name: address, stall: 1000, size, body: bodyOf(), from: [source], path: [], cancel }
      },
      openUpstream: async (_, { last }): Promise<UpstreamStream | undefined> => {
        lasts.push(last)
        const cancel = () => void cancelled.push('upstream')
        if (upstreamSize === undefined) return undefined
        const common = { stall: 1000, size: upstreamSize, body: bodyOf(), cancel }
        return { kind: 'upstream', name: 'docker.io', address: 'hub:443', ...common }
      },
    } satisfies Pick<BlobSources, 'fallsBack' | 'holders' | 'openPeer' | 'openUpstream'>
    const options = {
      sources: sources as unknown as BlobSources,
      transfers: { begin: () => ({ end: () => {} }) },
      suspects: { avoids: () => false },
      visibility: { mayShare: () => false },
      sizes: { of: () => 10 },
      rates: { note: () => {} },
      counters: { enter: () => () => {}, left: () => {}, resumed: () => {}, recalled: () => {} },
      log: { warn: () => {}, debug: () => {} },
    } as unknown as SourceSearchOptions
    return {
      search: new SourceSearch(options, request, { start: 0, end: undefined, serves: false, caution: 'none' }),
      cancelled,
      lasts,
    }
  }

  it('goes past whoever says another one, and asks them once', async () => {
    const { search, cancelled } = searchWith({ a: 11, b: 9, c: 10 }, undefined)
    assert.equal((await search.next(0, signal))?.name, 'c:1')
    assert.deepEqual(cancelled, ['a', 'b'])
  })

  it('goes to the upstream when all neighbours do', async () => {
    const { search, cancelled } = searchWith({ a: 11 }, 10)
    assert.equal((await search.next(0, signal))?.kind, 'upstream')
    assert.deepEqual(cancelled, ['a'])
  })

  it('ends when everybody does, and says so', async () => {
    const { search, cancelled, lasts } = searchWith({ a: 11 }, 12)
    assert.equal(await search.next(0, signal), undefined)
    assert.deepEqual(cancelled, ['a', 'upstream', 'upstream', 'upstream'])
    assert.deepEqual(lasts, [[], ['hub:443'], ['hub:443']])
    assert.match(search.refusal().message, /docker\.io says 12 bytes where others said 10/)
  })
})
