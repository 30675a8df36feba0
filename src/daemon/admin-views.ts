import type { ServeConfig } from '../config/serve-config.ts'
import type { Problem } from '../doctor/check.ts'
import { typicalOffset } from '../doctor/clock-offsets.ts'
import { findingsAbout } from '../doctor/neighbours.ts'
import type { TransferView, Transfers } from '../delivery/blobs/transfers.ts'
import type { PeerAnswer } from '../contracts/admin/peers.ts'
import type { StatusAnswer } from '../contracts/admin/status.ts'
import type { Readiness } from '../http/admin-handlers.ts'
import { type IsMirror, type Repository, repositoryKey } from '../oci/reference.ts'
import type { Digest } from '../oci/digest.ts'
import type { Overlay, Peer } from '../overlay/overlay.ts'
import type { About, ToldFinding } from '../contracts/node/about.ts'
import type { RefusedNodes } from '../overlay/refused-nodes.ts'
import type { PeerClient } from '../peers/peer-client.ts'
import type { ReplicatedIndex } from '../providers/replicated-index.ts'
import type { ReplicatedSwarm } from '../swarm/replicated-swarm.ts'
import { withoutAccount } from '../upstream/registry/credential-troubles.ts'
import { VERSION } from '../version.ts'
import { askNeighbours } from './ask-neighbours.ts'
import type { OwnedUpstream } from './create-upstream.ts'
import type { ChosenStore } from './create-store.ts'
import type { DaemonSummary } from './daemon-summary.ts'
import type { Metrics } from './metrics.ts'
import type { RegistryLabels } from './registry-labels.ts'
import { type Quota, showQuotas } from './quota.ts'
import { trustedClock } from './trusted-clock.ts'

/** The parts that the answers of the admin API are read from. */
export interface Viewed {
  readonly config: ServeConfig
  readonly summary: DaemonSummary
  readonly chosen: ChosenStore
  readonly overlay: Overlay
  readonly refusedNodes: RefusedNodes
  readonly owned: Pick<OwnedUpstream, 'addresses' | 'credentialTroubles'>
  readonly index: ReplicatedIndex
  readonly swarm: ReplicatedSwarm
  readonly transfers: Transfers
  readonly quota: Quota
  readonly metrics: Metrics
  readonly nodes: Pick<PeerClient, 'call' | 'failureOf'>
  readonly isMirror: IsMirror
  readonly registryLabels: Pick<RegistryLabels, 'names'>
  readonly readiness: () => Readiness
  /** The warnings and errors of the last checks of this node, the worst first, without account names. */
  readonly lastProblems: () => readonly Problem[]
  /** Whether a repository is public as far as this node knows, without a request; undefined if no answer is recent enough. */
  readonly isKnownPublic: (repository: Repository) => boolean | undefined
}

const MAX_TRANSFERS = 100
/** The `about` message has room for as many transfers. */
const MAX_TOLD = 256

/** `/api/v1/status`. Without `isOperator` it lists only transfers of repositories that are known to be public. */
export function statusView(viewed: Viewed, { isOperator }: { isOperator: boolean }): StatusAnswer {
  const { config, summary, chosen, overlay, index, swarm, transfers, quota, metrics } = viewed
  const { ready, reasons } = viewed.readiness()
  return {
    version: VERSION,
    startedAt: new Date(performance.timeOrigin).toISOString(),
    ...summary,
    ...(config.zone === undefined ? {} : { zone: config.zone }),
    ready,
    reasons,
    findings: viewed.lastProblems(),
    hasSecret: config.clusterSecretFile !== undefined,
    ...(isOperator ? { mirrored: mirroredView(config) } : {}),
    peers: overlay.peers().length,
    refusedNodes: viewed.refusedNodes.recent(),
    credentialTroubles: viewed.owned
      .credentialTroubles()
      .map((trouble) => (isOperator ? trouble : withoutAccount(trouble))),
    blobs: countBlobs(chosen),
    content: {
      place: chosen.place,
      bytes: chosen.usedBytes(),
      ...(chosen.maxBytes === undefined ? {} : { maxBytes: chosen.maxBytes }),
    },
    index: index.stats(),
    swarm: swarm.stats(),
    transferCount: transfers.count,
    transfers: shownTransfers(viewed, isOperator).map(({ repository, since, ...view }) => ({
      ...(repository === undefined ? {} : { repository: repositoryKey(repository) }),
      since: new Date(since).toISOString(),
      ...view,
    })),
    quotas: showQuotas(quota.book),
    delivered: { ...metrics.clientBytes, toPeers: metrics.peerBytes },
  }
}

