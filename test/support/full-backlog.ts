import { type Socket, connect } from 'node:net'

import { Child } from './child.ts'
import { eventually } from './poll.ts'

/** A process that listens and never accepts. */
const LISTEN = `
const server = require('node:net').createServer()
server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  require('node:fs').writeSync(1, server.address().port + '\\n')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
})`
/** Linux accepts one connection more than the backlog says, and drops the SYNs of all others. */
const BACKLOG = 2

/** An address of loopback at which the kernel drops every packet of a new connection, as a firewall or a dead route does. */
export class FullBacklog {
  readonly url: string
  readonly #child: Child
  readonly #fillers: readonly Socket[]

  private constructor(port: number, child: Child, fillers: readonly Socket[]) {
    this.url = `http://127.0.0.1:${port}`
    this.#child = child
    this.#fillers = fillers
  }

  static async start(): Promise<FullBacklog> {
    const child = new Child(process.execPath, ['-e', LISTEN])
    await eventually('it listens', () => child.lines.length > 0)
    const port = Number(child.lines[0])
    const fillers = Array.from({ length: BACKLOG }, () => connect(port, '127.0.0.1'))
    await Promise.all(fillers.map((filler) => new Promise((resolve) => filler.once('connect', resolve))))
    return new FullBacklog(port, child, fillers)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const filler of this.#fillers) filler.on('error', () => {}).destroy()
    await this.#child.kill()
  }
}
