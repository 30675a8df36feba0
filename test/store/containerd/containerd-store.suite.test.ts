import { recordingStoreSuite } from '../content-store-suite.ts'
import { Lab, needsContainerd } from './support.ts'

recordingStoreSuite(
  'containerd',
  async () => {
    const lab = await (await Lab.create()).start()
    const store = await lab.openStore()
    return {
      store,
      put: (image, tag) => lab.pull('k8s.io', image, tag),
      putManifests: (image, tag) => lab.pull('k8s.io', image, tag, image.manifests),
      drop: async (digest) => void (await lab.ctr('k8s.io', 'content', 'remove', digest)),
      [Symbol.asyncDispose]: async () => {
        await store.stop()
        await lab[Symbol.asyncDispose]()
      },
    }
  },
  needsContainerd,
)