function mirroredView({ registries, include, exclude }: ServeConfig): StatusAnswer['mirrored'] {
  const texts = (patterns: ServeConfig['include']) => patterns.map(({ text }) => text)
  return {
    registries: typeof registries === 'string' ? registries : [...registries],
    include: texts(include),
    exclude: texts(exclude),
  }
}

function shownTransfers({ transfers, isKnownPublic }: Viewed, isOperator: boolean): readonly TransferView[] {
  const all = transfers.list(MAX_TRANSFERS)
  if (isOperator) return all
  return all.filter(({ repository }) => repository !== undefined && isKnownPublic(repository) === true)
}

/**
 * `/api/v1/peers`: this node's knowledge of each peer, and the peer's own answer to `about`. Without `isOperator` it has only the titles of the findings that
 * peers report about themselves, which may name registries of their clients.
 */
export async function peersView(
  viewed: Viewed,
  { isOperator }: { isOperator: boolean },
): Promise<readonly PeerAnswer[]> {
  const { overlay, index, nodes, summary } = viewed
  const asked = await askNeighbours(nodes, overlay.peers())
  const registries = viewed.owned.addresses().map((view) => trustedClock(view, viewed.registryLabels))
  const clocks = [...asked.map(({ look }) => look.clockAheadMs), ...registries]
  const offsets = clocks.filter((offset) => offset !== undefined)
  // Two clocks alone do not show which one is wrong; this node's counts as right then.
  const about = { selfAddress: summary.self.address, typicalOffset: offsets.length < 2 ? 0 : typicalOffset(offsets) }
  const shown = (told: ToldFinding) =>
    isOperator ? told : { ...told, says: 'nabo peers has the details, over the Unix socket' }
  return asked.map(({ look, said }) => ({
    ...look,
    ...index.standing(look.id),
    findings: findingsAbout(look, { ...about, reports: (said?.findings ?? []).map(shown) }),
    version: said?.version,
    zone: said?.zone,
    transfers: said?.transfers.length,
    roundTripMs: said && Math.round(said.roundTrip * 10) / 10,
  }))
}

/** This node's answer to `about` of another member. `digests` restricts the transfers; all if empty. */
export function aboutSelf(
  viewed: Pick<Viewed, 'config' | 'transfers' | 'readiness' | 'nodes' | 'lastProblems'>,
  digests: readonly Digest[],
  asker: Pick<Peer, 'id'>,
): About {
  const { config, transfers, readiness, nodes } = viewed
  const failure = nodes.failureOf(asker.id)
  // Without a secret anybody may be a member, and findings name registries and files of this node.
  const findings = config.clusterSecretFile === undefined ? [] : viewed.lastProblems()
  return {
    version: VERSION,
    zone: config.zone,
    ready: readiness().ready,
    time: Date.now(),
    findings: findings.map(({ id, title, level, says }) => ({ id, title, level, says })),
    ...(failure === undefined ? {} : { cannotReachYou: failure }),
    transfers: transfers
      .list(MAX_TOLD, digests.length === 0 ? undefined : digests)
      .map(({ digest, position, size, source }) => ({ digest, position, size, from: source?.name })),
  }
}

export function countBlobs({ held }: ChosenStore): number {
  return held.entries().filter((entry) => entry.type === 'blob').length
}
