import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

import { generateKeyPair } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { z } from 'zod'

import type { BootstrapSource } from '../../../src/overlay/bootstrap/bootstrap-source.ts'
import type { HostPort } from '../../../src/overlay/host-port.ts'
import { Libp2pOverlay } from '../../../src/overlay/libp2p/libp2p-overlay.ts'
import type { BindRouter, KeptRouters, OverlayLog } from '../../../src/overlay/libp2p/overlay-options.ts'
import type { PendingConnections } from '../../../src/overlay/libp2p/pending-connections.ts'
import type { Overlay } from '../../../src/overlay/overlay.ts'

export const silent: OverlayLog = { debug() {}, info() {}, warn() {} }

/** A bootstrap that names the routers of overlays as they are at the moment it is asked. */
export function bootstrapTo(overlays: () => Iterable<Libp2pOverlay>): BootstrapSource {
  return {
    candidates: async () =>
      [...overlays()].flatMap((overlay) =>
        overlay.routers().map((router) => ({ type: 'multiaddr', multiaddr: router.decapsulate('/p2p') }) as const),
      ),
  }
}

export interface NodeOptions {
  readonly bootstrap?: BootstrapSource
  readonly overlayKeys?: readonly Uint8Array[]
  readonly identity?: PrivateKey
  readonly maxConnections?: number
  readonly log?: OverlayLog
  readonly peerPort?: number
  readonly listen?: readonly HostPort[]
  readonly bind?: BindRouter
  readonly kept?: KeptRouters | undefined
  readonly pending?: PendingConnections
}

export async function makeOverlay(options: NodeOptions = {}): Promise<Libp2pOverlay> {
  return new Libp2pOverlay({
    listen: options.listen ?? [{ host: '127.0.0.1', port: 0 }],
    advertise: ['127.0.0.1'],
    peerPort: options.peerPort ?? 7951,
    bootstrap: options.bootstrap ?? { candidates: async () => [] },
    identity: options.identity ?? (await generateKeyPair('Ed25519')),
    maxConnections: options.maxConnections ?? 300,
    log: options.log ?? silent,
    ...(options.kept === undefined ? {} : { kept: options.kept }),
    ...(options.bind === undefined ? {} : { bind: options.bind }),
    ...(options.pending === undefined ? {} : { pending: options.pending }),
    ...(options.overlayKeys === undefined ? {} : { overlayKeys: options.overlayKeys }),
  })
}

export function ids(peers: Iterable<{ id: string }>): string[] {
  return [...peers].map((peer) => peer.id).sort()
}

/** True if each of the overlays sees exactly the others. */
export function allSeeAll(overlays: readonly Overlay[]): boolean {
  return overlays.every((overlay) => seesExactly(overlay, overlays))
}

export function seesExactly(overlay: Overlay, others: readonly Overlay[]): boolean {
  const wanted = ids(others.map((other) => other.self).filter((peer) => peer.id !== overlay.self.id))
  return wanted.join() === ids(overlay.peers()).join()
}

const readySchema = z.object({ type: z.literal('ready'), id: z.string(), routers: z.array(z.string()) })
const peersSchema = z.object({ type: z.literal('peers'), ids: z.array(z.string()) })

/** A node in a process of its own. */
export class NodeProcess {
  readonly id: string
  readonly routers: readonly string[]
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, ready: { id: string; routers: string[] }) {
    this.#child = child
    this.id = ready.id
    this.routers = ready.routers
  }

  static async start(options: { routers?: readonly string[]; keys?: readonly string[] }): Promise<NodeProcess> {
    const child = fork(fileURLToPath(new URL('node-process.ts', import.meta.url)), [JSON.stringify(options)])
    const ready = readySchema.parse((await once(child, 'message'))[0])
    return new NodeProcess(child, ready)
  }

  async peers(): Promise<readonly string[]> {
    this.#child.send('peers')
    return peersSchema.parse((await once(this.#child, 'message'))[0]).ids
  }

  freeze(): void {
    this.#child.kill('SIGSTOP')
  }

  thaw(): void {
    this.#child.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }
}
