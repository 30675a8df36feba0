import { buildImages } from '../../support/image/nabo-image.ts'
import { KubernetesCluster, type KubernetesClusterOptions } from './kubernetes-cluster.ts'
import { findPrograms } from './programs.ts'

/** Why there is no cluster, in a sentence; undefined if there is one. What is not built yet is built. */
export async function kubernetesUnavailable(): Promise<string | undefined> {
  const found = await findPrograms()
  return 'skip' in found ? found.skip : undefined
}

/** Starts a cluster with the images that test/kubernetes/run.ts has built, or else with new ones. */
export async function startCluster(
  options: Omit<KubernetesClusterOptions, 'programs' | 'images'> = {},
): Promise<KubernetesCluster> {
  const programs = await findPrograms()
  if ('skip' in programs) throw new Error(programs.skip)
  const nabo = process.env['NABO_TEST_IMAGE']
  const pause = process.env['NABO_TEST_PAUSE_IMAGE']
  if (nabo !== undefined && pause !== undefined)
    return KubernetesCluster.start({ ...options, programs, images: { nabo, pause } })
  // The nodes have read them when they have started.
  await using images = await buildImages()
  return await KubernetesCluster.start({ ...options, programs, images })
}
