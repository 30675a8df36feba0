import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { BlobDeliveries, type BlobDeliveriesOptions } from '../../../src/delivery/blobs/blob-delivery.ts'
import { BlobSources, type BlobSourcesOptions } from '../../../src/delivery/blobs/blob-sources.ts'
import { RemoteBlob, type RemoteBlobOptions } from '../../../src/delivery/blobs/remote-blob.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { OciError } from '../../../src/oci/errors.ts'
import { MemoryStore } from '../../support/memory-store.ts'

const signal = new AbortController().signal
const repository = { registry: 'docker.io', name: 'library/app' }
const request = { repository, digest: digestOf(Buffer.from('sources')) }

describe('a peer that was said to hold the whole blob', () => {
  const opened = async (path: readonly string[]) => {
    const log = { debug: () => {}, warn: () => {} } as unknown as BlobSourcesOptions['log']
    const blob = { size: 10, body: (async function* () {})(), path, cancel: () => {} }
    const sources = new BlobSources({
      ...({} as BlobSourcesOptions),
      self: { id: 'self', address: 'self:1' },
      peers: { getBlob: async () => blob, headBlob: async () => undefined },
      peerStall: 1_000,
      log,
    })
    const source = { peer: { id: 'a', address: 'a:1' }, complete: true, level: 0 }
    return sources.openPeer(request, [source], { position: 0, end: undefined, signal, left: () => {} })
  }

  it('is taken for one that passes it on when it says so itself', async () => {
    assert.deepEqual(
      (await opened([]))?.from.map(({ complete }) => complete),
      [true],
    )
    assert.deepEqual(
      (await opened(['root', 'a']))?.from.map(({ complete }) => complete),
      [false],
    )
  })
})

describe('a part of a blob', () => {
  it('is all that is asked of a peer and of the upstream', async () => {
    const asked: object[] = []
    const noted = async (options: { start: number; end?: number | undefined }) => {
      asked.push({ start: options.start, end: options.end })
      return { size: 100, address: 'https://a', body: (async function* () {})(), path: [], cancel: () => {} }
    }
    const sources = new BlobSources({
      ...({} as BlobSourcesOptions),
      self: { id: 'self', address: 'self:1' },
      peers: { getBlob: (_peer, _repository, _digest, options) => noted(options), headBlob: async () => undefined },
      upstream: { getBlob: (_repository, _digest, options) => noted(options), headBlob: async () => undefined },
      peerStall: 1_000,
    })
    const source = { peer: { id: 'a', address: 'a:1' }, complete: true, level: 0 }
    const attempt = { position: 10, end: 20, signal, left: () => {} }
    await sources.openPeer(request, [source], attempt)
    await sources.openUpstream(request, { ...attempt, last: [] })
    assert.deepEqual(asked, [
      { start: 10, end: 20 },
      { start: 10, end: 20 },
    ])
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
    const blobs = new BlobDeliveries({ ...({} as BlobDeliveriesOptions), store, remote, sizes, fills: undefined })
    await assert.rejects(blobs.open(request, { type: 'from', start: 1 }, signal), OciError)
    assert.equal(ended, 1)
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
