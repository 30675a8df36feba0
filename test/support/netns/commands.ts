import { execFile, execFileSync } from 'node:child_process'

export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command to its end, whatever its exit code; it is killed after `timeoutMs`. */
export function execute(
  command: string,
  args: readonly string[],
  options: { timeoutMs?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const limits = {
      timeout: options.timeoutMs ?? 120_000,
      killSignal: 'SIGKILL',
      maxBuffer: 64 * 1024 * 1024,
    } as const
    const env = options.env === undefined ? {} : { env: options.env }
    execFile(command, args, { ...limits, ...env }, (error, stdout, stderr) => {
      const failed = typeof error?.code === 'number' ? error.code : 1
      resolve({ code: error === null ? 0 : failed, stdout, stderr: stderr === '' ? (error?.message ?? '') : stderr })
    })
  })
}

/** What a terminal sends to all that runs in it. */
const TERMINAL = new Set<unknown>(['SIGINT', 'SIGHUP'])

/** Runs a short command and returns its output. Throws if it fails. A Ctrl-C does not stop it: networks are not left half-made. */
export function runSync(command: string, ...args: readonly string[]): string {
  try {
    // In a session of its own the terminal does not reach it.
    return execFileSync('setsid', [command, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 30_000,
    })
  } catch (error) {
    // Reached before it had its session, so before the command began.
    if (error instanceof Error && 'signal' in error && TERMINAL.has(error.signal)) return runSync(command, ...args)
    throw error
  }
}
