import type { HubCounters } from '../../test/support/hub/ledger.ts'
import type { Image } from '../../test/support/image-maker.ts'
import type { RequestLine } from '../../test/support/nabo-process.ts'
import type { LayerOrigin, PullRow } from './tables.ts'

/** Where the layers of a pull came from, as the daemon's request log says. `names` are the nodes' by their addresses. */
export function layerOrigins(
  image: Image,
  requests: readonly RequestLine[],
  names: ReadonlyMap<string, string>,
): LayerOrigin[] {
  return image.layers.map(({ descriptor }) => {
    const lines = requests.filter((line) => line.listener === 'mirror' && line.digest === descriptor.digest)
    const shares = lines.flatMap((line) => {
      if (line.shares !== undefined) return line.shares
      return line.source === undefined ? [] : [{ source: line.source, peer: line.peer, bytes: line.bytes }]
    })
    return {
      digest: descriptor.digest,
      size: descriptor.size,
      durationMs: lines.reduce((sum, line) => sum + line.durationMs, 0),
      shares: shares.map(({ source, peer, bytes }) => ({ source, bytes, from: nameOf(source, peer, names) })),
    }
  })
}

/** One line of the last table: what a pull took from where, and what Docker Hub was asked meanwhile. */
export function pullRow(
  title: string,
  durationMs: number,
  origins: readonly LayerOrigin[],
  before: HubCounters,
  after: HubCounters,
): PullRow {
  const shares = origins.flatMap((origin) => origin.shares)
  const bytesFrom = (source: string) =>
    shares.filter((share) => share.source === source).reduce((sum, share) => sum + share.bytes, 0)
  return {
    title,
    durationMs,
    peerBytes: bytesFrom('peer'),
    upstreamBytes: bytesFrom('upstream'),
    manifestHeads: after.manifestHeads - before.manifestHeads,
    manifestGets: after.manifestGets - before.manifestGets,
    blobGets: after.blobGets - before.blobGets,
    hubBytes: after.blobBytes - before.blobBytes,
  }
}

function nameOf(source: string, peer: string | undefined, names: ReadonlyMap<string, string>): string {
  if (source === 'upstream') return 'Docker Hub'
  if (source === 'local' || peer === undefined) return 'this node'
  return names.get(peer.slice(0, peer.lastIndexOf(':'))) ?? peer
}
