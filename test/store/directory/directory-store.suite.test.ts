import { rm } from 'node:fs/promises'
import { join } from 'node:path'

import { digestHex } from '../../../src/oci/digest.ts'
import { recordingStoreSuite } from '../content-store-suite.ts'
import { fill, openStore, putManifests } from './support.ts'

recordingStoreSuite(
  'directory',
  async () => {
    const opened = await openStore()
    const { store, directory } = opened
    return {
      store,
      put: async (image, { registry, name, tag }) => {
        for (const { descriptor, bytes } of image.blobs) {
          await fill(store, bytes)
          store.noteOrigin(descriptor.digest, { repository: { registry, name }, isPublic: true })
        }
        await putManifests(store, image, { registry, name, tag })
      },
      putManifests: (image, tag) => putManifests(store, image, tag),
      drop: async (digest) => {
        await rm(join(directory, 'blobs', 'sha256', digestHex(digest)))
        await store.open(digest, { signal: new AbortController().signal })
      },
      [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
    }
  },
  {},
)
