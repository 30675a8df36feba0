import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib'

import { TooManyBytesError, readBounded } from '../../async/read-bounded.ts'
import { second } from '../../time/units.ts'
import { UpstreamError } from '../upstream.ts'
import type { HttpResponse } from './http-client.ts'

type Decode = (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Uint8Array>

const DECODERS: Readonly<Record<string, Decode>> = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
  zstd: promisify(zstdDecompress),
}
/** Time for reading the rest of an unused answer, so that its connection can be used again. */
const DISCARD_PATIENCE = 0.2 * second
const MAX_DISCARDED_BYTES = 64 * 1024

/**
 * Reads a small body whole, decoded if it is compressed although nobody asked for that. Throws UpstreamError `invalid` if it is,
 * or says that it is, more than `limit` bytes, `unreachable` if it breaks off.
 */
export async function readSmallBody(response: HttpResponse, limit: number): Promise<Uint8Array> {
  const { host } = response.url
  if ((lengthOf(response) ?? 0) > limit) {
    response.body.destroy()
    throw tooLong(host, limit)
  }
  let bytes: Buffer
  try {
    bytes = await readBounded(response.body, limit)
  } catch (cause) {
    if (cause instanceof TooManyBytesError) throw tooLong(host, limit, cause)
    throw new UpstreamError('unreachable', `${host} broke off`, { cause })
  }
  return isEncoded(response) ? decode(response, bytes, limit) : bytes
}

function tooLong(host: string, limit: number, cause?: unknown): UpstreamError {
  return new UpstreamError('invalid', `${host} sent more than ${limit} bytes`, { cause })
}

async function decode(response: HttpResponse, bytes: Uint8Array, limit: number): Promise<Uint8Array> {
  const encoding = response.header('content-encoding')?.trim().toLowerCase() ?? ''
  const decoder = Object.hasOwn(DECODERS, encoding) ? DECODERS[encoding] : undefined
  if (decoder === undefined)
    throw new UpstreamError('invalid', `${response.url.host} sent an encoding nobody asked for`)
  try {
    return await decoder(bytes, { maxOutputLength: limit })
  } catch (cause) {
    const tooLong = (cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
    const what = tooLong ? `more than ${limit} bytes` : 'compressed bytes that cannot be read'
    throw new UpstreamError('invalid', `${response.url.host} sent ${what}`, { cause })
  }
}

/** True if the bytes that come are not those that were asked for, but something that holds them. */
export function isEncoded(response: HttpResponse): boolean {
  const encoding = response.header('content-encoding')?.trim().toLowerCase() ?? ''
  return encoding !== '' && encoding !== 'identity'
}

/** `Content-Length` if it is a number and that of the bytes asked for; undefined otherwise. */
export function lengthOf(response: HttpResponse): number | undefined {
  const text = response.header('content-length')
  return text !== undefined && /^\d{1,15}$/.test(text) && !isEncoded(response) ? Number(text) : undefined
}

/** `Content-Type` without its parameters; undefined if there is none. */
export function mediaTypeOf(response: HttpResponse): string | undefined {
  const type = response.header('content-type')?.split(';')[0]?.trim()
  return type === '' ? undefined : type
}

/** Lets a connection be used again after an answer whose body does not matter, or drops it if the body is long or slow. */
export async function discard(response: HttpResponse): Promise<void> {
  const patience = new AbortController()
  const timer = setTimeout(() => patience.abort(), DISCARD_PATIENCE)
  try {
    await response.body.dump({ limit: MAX_DISCARDED_BYTES, signal: patience.signal })
  } catch {
    response.body.destroy()
  } finally {
    clearTimeout(timer)
  }
}
