import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { copyFile, link, mkdir, open, readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { type Digest, digestHex, digestOf, parseDigest } from '../../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts'

/** Under which all content is. */
export const REPOSITORY = 'library/bench'

export interface Blob {
  readonly digest: Digest
  /** In bytes. */
  readonly size: number
}

export interface Content {
  /** A cache directory of the directory store: an OCI image layout. Each blob is a plain file of it. */
  readonly directory: string
  readonly blobs: readonly Blob[]
  /** About 2 KB; names all blobs. */
  readonly manifest: Blob
}

const STEP = 16 * 1024 * 1024
const MANIFEST_BYTES = 2048

/** Makes an image of noise whose layers have these sizes, as a directory store keeps what it had from a public repository. */
export async function makeContent(directory: string, sizes: readonly number[]): Promise<Content> {
  const folder = join(directory, 'blobs/sha256')
  await mkdir(folder, { recursive: true })
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  const blobs: Blob[] = []
  for (const size of sizes) blobs.push(await makeBlob(folder, size))
  const config = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}')
  const configBlob = { digest: digestOf(config), size: config.length }
  await writeFile(join(folder, digestHex(configBlob.digest)), config)
  const bytes = manifestOf(configBlob, blobs)
  const manifest = { digest: digestOf(bytes), size: bytes.length }
  await writeFile(join(folder, digestHex(manifest.digest)), bytes)
  const annotations = { 'dev.nabo.repository': `docker.io/${REPOSITORY}`, 'dev.nabo.public': 'true' }
  const entry = { mediaType: MEDIA_TYPES.ociManifest, ...manifest, annotations }
  await writeFile(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }))
  const origin = { public: [`docker.io/${REPOSITORY}`] }
  const origins = Object.fromEntries([configBlob, ...blobs].map(({ digest }) => [digest, origin]))
  await writeFile(join(directory, 'origins.json'), JSON.stringify({ version: 1, blobs: origins }))
  return { directory, blobs, manifest }
}

/** The same files under another directory, for a second daemon: a cache directory belongs to one. */
export async function linkContent(content: Content, directory: string): Promise<Content> {
  const folder = join(content.directory, 'blobs/sha256')
  await mkdir(join(directory, 'blobs/sha256'), { recursive: true })
  for (const name of await readdir(folder)) await link(join(folder, name), join(directory, 'blobs/sha256', name))
  for (const name of ['oci-layout', 'index.json', 'origins.json'])
    await copyFile(join(content.directory, name), join(directory, name))
  return { ...content, directory }
}

function manifestOf(config: Blob, blobs: readonly Blob[]): Buffer {
  const document = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: blobs.map((blob) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...blob })),
    annotations: { padding: '' },
  }
  const missing = MANIFEST_BYTES - JSON.stringify(document).length
  document.annotations.padding = '.'.repeat(Math.max(0, missing))
  return Buffer.from(JSON.stringify(document))
}

async function makeBlob(folder: string, size: number): Promise<Blob> {
  const hash = createHash('sha256')
  const cipher = createCipheriv('aes-256-ctr', randomBytes(32), Buffer.alloc(16))
  const zeros = Buffer.alloc(Math.min(STEP, size))
  const temporary = join(folder, 'unfinished')
  const file = await open(temporary, 'w')
  try {
    for (let at = 0; at < size; at += STEP) {
      const noise = cipher.update(zeros.subarray(0, Math.min(STEP, size - at)))
      hash.update(noise)
      await file.write(noise)
    }
  } finally {
    await file.close()
  }
  const digest = parseDigest(`sha256:${hash.digest('hex')}`)
  if (digest === undefined) throw new Error('no digest')
  await rename(temporary, join(folder, digestHex(digest)))
  return { digest, size }
}
