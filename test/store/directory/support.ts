import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import type { TagReference } from '../../../src/oci/reference.ts'
import { IngestError } from '../../../src/store/cache-store.ts'
import { DirectoryStore } from '../../../src/store/directory/directory-store.ts'
import type { Image } from '../../support/image-maker.ts'

export interface Warning {
  readonly fields: object
  readonly message: string
}

/** A log that keeps its warnings. */
export function quietLog() {
  const warnings: Warning[] = []
  const warn = (fields: object, message: string) => void warnings.push({ fields, message })
  return { warnings, debug: () => {}, info: () => {}, warn }
}

/** A directory of its own, removed at the end. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'nabo-store-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** A running store in its own directory, or in `directory`, which is then left as it is. */
export async function openStore(options: { maxBytes?: number; directory?: string } = {}) {
  const own = options.directory === undefined ? await temporaryDirectory() : undefined
  const directory = options.directory ?? own?.path ?? ''
  const log = quietLog()
  const store = new DirectoryStore({ directory, maxBytes: options.maxBytes ?? 1_000_000_000, log })
  await store.start()
  return {
    store,
    directory,
    log,
    [Symbol.asyncDispose]: async () => {
      await store.stop()
      await own?.[Symbol.asyncDispose]()
    },
  }
}

/** Takes a whole blob in; undefined if the store did not want it. */
export async function fill(store: DirectoryStore, bytes: Uint8Array): Promise<Digest | undefined> {
  const digest = digestOf(bytes)
  const ingest = await store.ingest(digest, { size: bytes.length })
  if (ingest === undefined) return undefined
  for (let at = 0; at < bytes.length; at += 65_536) await ingest.write(bytes.subarray(at, at + 65_536))
  await ingest.commit()
  return digest
}

/** Takes the manifests of an image in, as had from its tag's repository; its blobs may be missing. */
export async function putManifests(
  store: DirectoryStore,
  { manifests, root }: Image,
  reference: TagReference,
  { isPublic = true, asOf = Date.now() } = {},
): Promise<void> {
  const { registry, name } = reference
  for (const { descriptor, bytes } of manifests.toReversed()) {
    const tag = descriptor === root.descriptor ? { tag: { reference, asOf } } : {}
    await store.putManifest(bytes, { descriptor, repository: { registry, name }, isPublic, ...tag })
  }
}

export function isIngestError(reason: IngestError['reason']): (error: unknown) => boolean {
  return (error) => error instanceof IngestError && error.reason === reason
}
