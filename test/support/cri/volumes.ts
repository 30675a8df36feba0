import { chmod, mkdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { z } from 'zod'

import type { KubernetesNode } from './kubernetes-node.ts'
import type { Volume } from './pod-spec.ts'

const secretSchema = z.object({
  kind: z.literal('Secret'),
  metadata: z.object({ name: z.string() }),
  data: z.record(z.string(), z.base64()).default({}),
})

/** Makes a pod's volumes on its node, as the kubelet does. `objects` are those of its namespace. Returns where they are, on the node. */
export async function makeVolumes(
  node: KubernetesNode,
  uid: string,
  volumes: readonly Volume[],
  objects: readonly unknown[],
): Promise<ReadonlyMap<string, string>> {
  const made = new Map<string, string>()
  for (const volume of volumes) made.set(volume.name, await makeVolume(node, uid, volume, objects))
  return made
}

async function makeVolume(
  node: KubernetesNode,
  uid: string,
  volume: Volume,
  objects: readonly unknown[],
): Promise<string> {
  const own = `/var/lib/kubelet/pods/${uid}/volumes/${volume.name}`
  if ('hostPath' in volume) {
    const { path, type } = volume.hostPath
    const outside = node.outside(path)
    if (type === 'DirectoryOrCreate') await mkdir(outside, { recursive: true, mode: 0o755 })
    if (type === 'Directory' && !(await stat(outside)).isDirectory()) throw new Error(`${path} is no directory`)
    return path
  }
  await mkdir(node.outside(own), { recursive: true })
  // Any user of the pod may write there.
  if ('emptyDir' in volume) await chmod(node.outside(own), 0o777)
  if ('secret' in volume) {
    const { secretName, items, defaultMode } = volume.secret
    const data = secretData(secretName, objects)
    const files = items ?? Object.keys(data).map((key) => ({ key, path: key, mode: undefined }))
    for (const { key, path, mode } of files) {
      const content = data[key]
      if (content === undefined) throw new Error(`the Secret ${secretName} has no ${key}`)
      const file = join(node.outside(own), path)
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, Buffer.from(content, 'base64'))
      await chmod(file, mode ?? defaultMode)
    }
  }
  return own
}

function secretData(name: string, objects: readonly unknown[]): Readonly<Record<string, string>> {
  for (const object of objects) {
    const { success, data } = secretSchema.safeParse(object)
    if (success && data.metadata.name === name) return data.data
  }
  throw new Error(`there is no Secret ${name}`)
}
