import type { OpenBlob } from './content-store.ts'

/** Reads a blob whole and closes it; undefined if it is larger than `limit` bytes or shorter than it says. */
export async function readAll(blob: OpenBlob, limit: number): Promise<Buffer | undefined> {
  try {
    if (blob.size > limit) return undefined
    const bytes = Buffer.alloc(blob.size)
    for (let position = 0; position < bytes.length;) {
      const count = await blob.read(bytes.subarray(position), position)
      if (count === 0) return undefined
      position += count
    }
    return bytes
  } finally {
    await blob.close()
  }
}
