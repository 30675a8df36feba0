import { createHash } from 'node:crypto'
import { connect } from 'node:net'

import { digestHex } from '../../../src/oci/digest.ts'
import type { Blob } from './content.ts'

export interface Demand {
  /** Connections at once. */
  readonly clients: number
  /** What all of them take together, about. Each takes whole blobs, or one range of a blob where its part is smaller than that. */
  readonly bytes: number
  /** Never asks for a blob's last byte: a node that passes on what it does not keep takes a blob for bad that is asked for again. */
  readonly short?: boolean
}

export interface Taken {
  readonly bytes: number
  readonly seconds: number
}

/** No answer takes so long, on any machine. */
const TIMEOUT_MS = 300_000
const BUFFER_BYTES = 256 * 1024
const MAX_HEAD = 16 * 1024

/** The size of the ranges that are asked for, in bytes; undefined where whole blobs are. */
export function rangeSize(blob: Pick<Blob, 'size'>, { clients, bytes }: Demand): number | undefined {
  const each = Math.max(1, Math.ceil(bytes / clients))
  return each < blob.size ? each : undefined
}

/** Takes a blob over and over, bytes counted and thrown away. Throws unless every answer is complete. */
export async function take(url: string, blob: Blob, demand: Demand): Promise<Taken> {
  const { clients } = demand
  const range = rangeSize(blob, demand)
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const began = performance.now()
  const taken = await Promise.all(
    Array.from({ length: clients }, (_, i) => {
      const times = Math.round(demand.bytes / clients / blob.size)
      if (range === undefined && demand.short === true)
        return takeAnswers(url, times, `bytes=0-${blob.size - 2}`, blob.size - 1, signal)
      if (range === undefined) return takeAnswers(url, times, undefined, blob.size, signal)
      // Each its own part of the blob, so that not all read the same pages.
      const start = Math.floor(((blob.size - range) * i) / clients)
      return takeAnswers(url, 1, `bytes=${start}-${start + range - 1}`, range, signal)
    }),
  )
  return { bytes: taken.reduce((sum, bytes) => sum + bytes, 0), seconds: (performance.now() - began) / 1000 }
}

/** Throws unless the bytes at `url` are those of the blob. */
export async function check(url: string, blob: Blob): Promise<void> {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
  const hash = createHash('sha256')
  for await (const chunk of response.body ?? []) hash.update(chunk)
  if (!response.ok || hash.digest('hex') !== digestHex(blob.digest)) throw new Error(`${url} gives wrong bytes`)
}

/** One connection that asks `times`, one answer after the other; returns the bytes of the bodies. */
function takeAnswers(
  url: string,
  times: number,
  range: string | undefined,
  length: number,
  signal: AbortSignal,
): Promise<number> {
  const { hostname, port, pathname, host } = new URL(url)
  const extra = range === undefined ? '' : `range: ${range}\r\n`
  const question = `GET ${pathname} HTTP/1.1\r\nhost: ${host}\r\n${extra}\r\n`
  return new Promise((resolve, reject) => {
    const answer = new Answer(length)
    let left = times
    const ask = () => {
      if (left === 0) return socket.destroy()
      left -= 1
      answer.begin()
      socket.write(question)
    }
    const onread = {
      buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES),
      callback: (count: number, buffer: Uint8Array) => {
        try {
          if (answer.takes(buffer.subarray(0, count))) ask()
        } catch (error) {
          socket.destroy(error as Error)
        }
        return true
      },
    }
    const socket = connect({ host: hostname, port: Number(port), onread }, ask)
    const onAbort = () => socket.destroy(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('error', reject)
    socket.once('close', () => {
      signal.removeEventListener('abort', onAbort)
      if (left === 0 && answer.complete) resolve(length * times)
      else reject(new Error(`${url}: the answer broke off`))
    })
  })
}

/** Reads one HTTP answer of a known length; throws if it is another one. */
class Answer {
  readonly #length: number
  #head: Buffer | undefined = Buffer.alloc(0)
  #body = 0

  constructor(length: number) {
    this.#length = length
  }

  get complete(): boolean {
    return this.#body === this.#length
  }

  begin(): void {
    this.#head = Buffer.alloc(0)
    this.#body = 0
  }

  /** True when the answer is complete. */
  takes(chunk: Uint8Array): boolean {
    this.#body += this.#head === undefined ? chunk.length : this.#takeHead(this.#head, chunk)
    if (this.#body > this.#length) throw new Error('the answer is too long')
    return this.complete
  }

  /** Returns how many bytes of the body came with the last of the head. */
  #takeHead(before: Buffer, chunk: Uint8Array): number {
    const head = Buffer.concat([before, chunk])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) {
      if (head.length > MAX_HEAD) throw new Error('the head of the answer does not end')
      this.#head = head
      return 0
    }
    this.#head = undefined
    const text = head.toString('latin1', 0, end)
    const length = Number(/^content-length: (\d+)$/im.exec(text)?.[1])
    if (!/^HTTP\/1\.1 20[06] /.test(text) || length !== this.#length) throw new Error(`an unexpected answer: ${text}`)
    return head.length - end - 4
  }
}
