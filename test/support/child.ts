import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

export interface ChildOptions {
  /** Runs it inside this network namespace. */
  readonly netns?: string
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
}

export interface ChildExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Ends the process when this one dies, however that happens: a test that is killed leaves nothing behind. */
const TETHER = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL'] : []

const MAX_LINES = 20_000

/** A long-running process of a test, with the lines that it has written. */
export class Child {
  /** Both streams, oldest first; the last 20,000 lines. */
  readonly lines: string[] = []
  readonly exited: Promise<ChildExit>
  readonly #process: ChildProcess
  #exit: ChildExit | undefined

  constructor(command: string, args: readonly string[], options: ChildOptions = {}) {
    const { netns, ...rest } = options
    const place = netns === undefined ? [] : ['ip', 'netns', 'exec', netns]
    // What is in front replaces itself by the command: the pid is the command's own.
    const whole = [...TETHER, ...place, command, ...args]
    this.#process = spawn(whole[0] ?? '', whole.slice(1), { ...rest, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#read(this.#process.stdout)
    this.#read(this.#process.stderr)
    this.exited = new Promise((resolve) => {
      const onEnd = (exit: ChildExit) => {
        this.#exit = exit
        resolve(exit)
      }
      this.#process.once('exit', (code, signal) => onEnd({ code, signal }))
      this.#process.once('error', (error) => {
        this.lines.push(error.message)
        onEnd({ code: null, signal: null })
      })
    })
  }

  /** undefined if it could not be started. */
  get pid(): number | undefined {
    return this.#process.pid
  }

  /** How it ended; undefined while it runs. */
  get exit(): ChildExit | undefined {
    return this.#exit
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#exit === undefined) this.#process.kill(signal)
  }

  /** Asks it to end, and ends it after a while. */
  async stop(graceMs = 30_000): Promise<ChildExit> {
    this.signal('SIGTERM')
    const grace = new AbortController()
    const late = sleep(graceMs, undefined, { signal: grace.signal, ref: false }).then(() => this.signal('SIGKILL'))
    try {
      return await this.exited
    } finally {
      grace.abort()
      await late.catch(() => {})
    }
  }

  /** Ends it by SIGKILL. */
  async kill(): Promise<ChildExit> {
    this.signal('SIGKILL')
    return this.exited
  }

  #read(stream: NodeJS.ReadableStream | null): void {
    let rest = ''
    stream?.on('data', (data: Buffer) => {
      const parts = (rest + data.toString('utf8')).split('\n')
      rest = parts.pop() ?? ''
      this.lines.push(...parts)
      if (this.lines.length > MAX_LINES) this.lines.splice(0, this.lines.length - MAX_LINES)
    })
  }
}
