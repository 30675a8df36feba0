import { join } from 'node:path'

import { type Digest, digestAlgorithm, digestHex, matchesDigest } from '../../oci/digest.ts'
import { MAX_MANIFEST_BYTES, type ToldMediaType } from '../../oci/manifest.ts'
import { type Repository, tagKey, type TagReference } from '../../oci/reference.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { abortable } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import {
  type ContentSource,
  type ContentStore,
  type GrowingBlob,
  type GrowingOptions,
  type KnownTag,
  type OpenBlob,
  type StoreChange,
  type StoreEntry,
  type StoreStatus,
  UNRECORDED,
} from '../content-store.ts'
import { errorCode, FileBlob, openFile } from '../file-blob.ts'
import { grownBlob } from '../grown-blob.ts'
import { Listeners } from '../listeners.ts'
import { readAll } from '../read-all.ts'
import {
  type Catalog,
  type CatalogBlob,
  catalogChanges,
  catalogEntries,
  EMPTY_CATALOG,
  manifestsIn,
  mergeRows,
} from './catalog.ts'
import type { ContainerdClient } from './client.ts'
import { Follower } from './follower.ts'
import { ImportedSources } from './imported-sources.ts'
import { Ingests } from './ingests.ts'
import { ManifestTypes } from './manifest-types.ts'
import type { ContentRow } from './rows.ts'
import { loadServices } from './services.ts'
import type { MirrorPredicates } from './source-labels.ts'
import { containerdUnreachable } from './unreachable.ts'

export interface ContainerdStoreOptions extends MirrorPredicates {
  /** Path of containerd's socket. */
  readonly socket: string
  /** Whose content is offered; all namespaces if undefined. */
  readonly namespaces?: readonly string[] | undefined
  /** Root of the content store on disk; containerd is asked if undefined. */
  readonly contentPath?: string | undefined
  /** How long after its commit a blob may still lack source labels, in milliseconds; {@link LABEL_DELAY} if absent. */
  readonly labelDelay?: number
  readonly log: Pick<Log, 'debug' | 'info' | 'warn'>
}

/** How long a blob on disk may lack its row in containerd's database: between the two there is one transaction. */
const FRESH_LIFE = 2 * second

/** containerd sets labels milliseconds after the commit; on a saturated disk it takes up to a second. */
const LABEL_DELAY = 2 * second

/** The content of containerd: what there is by its API, the bytes straight from its disk. */
export class ContainerdStore implements ContentStore {
  readonly #options: ContainerdStoreOptions
  readonly #listeners: Listeners
  readonly #imported = new ImportedSources((digest) => this.#readManifest(digest))
  readonly #types = new ManifestTypes((digest) => this.#readManifest(digest))
  readonly #stopping = new AbortController()
  #following: Promise<void> | undefined
  #status: StoreStatus
  #root: string | undefined
  #ingests: Ingests | undefined
  #client: ContainerdClient | undefined
  #catalog: Catalog & { readonly blobs: Map<Digest, CatalogBlob> } = { ...EMPTY_CATALOG, blobs: new Map() }
  /** Blobs that were seen on disk and not yet in a listing. */
  readonly #fresh = new Map<Digest, CatalogBlob>()
  #entries: readonly StoreEntry[] | undefined

  constructor(options: ContainerdStoreOptions) {
    this.#options = options
    this.#listeners = new Listeners(options.log)
    if (options.contentPath !== undefined) this.#locate(options.contentPath)
    this.#status = { ready: false, reason: `containerd at ${options.socket} has not answered yet` }
  }

  async start(): Promise<void> {
    const { socket, namespaces, contentPath, isMirror, isMirrorHost } = this.#options
    const follower = new Follower({
      socket,
      namespaces,
      contentPath,
      isMirror,
      isMirrorHost,
      services: loadServices(),
      onConnected: (client, root) => this.#connected(client, root),
      onListed: (catalog) => this.#listed(catalog),
      onTouched: (digest) => void this.#touched(digest),
      onLost: (error) => this.#lost(error),
    })
    this.#following ??= follower.run(this.#stopping.signal)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#following
    this.#client = undefined
    this.#status = { ready: false, reason: 'stopped' }
  }

  status(): StoreStatus {
    return this.#status
  }

