import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { after, before, describe, it } from 'node:test'

import { BufferPool } from '../../src/mover/buffer-pool.ts'
import { moveChunks, moveFile } from '../../src/mover/file-mover.ts'
import { FileBlob, openFile } from '../../src/store/file-blob.ts'
import { noise } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'

const BUFFER = 256 * 1024

/** Takes each chunk when it is told to, or at once. */
class Client extends Writable {
  readonly taken: Buffer[] = []
  #release: (() => void) | undefined
  readonly #patient: boolean

  constructor(options: { patient: boolean }) {
    super({ highWaterMark: 16 * 1024 })
    this.#patient = options.patient
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    const take = () => {
      this.taken.push(Buffer.from(chunk))
      done()
    }
    if (this.#patient) this.#release = take
    else setImmediate(take)
  }

  /** True if a chunk was waiting. */
  takeOne(): boolean {
    const release = this.#release
    this.#release = undefined
    release?.()
    return release !== undefined
  }

  get ownListeners(): number {
    return this.listenerCount('close') + this.listenerCount('drain') + this.listenerCount('error')
  }
}

describe('moving a file', () => {
  const size = 2 * BUFFER + 12_345
  const bytes = noise('mover', size)
  let directory: string
  let file: FileBlob

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-mover-'))
    await writeFile(join(directory, 'blob'), bytes)
    const opened = (await openFile(join(directory, 'blob'))) ?? assert.fail()
    file = new FileBlob(opened.handle, opened.size)
  })
  after(async () => {
    await file.close()
    await rm(directory, { recursive: true, force: true })
  })

  it('gives the right bytes of any span', async () => {
    for (const [start, end] of [
      [0, size],
      [0, 0],
      [size, size],
      [0, 1],
      [size - 1, size],
      [1, size - 1],
      [0, BUFFER],
      [0, BUFFER + 1],
      [BUFFER - 1, 2 * BUFFER + 1],
      [7, 7 + 2 * BUFFER],
    ] as const) {
      const client = new Client({ patient: false })
      await moveFile(file, { start, end }, client)
      assert.ok(Buffer.concat(client.taken).equals(bytes.subarray(start, end)), `${start}-${end}`)
      assert.equal(client.ownListeners, 0)
    }
  })

  it('gives the right bytes when the disk gives few at a time', async () => {
    const stingy = { read: (target: Uint8Array, at: number) => file.read(target.subarray(0, 9999), at) }
    const client = new Client({ patient: false })
    await moveFile(stingy, { start: 3, end: size }, client)
    assert.ok(Buffer.concat(client.taken).equals(bytes.subarray(3)))
  })

  it('reads no further ahead of a slow client than its two buffers', async () => {
    let position = 0
    const watched = {
      read: async (target: Uint8Array, at: number) => {
        const count = await file.read(target, at)
        position = at + count
        return count
      },
    }
    const client = new Client({ patient: true })
    const moving = moveFile(watched, { start: 0, end: size }, client)
    let taken = 0
    while (taken < size) {
      await eventually('a chunk waits', () => client.takeOne(), { everyMs: 1 })
      taken = client.taken.reduce((sum, chunk) => sum + chunk.length, 0)
      assert.ok(position - taken <= 2 * BUFFER)
      assert.ok(client.writableLength <= BUFFER)
    }
    await moving
    assert.ok(Buffer.concat(client.taken).equals(bytes))
  })

  it('ends at once, with nothing left behind, when the client goes', async () => {
    const client = new Client({ patient: true })
    const moving = moveFile(file, { start: 0, end: size }, client)
    await eventually('a chunk is on its way', () => client.writableLength > 0, { everyMs: 1 })
    client.destroy()
    await assert.rejects(moving, /the client has gone/)
    assert.equal(client.ownListeners, 0)
    await assert.rejects(moveFile(file, { start: 0, end: size }, client), /the client has gone/)
    assert.equal(client.ownListeners, 0)
  })

  it('says that the file ended early', async () => {
    const client = new Client({ patient: false })
    await assert.rejects(moveFile(file, { start: 0, end: size + 1 }, client), /the file ended at byte/)
  })

  it('passes the disk’s error on', async () => {
    const broken = {
      read: async (target: Uint8Array, at: number) => {
        if (at > 0) throw new Error('EIO')
        return file.read(target, at)
      },
    }
    await assert.rejects(moveFile(broken, { start: 0, end: size }, new Client({ patient: false })), /EIO/)
  })
})

describe('moving chunks', () => {
  const pieces = [1, 70_000, 16 * 1024, 3].map((length, i) => noise(`piece ${i}`, length))

  it('keeps their order, and waits for the client', async () => {
    let given = 0
    async function* chunks() {
      for (const piece of pieces) {
        given += 1
        yield piece
      }
    }
    const client = new Client({ patient: true })
    const moving = moveChunks(chunks(), client)
    for (let taken = 0; taken < pieces.length;) {
      await eventually('a chunk waits', () => client.takeOne(), { everyMs: 1 })
      taken = client.taken.length
      assert.ok(given <= taken + 2)
    }
    await moving
    assert.ok(Buffer.concat(client.taken).equals(Buffer.concat(pieces)))
    assert.equal(client.ownListeners, 0)
  })

  it('lets go of the source when the client goes', async () => {
    let ended = false
    async function* chunks() {
      try {
        for (;;) yield noise('endless', 100_000)
      } finally {
        ended = true
      }
    }
    const client = new Client({ patient: true })
    const moving = moveChunks(chunks(), client)
    await eventually('a chunk is on its way', () => client.writableLength > 0, { everyMs: 1 })
    client.destroy()
    await assert.rejects(moving, /the client has gone/)
    assert.ok(ended)
    assert.equal(client.ownListeners, 0)
  })

  it('passes the source’s error on', async () => {
    async function* chunks() {
      yield Buffer.from('x')
      throw new Error('it broke')
    }
    await assert.rejects(moveChunks(chunks(), new Client({ patient: false })), /it broke/)
  })

  it('gives a buffer back when its chunk has left, and not before', async () => {
    const buffers = new BufferPool({ bufferBytes: 100_000 })
    const used = [buffers.take(), buffers.take()]
    async function* chunks() {
      for (const buffer of used) yield buffers.lend(buffer, 100_000)
    }
    const client = new Client({ patient: true })
    const moving = moveChunks(chunks(), client, buffers)
    await eventually('a chunk is on its way', () => client.writableLength > 0, { everyMs: 1 })
    assert.ok(!used.includes(buffers.take()))
    client.takeOne()
    await eventually('the second one is on its way', () => client.takeOne(), { everyMs: 1 })
    await moving
    assert.deepEqual(new Set([buffers.take(), buffers.take()]), new Set(used))
  })

  it('keeps a buffer whose chunk did not leave from being used again', async () => {
    const buffers = new BufferPool({ bufferBytes: 100_000 })
    const buffer = buffers.take()
    async function* chunks() {
      yield buffers.lend(buffer, 100_000)
    }
    const client = new Writable({ write: (_chunk, _encoding, done) => setImmediate(done, new Error('it was reset')) })
    client.on('error', () => {})
    await assert.rejects(moveChunks(chunks(), client, buffers), /the client has gone/)
    assert.notEqual(buffers.take(), buffer)
  })
})
