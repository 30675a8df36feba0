import assert from 'node:assert/strict'
import type { Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { BlobDeliveries, type BlobDeliveriesOptions } from '../../src/delivery/blobs/blob-deliveries.ts'
import { GrowingDeliveries } from '../../src/delivery/blobs/growing-deliveries.ts'
import { Transfers } from '../../src/delivery/blobs/transfers.ts'
import type { Rights } from '../../src/delivery/access/rights.ts'
import { Admission } from '../../src/http/admission.ts'
import { type PeerListenerOptions, peerRoutes } from '../../src/http/peer-listener.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { requestPath } from '../../src/oci/request.ts'
import { PeerClient } from '../../src/peers/peer-client.ts'
import type { PeerError } from '../../src/peers/peer-transport.ts'
import { makeRights } from '../support/delivery-nodes.ts'
import { createListener } from '../support/http-listener.ts'
import { noise } from '../support/image-maker.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { eventually } from '../support/poll.ts'

const signal = new AbortController().signal
const bytes = noise('peer growing', 700_000)
const digest = digestOf(bytes)
const APP = { registry: 'docker.io', name: 'library/app' }
const PATH = requestPath(APP, 'blobs', digest)
const silent = { error: () => {} }

describe('a peer listener with a blob that is still arriving', () => {
  let store: MemoryStore
  let transfers: Transfers
  let rights: Rights
  let growing: GrowingDeliveries
  let server: Server
  let client: PeerClient
  let peer: { id: string; address: string }
  let outcomes: string[]
  /** Digests that were looked for in the store. */
  let opened: string[]
  /** Questions to registries. */
  let questions: number

  beforeEach(async () => {
    store = new MemoryStore()
    transfers = new Transfers()
    growing = new GrowingDeliveries(store, transfers, { startPatience: 1_000 })
    outcomes = []
    opened = []
    questions = 0
    const shows = async () => void (questions += 1)
    const open = store.open.bind(store)
    store.open = (digest, options) => {
      opened.push(digest)
      return open(digest, options)
    }
    // Nothing here goes upstream, asks a neighbour or fills a cache.
    const nothing = {} as BlobDeliveriesOptions
    rights = makeRights({ store, upstream: { shows }, policy: 'share' })
    await rights.blobComes(APP, digest, { from: 'upstream', anonymous: false }, { signal })
    const blobs = new BlobDeliveries({ ...nothing, store, rights, growing, fills: undefined, log: silent })
    const routes = peerRoutes({
      ...({} as PeerListenerOptions),
      blobs,
      store,
      transfers,
      selfId: 'self',
      policy: {
        mirrored: new Set(['docker.io', 'localhost:5000']),
        fallback: 'none',
        upstreams: new Set(['localhost:5000']),
      },
      hasSecret: false,
      verifier: { verify: () => assert.fail('nothing is proved here') },
      admission: new Admission(8),
      sending: {},
    })
    server = await createListener(routes, { finished: ({ outcome }) => void outcomes.push(outcome) })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    peer = { id: 'self', address: `127.0.0.1:${(server.address() as AddressInfo).port}` }
    client = new PeerClient({ idleTimeout: 20_000 })
  })
  afterEach(async () => {
    await client.close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  const open = async (start = 0) => {
    const blob = await client.getBlob(peer, APP, digest, { start, signal })
    assert.ok(blob, 'it is given')
    return blob
  }

  /** A transfer that has found its source. */
  const begin = () => {
    const transfer = transfers.begin(digest)
    transfer.source = { kind: 'upstream', name: 'docker.io' }
    transfer.hasBegun = true
    return transfer
  }

  /** A manifest of the repository came without credentials, so that the repository is public. */
  const isShownToAll = () =>
    rights.verifiedCame(APP, digestOf(Buffer.from('a manifest')), { from: 'upstream', anonymous: true })

  it('gives its header at once and its bytes as they come', async () => {
    const growth = store.grow(digest, bytes.length)
    const blob = await open()
    assert.equal(blob.size, bytes.length)
    const reading = readAll(blob.body)
    for (let at = 0; at < bytes.length; at += 100_000) growth.write(bytes.subarray(at, at + 100_000))
    assert.equal(Buffer.compare(await reading, bytes), 0)
    await eventually('its reader is closed', () => growth.readers === 0 && growing.followers === 0)
  })

  it('gives what lies beyond the bytes that are there', async () => {
    const growth = store.grow(digest, bytes.length)
    growth.write(bytes.subarray(0, 1000))
    const blob = await open(600_000)
    assert.equal(blob.size, bytes.length)
    const reading = readAll(blob.body)
    growth.write(bytes.subarray(1000))
    assert.equal(Buffer.compare(await reading, bytes.subarray(600_000)), 0)
  })

  it('answers HEAD with the size, and a Range past the end with 416', async () => {
    const growth = store.grow(digest, bytes.length)
    assert.equal(await client.headBlob(peer, APP, digest, { signal }), bytes.length)
    await assert.rejects(open(bytes.length), ({ message }: PeerError) => /416/.test(message))
    await eventually('its readers are closed', () => growth.readers === 0 && growing.followers === 0)
  })

  it('names the path of its own transfer and itself, and no path when it is complete', async () => {
    const transfer = begin()
    transfer.path = ['root', 'middle']
    const growth = store.grow(digest, bytes.length)
    const first = await open()
    assert.deepEqual(first.path, ['root', 'middle', 'self'])
    first.cancel()
    transfer.path = Array.from({ length: 40 }, (_, n) => `n${n}`)
    const long = await open()
    assert.equal(long.path.length, 32)
    assert.deepEqual([long.path[0], ...long.path.slice(-2)], ['n9', 'n39', 'self'])
    long.cancel()
    transfer.end()
    growth.end()
    store.put(bytes, APP)
    const complete = await open()
    assert.deepEqual(complete.path, [])
    complete.cancel()
  })

  it('waits for a transfer that begins', async () => {
    const transfer = begin()
    transfer.size = bytes.length
    const opening = open()
    const growth = store.grow(digest, bytes.length)
    growth.write(bytes)
    assert.equal(Buffer.compare(await readAll((await opening).body), bytes), 0)
    transfer.end()
  })

  it('decides who may have it after its transfer has found a source, without a question to a registry', async () => {
    const unknown = noise('of unknown origin', 1000)
    const digest = digestOf(unknown)
    const transfer = transfers.begin(digest)
    const opening = client.getBlob(peer, APP, digest, { start: 0, signal })
    await eventually('the peer has asked', () => opened.includes(digest))
    isShownToAll()
    await rights.blobComes(APP, digest, { from: 'upstream', anonymous: true }, { signal })
    transfer.source = { kind: 'upstream', name: 'docker.io' }
    transfer.hasBegun = true
    store.grow(digest, unknown.length).write(unknown)
    const blob = await opening
    assert.ok(blob)
    assert.equal(Buffer.compare(await readAll(blob.body), unknown), 0)
    assert.equal(questions, 0)
    transfer.end()
  })

  it('gives nothing while its transfer looks for its first source, and asks no registry', async () => {
    store.grow(digest, bytes.length)
    const transfer = transfers.begin(digest)
    await assert.rejects(open(), ({ reason }: PeerError) => reason === 'refused')
    assert.equal(questions, 0)
    transfer.end()
  })

  it('says that it does not hold what does not come, and no more than 404 while it is getting it', async () => {
    assert.equal(await client.getBlob(peer, APP, digest, { start: 0, signal }), undefined)
    const transfer = begin()
    await assert.rejects(open(), ({ reason, message }: PeerError) => reason === 'refused' && /404/.test(message))
    transfer.end()
    await assert.rejects(open(), ({ reason, message }: PeerError) => reason === 'refused' && /404/.test(message))
  })

  it('says that it may be seen without a word on whether it is public, under no other name', async () => {
    store.grow(digest, bytes.length)
    const blob = await open()
    assert.equal(blob.access, 'unknown')
    blob.cancel()
    const other = { ...APP, name: 'library/other' }
    assert.equal(await client.getBlob(peer, other, digest, { start: 0, signal }).catch(() => undefined), undefined)
  })

  it('says of a public blob that it is once it is complete, and nothing of bytes that are not verified', async () => {
    isShownToAll()
    const growth = store.grow(digest, bytes.length)
    const arriving = await open()
    arriving.cancel()
    growth.end()
    store.put(bytes)
    rights.verifiedCame(APP, digest, { from: 'upstream', anonymous: true })
    const complete = await open()
    complete.cancel()
    assert.deepEqual([arriving.access, complete.access], ['unknown', 'public'])
    assert.equal(questions, 0)
  })

  it('says of a public blob that it is open under a name that is not known to be public', async () => {
    isShownToAll()
    const other = { ...APP, name: 'library/other' }
    const getOther = async () => {
      const blob = await client.getBlob(peer, other, digest, { start: 0, signal })
      blob?.cancel()
      return blob?.access
    }
    const growth = store.grow(digest, bytes.length)
    const arriving = await getOther()
    growth.end()
    store.put(bytes)
    assert.deepEqual([arriving, await getOther()], ['unknown', 'open'])
    assert.equal(questions, 0)
  })

  it('gives nothing of registries that the node leaves out, nor of local ones', async () => {
    store.put(bytes, APP, { registry: 'ghcr.io', name: 'library/app' }, { registry: 'localhost:5000', name: 'app' })
    for (const registry of ['ghcr.io', 'localhost:5000', '[::1]:5000']) {
      const repository = { registry, name: registry === 'ghcr.io' ? APP.name : 'app' }
      // As if it did not hold it.
      assert.equal(await client.getBlob(peer, repository, digest, { start: 0, signal }), undefined, registry)
    }
    ;(await open()).cancel()
  })

  it('ends with FIN after the bytes that came, when the growth is given up', async () => {
    const growth = store.grow(digest, bytes.length)
    growth.write(bytes.subarray(0, 500_000))
    const answer = rawGet(peer.address)
    await eventually('it follows', () => growing.followers === 1)
    growth.end()
    const { error, body } = await answer
    assert.equal(error, undefined)
    assert.equal(Buffer.compare(body, bytes.subarray(0, 500_000)), 0)
    await eventually('it is closed', () => growth.readers === 0 && growing.followers === 0)
    await eventually('its end is noted', () => outcomes.length > 0)
    assert.deepEqual(outcomes, ['broken'])
  })

  it('ends with FIN when the transfer behind it has ended and nothing grows', async () => {
    const growth = store.grow(digest, bytes.length)
    const transfer = begin()
    growth.write(bytes.subarray(0, 400_000))
    const answer = rawGet(peer.address)
    await eventually('it follows', () => growing.followers === 1)
    transfer.end()
    const { error, body } = await answer
    assert.equal(error, undefined)
    assert.equal(body.length, 400_000)
    await eventually('it is closed', () => growth.readers === 0)
  })

  it('goes on when the transfer behind it is followed by another one', async () => {
    const growth = store.grow(digest, bytes.length)
    const first = begin()
    const blob = await open()
    const reading = readAll(blob.body)
    const second = begin()
    first.end()
    growth.write(bytes)
    assert.equal(Buffer.compare(await reading, bytes), 0)
    second.end()
  })

  it('ends when nothing grows and nothing is known to feed it', async () => {
    const growth = store.grow(digest, bytes.length)
    growth.write(bytes.subarray(0, 1000))
    const { error, body } = await rawGet(peer.address)
    assert.equal(error, undefined)
    assert.equal(body.length, 1000)
  })

  it('leaves nothing behind when followers come and go', async () => {
    const growth = store.grow(digest, bytes.length)
    begin()
    growth.write(bytes.subarray(0, 300_000))
    for (let round = 0; round < 10; round++) {
      const blobs = await Promise.all([open(), open(100_000), open(500_000)])
      for (const blob of blobs) blob.cancel()
      await eventually('they are gone', () => growth.readers === 0 && growing.followers === 0, { everyMs: 2 })
    }
  })
})

async function readAll(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** What comes over the connection until its end, and whether that was a reset. */
async function rawGet(address: string): Promise<{ error: Error | undefined; body: Buffer }> {
  const { hostname, port } = new URL(`http://${address}`)
  const socket = connect(Number(port), hostname)
  const chunks: Buffer[] = []
  let error: Error | undefined
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', (reason) => (error = reason))
  socket.write(`GET ${PATH} HTTP/1.1\r\nhost: x\r\n\r\n`)
  await new Promise((resolve) => socket.once('close', resolve))
  const answer = Buffer.concat(chunks)
  assert.match(answer.toString('latin1', 0, 100), /^HTTP\/1\.1 200 /)
  return { error, body: answer.subarray(answer.indexOf('\r\n\r\n') + 4) }
}
