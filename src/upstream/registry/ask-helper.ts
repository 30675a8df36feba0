import { type ChildProcess, spawn } from 'node:child_process'

import { z } from 'zod'

import { TooManyBytesError, readBounded } from '../../async/read-bounded.ts'
import type { Credential } from './credential.ts'

export interface AskHelperOptions {
  /** Its environment; `PATH` says where the helper is. */
  readonly env: NodeJS.ProcessEnv
  /** Ends the helper. */
  readonly signal: AbortSignal
}

/** A credential helper gave no answer. The message says why, and never what the helper wrote. */
export class HelperError extends Error {
  override readonly name = 'HelperError'
}

const MAX_ANSWER_BYTES = 64 * 1024
/** The user of an identity token. */
const TOKEN_USER = '<token>'

const answerSchema = z.object({ Username: z.string(), Secret: z.string() })

/**
 * Runs `docker-credential-<helper> get` for a server. undefined if it has nothing for it. Throws HelperError, or the signal's reason.
 * https://github.com/docker/docker-credential-helpers#development
 */
export async function askHelper(
  helper: string,
  server: string,
  options: AskHelperOptions,
): Promise<Credential | undefined> {
  const program = `docker-credential-${helper}`
  options.signal.throwIfAborted()
  // Its own group, so that what it started goes with it. What it says to stderr may hold a secret and goes nowhere.
  const child = spawn(program, ['get'], { env: options.env, detached: true, stdio: ['pipe', 'pipe', 'ignore'] })
  const onAbort = () => kill(child)
  options.signal.addEventListener('abort', onAbort, { once: true })
  try {
    const { code, output } = await outcomeOf(child, program, server)
    options.signal.throwIfAborted()
    if (code !== 0) {
      if (/credentials not found/i.test(output)) return undefined
      throw new HelperError(`${program} failed: ${code === null ? 'a signal ended it' : `exit code ${code}`}`)
    }
    return credentialOf(output, program)
  } catch (error) {
    options.signal.throwIfAborted()
    throw error
  } finally {
    options.signal.removeEventListener('abort', onAbort)
  }
}

async function outcomeOf(child: ChildProcess, program: string, server: string) {
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => reject(startError(program, cause)))
    child.once('exit', resolve)
  })
  exited.catch(() => {})
  // A helper may end without having read what it was asked.
  child.stdin?.on('error', () => {})
  child.stdin?.end(server)
  const output = await readOutput(child, program)
  return { code: await exited, output }
}

async function readOutput(child: ChildProcess, program: string): Promise<string> {
  if (child.stdout === null) return ''
  try {
    return (await readBounded(child.stdout, MAX_ANSWER_BYTES)).toString('utf8')
  } catch (error) {
    // A program that cannot be started closes its output: the start error says why.
    if (!(error instanceof TooManyBytesError)) return ''
    kill(child)
    // No cause: callers log it, and it must never carry what the helper wrote.
    throw new HelperError(`${program} wrote more than ${MAX_ANSWER_BYTES} bytes`)
  }
}

function credentialOf(output: string, program: string): Credential | undefined {
  let answer: z.infer<typeof answerSchema>
  try {
    answer = answerSchema.parse(JSON.parse(output))
  } catch {
    // Without a cause: it would quote the answer.
    throw new HelperError(`${program} wrote what is no answer`)
  }
  if (answer.Secret === '') return undefined
  if (answer.Username === TOKEN_USER) return { identityToken: answer.Secret, username: '' }
  return { username: answer.Username, password: answer.Secret }
}

function startError(program: string, cause: NodeJS.ErrnoException): HelperError {
  if (cause.code === 'ENOENT') return new HelperError(`${program} is not on the PATH`)
  return new HelperError(`${program} cannot be run: ${cause.code}`)
}

function kill(child: ChildProcess): void {
  child.stdout?.destroy()
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It has just ended.
  }
}
