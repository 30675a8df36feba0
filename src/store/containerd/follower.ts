import { setTimeout as sleep } from 'node:timers/promises'

import type { Digest } from '../../oci/digest.ts'
import { second } from '../../time/units.ts'
import { BlobWatch } from './blob-watch.ts'
import { buildCatalog, type Catalog, type NamespaceRows } from './catalog.ts'
import { ContainerdClient } from './client.ts'
import { Nudges } from './nudges.ts'
import type { Services } from './services.ts'
import type { MirrorPredicates } from './source-labels.ts'

const FIRST_BACKOFF = 200
const LONGEST_BACKOFF = 5 * second

export interface FollowerOptions extends MirrorPredicates {
  readonly socket: string
  readonly services: Services
  /** undefined: all, those that appear later included. */
  readonly namespaces: readonly string[] | undefined
  readonly contentPath: string | undefined
  /** A connection is up, and the root of the content store is known. */
  onConnected(client: ContainerdClient, root: string): void
  onListed(catalog: Catalog): void
  /** A blob may have appeared on disk or vanished from it; a listing follows. */
  onTouched(digest: Digest): void
  /** The connection is gone, or never came. */
  onLost(error: unknown): void
}

/** Keeps a connection to containerd, and lists what it holds whenever that may have changed. */
export class Follower {
  readonly #options: FollowerOptions
  #attempt = 0

  constructor(options: FollowerOptions) {
    this.#options = options
  }

  /** Runs until the signal fires, and never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#session(signal)
      } catch (error) {
        if (signal.aborted) return
        this.#options.onLost(error)
      }
      const backoff = Math.min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** this.#attempt++)
      await sleep(backoff * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {})
    }
  }

  async #session(parent: AbortSignal): Promise<void> {
    const { socket, services, contentPath } = this.#options
    const client = new ContainerdClient(socket, services)
    const end = new AbortController()
    const signal = AbortSignal.any([parent, end.signal])
    const nudges = new Nudges()
    let watch: BlobWatch | undefined
    const work: Promise<void>[] = []
    try {
      const root = contentPath ?? (await client.contentRoot(signal))
      if (root === undefined) throw new Error('it does not say where its content is; name the path')
      this.#options.onConnected(client, root)
      watch = new BlobWatch(root, (digest) => {
        if (digest !== undefined) this.#options.onTouched(digest)
        nudges.nudge()
      })
      // Events first, then the listing: what changes in between is seen by one of them. Nothing tells when the subscription
      // has taken effect, so there is one more listing soon.
      nudges.nudge()
      work.push(
        client.follow(() => nudges.nudge(), signal),
        this.#keepListing(client, nudges, watch, signal),
      )
      await Promise.race(work)
    } finally {
      end.abort()
      watch?.close()
      await Promise.allSettled(work)
      client.close()
    }
  }

  async #keepListing(client: ContainerdClient, nudges: Nudges, watch: BlobWatch, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      watch.ensure()
      const { isMirror, isMirrorHost } = this.#options
      const [started, listedAt] = [performance.now(), Date.now()]
      const rows = await this.#list(client, signal)
      this.#options.onListed(buildCatalog(rows, { isMirror, isMirrorHost, listedAt }))
      this.#attempt = 0
      await nudges.next(performance.now() - started, signal)
    }
  }

  async #list(client: ContainerdClient, signal: AbortSignal): Promise<NamespaceRows[]> {
    const selection = this.#options.namespaces
    const rows: NamespaceRows[] = []
    for (const namespace of await client.namespaces(signal)) {
      const selected = selection === undefined || selection.includes(namespace)
      // Images before content: an image's content has its labels before the image is there.
      const images = await client.images(namespace, signal)
      rows.push({ selected, images, content: await client.content(namespace, signal) })
    }
    return rows
  }
}
