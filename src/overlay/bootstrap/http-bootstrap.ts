import { z } from 'zod'

import { TooManyBytesError, readBounded } from '../../async/read-bounded.ts'
import { HttpRequests } from '../../http-client/http-requests.ts'
import type { BootstrapSource, BootstrapTarget } from './bootstrap-source.ts'
import { parseTarget } from './parse-bootstrap.ts'

const DEADLINE_MS = 2000
const MAX_BODY_BYTES = 256 * 1024
const MAX_TARGETS = 4096
const MAX_REDIRECTS = 5
const REDIRECTS = [301, 302, 303, 307, 308]

const listSchema = z.array(z.string().max(512)).max(MAX_TARGETS)

/** A document with a JSON array of addresses, or with one address a line. */
export class HttpBootstrap implements BootstrapSource {
  readonly #url: string
  readonly #requests: HttpRequests

  constructor({ url, requests = new HttpRequests() }: { url: string; requests?: HttpRequests | undefined }) {
    this.#url = url
    this.#requests = requests
  }

  async candidates(options: { signal: AbortSignal }): Promise<readonly BootstrapTarget[]> {
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(DEADLINE_MS)])
    const headers = { accept: 'application/json, text/plain' }
    let url = new URL(this.#url)
    for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
      const { status, header, body } = await this.#requests.send(url, { method: 'GET', headers, signal })
      if (status === 200) return parseAddressList(await this.#text(body))
      body.destroy()
      const location = REDIRECTS.includes(status) ? URL.parse(header('location') ?? '', url) : null
      if (location === null) throw new Error(`${this.#url} answers ${status}`)
      url = location
    }
    throw new Error(`${this.#url} redirects more than ${MAX_REDIRECTS} times`)
  }

  async #text(body: AsyncIterable<Uint8Array>): Promise<string> {
    try {
      return (await readBounded(body, MAX_BODY_BYTES)).toString('utf8')
    } catch (cause) {
      if (!(cause instanceof TooManyBytesError)) throw cause
      throw new Error(`${this.#url} answers with more than ${MAX_BODY_BYTES} bytes`, { cause })
    }
  }
}

/** Reads a list of addresses. An entry that is no address is left out; throws if a JSON document is not a list of strings. */
export function parseAddressList(text: string): readonly BootstrapTarget[] {
  const lines = text.trimStart().startsWith('[') ? listSchema.parse(JSON.parse(text)) : text.split('\n')
  return lines.slice(0, MAX_TARGETS).flatMap((line) => parseTarget(line.trim()) ?? [])
}
