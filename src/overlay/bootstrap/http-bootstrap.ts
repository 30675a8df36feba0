import { z } from 'zod'

import { TooManyBytesError, readBounded } from '../../async/read-bounded.ts'
import type { BootstrapSource, BootstrapTarget } from './bootstrap-source.ts'
import { parseTarget } from './parse-bootstrap.ts'

const DEADLINE_MS = 2000
const MAX_BODY_BYTES = 256 * 1024
const MAX_TARGETS = 4096

const listSchema = z.array(z.string().max(512)).max(MAX_TARGETS)

/** A document with a JSON array of addresses, or with one address a line. */
export class HttpBootstrap implements BootstrapSource {
  readonly #url: string

  constructor(options: { url: string }) {
    this.#url = options.url
  }

  async candidates(options: { signal: AbortSignal }): Promise<readonly BootstrapTarget[]> {
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(DEADLINE_MS)])
    const response = await fetch(this.#url, { signal, headers: { accept: 'application/json, text/plain' } })
    if (!response.ok) {
      await response.body?.cancel()
      throw new Error(`${this.#url} answers ${response.status}`)
    }
    return parseAddressList(await readText(response))
  }
}

/** Reads a list of addresses. An entry that is no address is left out; throws if a JSON document is not a list of strings. */
export function parseAddressList(text: string): readonly BootstrapTarget[] {
  const lines = text.trimStart().startsWith('[') ? listSchema.parse(JSON.parse(text)) : text.split('\n')
  return lines.slice(0, MAX_TARGETS).flatMap((line) => parseTarget(line.trim()) ?? [])
}

async function readText(response: Response): Promise<string> {
  if (response.body === null) return ''
  try {
    return (await readBounded(response.body, MAX_BODY_BYTES)).toString('utf8')
  } catch (cause) {
    if (!(cause instanceof TooManyBytesError)) throw cause
    throw new Error(`${response.url} answers with more than ${MAX_BODY_BYTES} bytes`, { cause })
  }
}
