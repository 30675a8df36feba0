import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

import type { ClusterNode } from '../../../test/support/cluster-node.ts'
import type { Version } from '../images.ts'

/** Hashes what a node's containerd keeps of an image. Returns the digests of what is not there or not right. */
export async function wrongContent(
  node: Pick<ClusterNode, 'blobSha256'>,
  { image }: Pick<Version, 'image'>,
): Promise<string[]> {
  const wanted = [image.root, image.manifest, image.config, ...image.layers].map(({ descriptor }) => descriptor.digest)
  const wrong: string[] = []
  for (const digest of new Set(wanted)) {
    const found = await node.blobSha256(digest).catch(() => 'nothing')
    if (found !== digest) wrong.push(digest)
  }
  return wrong
}

/** Bytes in a node's content store, complete or still coming. */
export async function arrivedBytes(node: ClusterNode): Promise<number> {
  const { contentPath } = node.containerd
  const ingests = await list(join(contentPath, 'ingest'))
  const blobs = await list(join(contentPath, 'blobs/sha256'))
  const sizes = await Promise.all([...blobs, ...ingests.map((path) => join(path, 'data'))].map(sizeOf))
  return sizes.reduce((sum, size) => sum + size, 0)
}

async function list(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch(() => [])
  return names.map((name) => join(directory, name))
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  )
}