  /** Of all blobs that are held, in bytes. */
  get usedBytes(): number {
    let bytes = 0
    for (const { size } of this.#catalog.blobs.values()) bytes += size
    return bytes
  }

  entries(): readonly StoreEntry[] {
    return (this.#entries ??= catalogEntries(this.#catalog))
  }

  subscribe(listener: (change: StoreChange) => void): () => void {
    return this.#listeners.add(listener)
  }

  async open(digest: Digest, { signal }: { signal: AbortSignal }): Promise<OpenBlob | undefined> {
    signal.throwIfAborted()
    // What is in `blobs` is committed, even when its event has yet to come; but it may belong to a namespace not offered.
    const offered = this.#options.namespaces === undefined || this.#catalog.blobs.has(digest)
    if (!offered && (await this.#rowsOf(digest, signal)) === undefined) return undefined
    return this.#openFile(digest)
  }

  async openGrowing(digest: Digest, options: GrowingOptions): Promise<GrowingBlob | undefined> {
    const growing = await this.#ingests?.open(digest, options).catch((err: unknown) => {
      options.signal.throwIfAborted()
      this.#options.log.debug({ err, digest }, 'the ingests of containerd cannot be read')
      return undefined
    })
    if (growing !== undefined) return growing
    const blob = await this.open(digest, options)
    return blob && grownBlob(blob)
  }

  async sources(digest: Digest, { signal }: { signal: AbortSignal }): Promise<readonly ContentSource[]> {
    signal.throwIfAborted()
    const known = this.#catalog.blobs.get(digest)
    const asked = this.#isSettled(known) ? undefined : await this.#ask(digest, signal)
    const blob = asked ?? known
    if (blob === undefined) return []
    // Converted from the wall clock: containerd reports the creation time only.
    const at = performance.now() - Math.max(0, Date.now() - blob.createdAt)
    if (blob.labelled) return blob.sources.map((source): ContentSource => ({ ...source, access: 'unknown', at }))
    // If containerd did not answer, the blob may have a label by now. A fresh commit lacks its label even if the blob came from a
    // registry, and a client that can add an image naming the blob could make it look imported.
    if (asked === undefined || Date.now() - asked.createdAt < this.#labelDelay)
      return [{ ...UNRECORDED, access: 'unknown' }]
    const claims = await this.#claims(digest, signal)
    return claims.map((source): ContentSource => ({ ...source, access: 'imported' }))
  }

  async mediaType(
    digest: Digest,
    repository: Repository,
    { signal }: { signal: AbortSignal },
  ): Promise<ToldMediaType | undefined> {
    signal.throwIfAborted()
    return abortable(this.#types.of(digest, repository, this.#catalog), signal)
  }

  async manifestsOf(repository: Repository, { signal }: { signal: AbortSignal }): Promise<readonly Digest[]> {
    signal.throwIfAborted()
    return manifestsIn(this.#catalog, repository)
  }

  /** undefined for what is not there, cannot be read, or is no manifest. */
  async #readManifest(digest: Digest): Promise<Uint8Array | undefined> {
    try {
      const blob = await this.#openFile(digest)
      const bytes = blob && (await readAll(blob, MAX_MANIFEST_BYTES))
      return bytes !== undefined && matchesDigest(bytes, digest) ? bytes : undefined
    } catch {
      return undefined
    }
  }

  async resolve(tag: TagReference, { signal }: { signal: AbortSignal }): Promise<KnownTag | undefined> {
    signal.throwIfAborted()
    const known = this.#catalog.tags.get(tagKey(tag))
    return known === undefined ? undefined : { descriptor: known.descriptor, asOf: known.asOf }
  }

  async #claims(digest: Digest, signal: AbortSignal): Promise<readonly Repository[]> {
    const claims = await abortable(this.#imported.claims(this.#catalog), signal)
    return claims.get(digest) ?? []
  }

  get #labelDelay(): number {
    return this.#options.labelDelay ?? LABEL_DELAY
  }

  /**
   * Whether the listing has every label of the blob's own pull. containerd sends no event for a label, and another pull may add its
   * label between the commit and the label of the first pull.
   */
  #isSettled(known: CatalogBlob | undefined): boolean {
    return known?.labelled === true && this.#catalog.listedAt - known.createdAt >= this.#labelDelay
  }

  /** containerd's current record of a blob; undefined if the blob is not held, containerd does not answer, or nothing is listed yet. */
  async #ask(digest: Digest, signal: AbortSignal): Promise<CatalogBlob | undefined> {
    const rows = await this.#rowsOf(digest, signal)
    const { labels } = this.#catalog
    return rows === undefined || labels === undefined ? undefined : mergeRows(rows, labels)
  }

  /** A blob's rows in all namespaces; undefined if no offered namespace holds it, or containerd does not answer. */
  async #rowsOf(digest: Digest, signal: AbortSignal): Promise<readonly ContentRow[] | undefined> {
    const client = this.#client
    if (client === undefined) return undefined
    try {
      const names = await client.namespaces(signal)
      const rows = await Promise.all(
        names.map(async (name) => ({ name, row: await client.info(name, digest, signal) })),
      )
      const selection = this.#options.namespaces
      const held = rows.filter(({ row }) => row !== undefined)
      if (!held.some(({ name }) => selection === undefined || selection.includes(name))) return undefined
      return held.flatMap(({ row }) => row ?? [])
    } catch (err) {
      signal.throwIfAborted()
      this.#options.log.debug({ err, digest }, 'containerd did not answer about a blob')
      return undefined
    }
  }

