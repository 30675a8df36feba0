import { type ChildProcess, spawn } from 'node:child_process'

import { TooManyBytesError, readBounded } from '../../async/read-bounded.ts'

/** A program that gives credentials. */
export interface CredentialProgram {
  /** Its path, or a name that `PATH` of the environment leads to. */
  readonly command: string
  readonly args: readonly string[]
  readonly input: string
  readonly env: NodeJS.ProcessEnv
  /** What errors call it. */
  readonly name: string
  /** Where it was looked for, in an error: `on the PATH`. */
  readonly place: string
}

/** A program gave no answer. The message says why, and never what the program wrote. */
export class CredentialProgramError extends Error {
  override readonly name = 'CredentialProgramError'
}

const MAX_ANSWER_BYTES = 64 * 1024

/**
 * Runs a program to its end. `code` is its exit code, null if a signal ended it. `signal` ends it with all that it started. Throws
 * CredentialProgramError, or the signal's reason.
 */
export async function runProgram(
  program: CredentialProgram,
  options: { signal: AbortSignal },
): Promise<{ code: number | null; output: string }> {
  const { command, args, env } = program
  options.signal.throwIfAborted()
  // Its own group, so that what it started goes with it. What it says to stderr may hold a secret and goes nowhere.
  const child = spawn(command, args, { env, detached: true, stdio: ['pipe', 'pipe', 'ignore'] })
  const onAbort = () => kill(child)
  options.signal.addEventListener('abort', onAbort, { once: true })
  try {
    const outcome = await outcomeOf(child, program)
    options.signal.throwIfAborted()
    return outcome
  } catch (error) {
    options.signal.throwIfAborted()
    throw error
  } finally {
    options.signal.removeEventListener('abort', onAbort)
  }
}

/** The failure of a program that ended with another code than 0. */
export function exitError({ name }: CredentialProgram, code: number | null): CredentialProgramError {
  return new CredentialProgramError(`${name} failed: ${code === null ? 'a signal ended it' : `exit code ${code}`}`)
}

async function outcomeOf(child: ChildProcess, program: CredentialProgram) {
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => reject(startError(program, cause)))
    child.once('exit', resolve)
  })
  exited.catch(() => {})
  // A program may end without having read what it was asked.
  child.stdin?.on('error', () => {})
  child.stdin?.end(program.input)
  const output = await readOutput(child, program)
  return { code: await exited, output }
}

async function readOutput(child: ChildProcess, { name }: CredentialProgram): Promise<string> {
  if (child.stdout === null) return ''
  try {
    return (await readBounded(child.stdout, MAX_ANSWER_BYTES)).toString('utf8')
  } catch (error) {
    // A program that cannot be started closes its output: the start error says why.
    if (!(error instanceof TooManyBytesError)) return ''
    kill(child)
    // No cause: callers log it, and it must never carry what the program wrote.
    throw new CredentialProgramError(`${name} wrote more than ${MAX_ANSWER_BYTES} bytes`)
  }
}

function startError({ name, place }: CredentialProgram, cause: NodeJS.ErrnoException): CredentialProgramError {
  if (cause.code === 'ENOENT')
    return new CredentialProgramError(`${name} is not ${place}, or needs an interpreter or a library that is not there`)
  return new CredentialProgramError(`${name} cannot be run: ${cause.code}`)
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
