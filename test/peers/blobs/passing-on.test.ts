import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, get, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, before, describe, it } from 'node:test'

import { BufferPool } from '../../../src/mover/buffer-pool.ts'
import { moveChunks } from '../../../src/mover/file-mover.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { PeerConnections } from '../../../src/peers/blobs/peer-connections.ts'
import { noise } from '../../support/image-maker.ts'

describe('blobs that only pass through', () => {
  const blobs = Array.from({ length: 8 }, (_, i) => noise(`blob ${i}`, 3_000_000 + i * 7_919))
  // Fewer than are needed, so that they are always taken again at once.
  const buffers = new BufferPool({ maxFree: 4 })
  const connections = new PeerConnections({ connectTimeout: 1000, idleTimeout: 20_000, buffers })
  let holder: Server
  let middle: Server

  before(async () => {
    holder = createServer(({ url }, response) => {
      const blob = blobs[Number(url?.slice(1))] ?? Buffer.of()
      response.writeHead(200, { 'content-length': blob.length }).end(blob)
    })
    const address = await listen(holder)
    middle = createServer((request, response) => {
      void (async () => {
        const { signal } = new AbortController()
        const question = { address, target: request.url ?? '', headers: {}, headerTimeout: 10_000 }
        const { body, headers } = await connections.get(question, { signal })
        response.writeHead(200, { 'content-length': headers.get('content-length') })
        await moveChunks(body, response, buffers).catch(() => body.destroy())
        response.end()
      })()
    })
    await listen(middle)
  })
  after(async () => {
    connections.close()
    for (const server of [middle, holder]) {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  })

  it('are right for each of many clients, the slow and the leaving ones among them', async () => {
    const { port } = middle.address() as AddressInfo
    const clients = Array.from({ length: 48 }, async (_, i) => {
      const number = i % blobs.length
      const chunks: Buffer[] = []
      const [response] = await once(get(`http://127.0.0.1:${port}/${number}`), 'response')
      for await (const chunk of response as AsyncIterable<Buffer>) {
        chunks.push(chunk)
        if (i % 3 === 1) await sleep(1)
        if (i % 6 === 2 && chunks.length === 5) return
      }
      assert.equal(digestOf(Buffer.concat(chunks)), digestOf(blobs[number] ?? Buffer.of()), `blob ${number}`)
    })
    await Promise.all(clients)
  })
})

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}
