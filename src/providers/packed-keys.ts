import type { IndexKey } from '../overlay/overlay.ts'

const KEY_BYTES = 32

/** Keys as base64 of their bytes, one after the other. */
export function packKeys(keys: readonly IndexKey[]): string {
  const bytes = Buffer.allocUnsafe(keys.length * KEY_BYTES)
  keys.forEach((key, index) => bytes.write(key, index * KEY_BYTES, KEY_BYTES, 'hex'))
  return bytes.toString('base64')
}

/** How long `count` keys are when packed, in characters. */
export function packedLength(count: number): number {
  return Math.ceil((count * KEY_BYTES) / 3) * 4
}

/** The keys of a packed text; undefined if it is not exactly what {@link packKeys} writes. */
export function unpackKeys(text: string): IndexKey[] | undefined {
  const bytes = Buffer.from(text, 'base64')
  if (bytes.length % KEY_BYTES !== 0 || bytes.toString('base64') !== text) return undefined
  return Array.from(
    { length: bytes.length / KEY_BYTES },
    // A slice of one long string would keep all of it in memory for as long as one key is.
    (_, index) => bytes.toString('hex', index * KEY_BYTES, (index + 1) * KEY_BYTES) as IndexKey,
  )
}
