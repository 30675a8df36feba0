import { tmpdir } from 'node:os'

import type { ServeConfig } from '../config/serve-config.ts'
import { BlobDeliveries } from '../delivery/blobs/blob-deliveries.ts'
import { BlobSources } from '../delivery/blobs/blob-sources.ts'
import type { DeliveryCounters } from '../delivery/blobs/delivery-counters.ts'
import { type Fill, Fills } from '../delivery/blobs/fill.ts'
import { GrowingDeliveries } from '../delivery/blobs/growing-deliveries.ts'
import type { KnownSizes } from '../delivery/blobs/known-sizes.ts'
import type { RegistryPolicy } from '../delivery/access/registry-policy.ts'
import type { BlobRequest } from '../delivery/blobs/blob-request.ts'
import { RemoteBlobs } from '../delivery/blobs/remote-blobs.ts'
import { Spool } from '../delivery/integrity/spool.ts'
import type { Suspects } from '../delivery/integrity/suspects.ts'
import { StoredSizes } from '../delivery/blobs/stored-sizes.ts'
import { VettedCopies } from '../delivery/integrity/vetted-copies.ts'
import { Transfers } from '../delivery/blobs/transfers.ts'
import type { UpstreamRates } from '../delivery/blobs/upstream-rates.ts'
import type { Rights } from '../delivery/access/rights.ts'
import type { Provenance } from '../delivery/access/provenance.ts'
import type { BufferPool } from '../mover/buffer-pool.ts'
import type { Peer } from '../overlay/overlay.ts'
import type { PeerClient } from '../peers/peer-client.ts'
import type { ProviderIndex } from '../providers/provider-index.ts'
import { type CacheStore, IngestError } from '../store/cache-store.ts'
import type { Swarm } from '../swarm/swarm.ts'
import { errorText, type Log } from '../telemetry/log.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { ChosenStore } from './create-store.ts'

export interface BlobParts {
  readonly self: Peer
  readonly chosen: ChosenStore
  readonly index: ProviderIndex
  readonly swarm: Swarm
  readonly peers: PeerClient
  /** What the peer client reads blobs into. */
  readonly buffers: BufferPool
  readonly upstream: Upstream
  readonly rates: UpstreamRates
  readonly counters: DeliveryCounters
  readonly policy: RegistryPolicy
  readonly rights: Rights
  readonly provenance: Provenance
  readonly sizes: KnownSizes
  readonly suspects: Suspects
  readonly log: Log
}

export interface BlobUseCases {
  readonly blobs: BlobDeliveries
  readonly fills: Fills | undefined
  readonly growing: GrowingDeliveries
  readonly transfers: Transfers
  readonly vetted: VettedCopies
}

/** The way of a blob, from wherever it is to this node's clients and neighbours. */
export function createBlobs(config: ServeConfig, parts: BlobParts): BlobUseCases {
  const { store, cache } = parts.chosen
  const transfers = new Transfers()
  const sources = new BlobSources({ ...parts, peerStall: config.stallTimeout, upstreamStall: config.upstreamTimeout })
  const directory = cache === undefined ? (config.dataDir ?? tmpdir()) : config.cacheDir
  const vetted = new VettedCopies({ ...parts, sources, spool: new Spool(directory) })
  const remote = new RemoteBlobs({ ...parts, sources, transfers, vetted })
  const fills = cache && createFills(cache, remote, parts)
  const growing = new GrowingDeliveries(store, transfers)
  const storedSizes = new StoredSizes({ ...parts, store })
  const blobs = new BlobDeliveries({ ...parts, store, remote, growing, fills, storedSizes })
  return { fills, growing, transfers, vetted, blobs }
}

function createFills(
  cache: CacheStore,
  remote: RemoteBlobs,
  {
    buffers,
    provenance,
    rights,
    suspects,
    log,
  }: Pick<BlobParts, 'buffers' | 'provenance' | 'rights' | 'suspects' | 'log'>,
): Fills {
  return new Fills({
    store: cache,
    buffers,
    open: (request, options) => remote.open(request, { ...options, end: undefined, serves: true }),
    onEnd: (request: BlobRequest, fill: Fill, error) => {
      const fields = { digest: request.digest, bytes: fill.written, shares: fill.record.shares }
      if (error === undefined) {
        log.debug(fields, 'a blob is in the cache')
        // The digest matched: only now does the registry's answer count as proof.
        const { digest, repository, caller } = request
        if (fill.fromRegistry !== undefined) rights.verifiedCame(repository, digest, fill.fromRegistry, caller)
        if (provenance.isOpen(digest)) cache.noteOrigin(digest, { repository, isPublic: true })
        for (const { registry, name, access } of provenance.of(digest))
          cache.noteOrigin(digest, { repository: { registry, name }, isPublic: access === 'public' })
      } else if (isDiskFull(error)) {
        // The store warns of the disk; the blob itself may be all right.
        suspects.notKept(request.digest)
        log.debug(fields, 'a blob did not get into the cache: its disk is full')
      } else log.warn({ ...fields, err: errorText(error) }, 'a blob did not get into the cache')
      if (error instanceof IngestError && error.reason === 'digest-mismatch') fill.blame()
    },
  })
}

function isDiskFull(error: unknown): boolean {
  return error instanceof IngestError && error.reason === 'disk-full'
}
