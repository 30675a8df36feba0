import { type Image, makeImage } from '../../test/support/image-maker.ts'
import type { NaboProcess } from '../../test/support/nabo-process.ts'
import { type Cluster, clusterUnavailable, createCluster } from '../../test/support/netns-cluster.ts'
import { settled } from '../../test/support/settled.ts'
import { layerOrigins, pullRow } from './observe.ts'
import { type PullRow, layerTable, megabytes, pullTable } from './tables.ts'

const IMAGE = 'docker.io/library/app:1'
const NODES = 3
/** Bytes of each layer's file. */
const LAYERS = [30_000_000, 16_000_000, 10_000_000, 4_000_000]

let interrupted = false
process.once('SIGINT', () => {
  interrupted = true
  process.stdout.write('\nCleaning up…\n')
})

const unavailable = await clusterUnavailable()
if (interrupted) {
  process.exitCode = 130
} else if (unavailable !== undefined) {
  process.stderr.write(`nabo: the demo cannot run here: ${unavailable}\n`)
  process.exitCode = 77
} else {
  try {
    await demo()
  } catch (error) {
    // The cluster's own handler ends this process after a Ctrl-C.
    if (!interrupted) throw error
  }
  if (interrupted) process.exitCode = 130
}

async function demo(): Promise<void> {
  say(`Making ${NODES} nodes with a containerd and a Nabo each, and a stand-in for Docker Hub…`)
  const image = makeImage({ layers: LAYERS.map((size, i) => ({ size, seed: `demo ${i}` })), multiArch: true })
  await using cluster = await createCluster({ nodes: NODES })
  // A Ctrl-C from before the cluster was there: nobody else acts on it.
  if (interrupted) return
  await cluster.hub.publish('app', '1', image)
  await Promise.all(cluster.nodes.map((node) => node.startContainerd()))
  const nabos = cluster.nodes.map((node) => node.startNabo())
  for (const nabo of nabos) await nabo.ready()
  await settled(nabos)

  const size = image.layers.reduce((sum, layer) => sum + layer.bytes.length, 0)
  say(`Pulling ${IMAGE}, ${image.layers.length} layers, ${megabytes(size)}, on each of them in turn.\n`)
  const rows: PullRow[] = []
  for (let i = 0; i < NODES; i++) {
    rows.push(await pull(cluster, nabos, image, i, cluster.node(i).name))
    await settled(nabos, ownKeys(image, i + 1))
  }

  say(`Docker Hub is switched off, and ${cluster.node(0).name} has lost the image:\n`)
  await cluster.node(0).remove(IMAGE)
  const down = { down: true }
  await cluster.hub.setFaults({ registry: down, auth: down, cdn: down })
  rows.push(await pull(cluster, nabos, image, 0, `${cluster.node(0).name}, Docker Hub off`))

  say(`${pullTable(rows)}\n`)
  const { blobs, manifestGets } = await cluster.hub.counters()
  const once = image.layers.every(({ descriptor }) => blobs[descriptor.digest]?.bytes === descriptor.size)
  const wanted = NODES * size
  say(
    `${NODES} nodes needed ${megabytes(wanted)}; Docker Hub sent ${once ? 'each byte once' : 'some bytes more than once'}`,
  )
  say(`and counted ${manifestGets} pulls against the quota (a multi-platform image is two).`)
  if (!once) process.exitCode = 1
}

async function pull(
  cluster: Cluster,
  nabos: readonly NaboProcess[],
  image: Image,
  number: number,
  title: string,
): Promise<PullRow> {
  const node = cluster.node(number)
  const nabo = nabos[number]
  if (nabo === undefined) throw new Error(`${node.name} has no Nabo`)
  const before = await cluster.hub.counters()
  const earlier = nabo.requests().length
  const { code, stderr, durationMs } = await node.pull(IMAGE)
  if (code !== 0) throw new Error(`the pull on ${node.name} failed: ${stderr}`)
  for (const { descriptor } of image.layers) {
    if ((await node.blobSha256(descriptor.digest)) !== descriptor.digest)
      throw new Error(`${descriptor.digest} is wrong`)
  }
  const names = new Map(cluster.nodes.map((each) => [each.ip, each.name]))
  const origins = layerOrigins(image, nabo.requests().slice(earlier), names)
  say(`${layerTable(title, origins)}\n`)
  return pullRow(title, durationMs, origins, before, await cluster.hub.counters())
}

/** What each node announces once the first `count` nodes have the image: manifests, config, layers and the tag. */
function ownKeys(image: Image, count: number): number[] {
  return Array.from({ length: count }, () => image.layers.length + 4)
}

function say(text: string): void {
  if (!interrupted) process.stdout.write(`${text}\n`)
}
