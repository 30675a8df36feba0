import type { ListenerName } from './listeners.ts'

/** What a daemon that serves is, for its first log line, its status and its checks. */
export interface DaemonSummary extends Readonly<Record<ListenerName, readonly string[]>> {
  readonly router: readonly string[]
  readonly store: 'containerd' | 'directory'
  /** This node in the overlay, and the address of its peer listener for peers. */
  readonly self: { readonly id: string; readonly address: string }
  /** Path of the Unix socket for commands; undefined without one. */
  readonly adminSocket?: string
}
