import { stat } from 'node:fs/promises'

import type { ContainerdLook } from '../store/containerd/running-containerd.ts'

type Look = (signal: AbortSignal) => Promise<ContainerdLook>

/**
 * What a running containerd said about itself, asked again only after it has started anew: it reads its files at its start, and makes its
 * socket then. To ask costs a connection and four calls.
 */
export class RecentContainerd {
  readonly #socket: string
  readonly #look: Look
  #last: { readonly look: ContainerdLook; readonly socket: string } | undefined

  constructor(socket: string, look: Look) {
    this.#socket = socket
    this.#look = look
  }

  /** Asks the running containerd. */
  async ask(signal: AbortSignal): Promise<ContainerdLook> {
    const socket = await this.#identity()
    this.#last = undefined
    const look = await this.#look(signal)
    if (socket !== undefined && look.state === 'answers') this.#last = { look, socket }
    return look
  }

  /** The answer of the running containerd: the last one if containerd has not started again since, else a new one. */
  async recent(signal: AbortSignal): Promise<ContainerdLook> {
    const last = this.#last
    return last !== undefined && last.socket === (await this.#identity()) ? last.look : this.ask(signal)
  }

  async #identity(): Promise<string | undefined> {
    const found = await stat(this.#socket).catch(() => undefined)
    return found && `${found.dev} ${found.ino} ${found.mtimeMs}`
  }
}
