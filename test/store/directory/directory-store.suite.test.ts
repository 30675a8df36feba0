import { rm } from 'node:fs/promises'
import { join } from 'node:path'

import { digestHex } from '../../../src/oci/digest.ts'
import { contentStoreSuite } from '../content-store-suite.ts'
import { fill, openStore } from './support.ts'

contentStoreSuite(
  'directory',
  async () => {
    const opened = await openStore()
    const { store, directory } = opened
    return {
      store,
      put: async (image, reference) => {
        for (const { bytes } of image.blobs) await fill(store, bytes)
        const { registry, name } = reference
        for (const { descriptor, bytes } of image.manifests.toReversed()) {
          const tag = descriptor === image.root.descriptor ? { tag: { reference, asOf: Date.now() } } : {}
          await store.putManifest(bytes, { descriptor, repository: { registry, name }, isPublic: true, ...tag })
        }
      },
      drop: async (digest) => {
        await rm(join(directory, 'blobs', 'sha256', digestHex(digest)))
        await store.open(digest, { signal: new AbortController().signal })
      },
      [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
    }
  },
  {},
)
