import { MemoryStore } from '../support/memory-store.ts'
import { recordingStoreSuite } from './content-store-suite.ts'

recordingStoreSuite(
  'in memory',
  async () => {
    const store = new MemoryStore()
    await store.start()
    return {
      store,
      put: async (image, tag) => {
        for (const { bytes } of [...image.blobs, ...image.manifests]) store.put(bytes, tag)
        store.tag(tag, image.root.descriptor)
      },
      putManifests: async (image, tag) => {
        for (const { bytes } of image.manifests) store.put(bytes, tag)
        store.tag(tag, image.root.descriptor)
      },
      drop: async (digest) => store.drop(digest),
      [Symbol.asyncDispose]: () => store.stop(),
    }
  },
  {},
)