  async #openFile(digest: Digest): Promise<OpenBlob | undefined> {
    if (this.#root === undefined) return undefined
    const path = blobPath(this.#root, digest)
    try {
      const file = await openFile(path)
      return file === undefined ? undefined : new FileBlob(file.handle, file.size)
    } catch (cause) {
      if (errorCode(cause) !== 'EACCES') throw cause
      throw new Error(`no permission to read containerd's content at ${path}: run Nabo as a user who may`, { cause })
    }
  }

  #connected(client: ContainerdClient, root: string): void {
    this.#client = client
    if (root !== this.#root) this.#locate(root)
  }

  #locate(root: string): void {
    const { namespaces } = this.#options
    this.#root = root
    this.#ingests = new Ingests({ root, namespaces, blobPath: (digest) => blobPath(root, digest) })
  }

  /**
   * Offers a blob as soon as it is on disk: a listing takes its time, and neighbours that pull the same image ask within
   * milliseconds. Where only some namespaces are offered, the listing must say first whose it is.
   */
  async #touched(digest: Digest): Promise<void> {
    if (this.#options.namespaces !== undefined || this.#catalog.blobs.has(digest)) return
    const file = await this.#openFile(digest).catch(() => undefined)
    if (file === undefined) return
    await file.close()
    const blob = { size: file.size, createdAt: Date.now(), labelled: false, sources: [] }
    this.#fresh.set(digest, blob)
    if (this.#catalog.blobs.has(digest)) return
    this.#catalog.blobs.set(digest, blob)
    this.#entries = undefined
    this.#listeners.emit({ type: 'added', entry: { type: 'blob', digest } })
  }

  #listed(listed: Catalog): void {
    const blobs = new Map(listed.blobs)
    for (const [digest, blob] of this.#fresh) {
      // Its row may be written only after this listing began.
      if (blobs.has(digest) || Date.now() - blob.createdAt > FRESH_LIFE) this.#fresh.delete(digest)
      else blobs.set(digest, blob)
    }
    const before = this.#catalog
    const catalog = { ...listed, blobs }
    this.#catalog = catalog
    this.#entries = undefined
    if (!this.#status.ready) {
      this.#status = { ready: true }
      const { socket } = this.#options
      const fields = { socket, root: this.#root, blobs: catalog.blobs.size, tags: catalog.tags.size }
      this.#options.log.info(fields, 'following the content of containerd')
    }
    for (const change of catalogChanges(before, catalog)) this.#listeners.emit(change)
  }

  #lost(error: unknown): void {
    const reason = `${containerdUnreachable(this.#options.socket)}: ${whyUnreachable(error)}`
    // Said once, not at every attempt.
    if (this.#status.ready || this.#status.reason !== reason) this.#options.log.warn({}, reason)
    this.#client = undefined
    this.#status = { ready: false, reason }
  }
}

function blobPath(root: string, digest: Digest): string {
  return join(root, 'blobs', digestAlgorithm(digest), digestHex(digest))
}

/** The system's words for why there is no connection, out of what gRPC wraps around them. */
function whyUnreachable(error: unknown): string {
  const text = errorText(error)
  return /Last error: (?:Error: )?(.*?)(?:\. Resolution note|$)/.exec(text)?.[1] ?? text.replace(/^\d+ [A-Z_]+: /, '')
}
