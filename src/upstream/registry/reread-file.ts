import { readFile, stat } from 'node:fs/promises'

import { type Log, errorText } from '../../telemetry/log.ts'
import { abortable } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import type { CredentialTroubles } from './credential-troubles.ts'

export interface RereadFileOptions<T> {
  /** What the file is, in the sentences that are logged: `the credentials file`. */
  readonly what: string
  /** Throws an Error that says what is wrong in words that go after the file's name, without a secret in them. */
  readonly parse: (text: string) => T
  readonly changed?: () => void
  readonly log: Log
  /** Told of a file that cannot be used any more, and of one that can again. */
  readonly troubles?: Pick<CredentialTroubles, 'note' | 'clear'> | undefined
  /** How long what was read counts as fresh, in milliseconds. */
  readonly interval?: number
}

/** A change is seen this late at most. */
const INTERVAL = 2 * second
/** A disk that does not answer must hold nobody up: what was read before goes on being used. */
const PATIENCE = 1 * second
const MAX_BYTES = 1024 * 1024

/**
 * A small file that is read again when it has changed, looked at only when it is used: no watch, so atomic replacement, swapped
 * links and network mounts are all alike, and nothing is held open.
 */
export class RereadFile<T> {
  readonly #path: string
  readonly #options: RereadFileOptions<T>
  #value: T
  /** Of what was read last, good or broken; undefined to read it again in any case. */
  #stamp: string | undefined
  /** By the monotonic clock, in milliseconds. */
  #checkedAt = performance.now()
  #checking: Promise<void> | undefined

  private constructor(path: string, options: RereadFileOptions<T>, first: { value: T; stamp: string }) {
    this.#path = path
    this.#options = options
    this.#value = first.value
    this.#stamp = first.stamp
  }

  /** Throws an Error with one sentence for the operator if the file cannot be read the first time. */
  static async open<T>(path: string, options: RereadFileOptions<T>): Promise<RereadFile<T>> {
    const stamp = await stampOf(path)
    return new RereadFile(path, options, { value: await read(path, options), stamp })
  }

  /** What the file says now; what it said before if it cannot be read any more. Rejects with the signal's reason alone. */
  async current(options: { signal: AbortSignal }): Promise<T> {
    if (this.#checking === undefined && performance.now() - this.#checkedAt >= (this.#options.interval ?? INTERVAL)) {
      this.#checking = this.#check().finally(() => {
        this.#checkedAt = performance.now()
        this.#checking = undefined
      })
    }
    if (this.#checking !== undefined) {
      const patience = AbortSignal.any([options.signal, AbortSignal.timeout(PATIENCE)])
      await abortable(this.#checking, patience).catch(() => options.signal.throwIfAborted())
    }
    return this.#value
  }

  async #check(): Promise<void> {
    const { what, log, changed, troubles } = this.#options
    const stamp = await stampOf(this.#path)
    if (stamp === this.#stamp) return
    try {
      const value = await read(this.#path, this.#options)
      // Changed while it was read: it may be half of each, so it is looked at again the next time.
      if ((await stampOf(this.#path)) !== stamp) return
      this.#value = value
      log.info({ file: this.#path }, `${what} has changed and was read again`)
      troubles?.clear(`file ${this.#path}`)
      changed?.()
    } catch (error) {
      if ((await stampOf(this.#path)) !== stamp) return
      troubles?.note(`file ${this.#path}`, { type: 'file', reason: errorText(error) })
      log.warn({ reason: errorText(error) }, `${what} has changed and cannot be used: what it said before stays`)
    }
    this.#stamp = stamp
  }
}

/** Differs whenever the file does; a link that is swapped leads to another inode. */
async function stampOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`
  } catch (error) {
    return codeOf(error)
  }
}

async function read<T>(path: string, { what, parse }: RereadFileOptions<T>): Promise<T> {
  let text: string
  try {
    const { size } = await stat(path)
    text = size > MAX_BYTES ? '' : await readFile(path, 'utf8')
  } catch (cause) {
    throw new Error(`${what} ${path} cannot be read: ${codeOf(cause)}`, { cause })
  }
  try {
    return parse(text)
  } catch (error) {
    throw new Error(`${what} ${path} ${errorText(error)}`, { cause: error })
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown'
}
