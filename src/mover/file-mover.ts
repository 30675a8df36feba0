import type { Writable } from 'node:stream'

import type { ByteSpan } from '../oci/range.ts'
import type { OpenBlob } from '../store/content-store.ts'

/** Two of these a transfer: one is filled while the other is on its way. 256 KiB measured within 10 % of 1 MiB, at a quarter of the memory. */
const BUFFER_BYTES = 256 * 1024

/**
 * Writes a span of a file to a socket's stream with two buffers of its own, whatever the file's size. Throws if the file ends early
 * or the client goes.
 */
export async function moveFile(file: Pick<OpenBlob, 'read'>, span: ByteSpan, target: Writable): Promise<void> {
  const size = Math.min(BUFFER_BYTES, span.end - span.start)
  const buffers = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)] as const
  let underWay: Promise<void> = Promise.resolve()
  let position = span.start
  for (let turn = 0; position < span.end; turn += 1) {
    const buffer = buffers[turn % 2 === 0 ? 0 : 1]
    const count = await file.read(buffer.subarray(0, Math.min(size, span.end - position)), position)
    if (count === 0) throw new Error(`the file ended at byte ${position}, before byte ${span.end}`)
    position += count
    // The other buffer is free for the next read only when its bytes have left.
    await underWay
    underWay = written(target, buffer.subarray(0, count))
    underWay.catch(() => {})
  }
  await underWay
}

/** Writes chunks with backpressure. Throws if the client goes. */
export async function moveChunks(chunks: AsyncIterable<Uint8Array>, target: Writable): Promise<void> {
  for await (const chunk of chunks) {
    if (target.destroyed) throw new Error('the client has gone')
    if (!target.write(chunk)) await drained(target)
  }
}

function written(target: Writable, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(new Error('the client has gone'))
    if (target.destroyed) return onClose()
    target.once('close', onClose)
    target.write(chunk, (error) => {
      target.off('close', onClose)
      if (error == null) resolve()
      else reject(error)
    })
  })
}

function drained(target: Writable): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (done: () => void) => () => {
      target.off('drain', onDrain)
      target.off('close', onClose)
      done()
    }
    const onDrain = settle(resolve)
    const onClose = settle(() => reject(new Error('the client has gone')))
    target.once('drain', onDrain)
    target.once('close', onClose)
  })
}
