import { isIP } from 'node:net'

import type { ServeConfig } from '../config/serve-config.ts'
import { ALL_CHECKS } from '../doctor/all-checks.ts'
import type { DaemonLook } from '../doctor/node.ts'
import { withoutAccount } from '../upstream/registry/credential-troubles.ts'
import { formatHostPort } from '../overlay/host-port.ts'
import type { NodeCaller } from '../contracts/node-caller.ts'
import type { Overlay } from '../overlay/overlay.ts'
import type { Mismatch, RefusedNodes } from '../overlay/refused-nodes.ts'
import { type QuotaView, THIS_ADDRESS } from '../upstream/quota/quota-view.ts'
import type { Log } from '../telemetry/log.ts'
import { askNeighbours } from './ask-neighbours.ts'
import type { ChosenStore } from './create-store.ts'
import type { OwnedUpstream } from './create-upstream.ts'
import type { DaemonSummary } from './daemon-summary.ts'
import { NodeChecks } from './node-checks.ts'
import { nodeSources } from './node-sources.ts'
import type { Quota } from './quota.ts'
import type { RegistryLabels } from './registry-labels.ts'
import { trustedClock } from './trusted-clock.ts'

export interface CheckedParts {
  readonly overlay: Overlay
  readonly peers: NodeCaller
  readonly refusedNodes: RefusedNodes
  readonly chosen: Pick<ChosenStore, 'usedBytes'>
  readonly owned: OwnedUpstream
  readonly quota: Quota
  readonly registryLabels: Pick<RegistryLabels, 'names'>
  readonly summary: DaemonSummary
  readonly log: Log
}

/** Members that are asked whether they reach this node: enough to tell a firewall from a peer that is ill. */
const MAX_ASKED = 16
/** Checks that look at what requests have shown to the daemon, or at the disk, and cost nothing. */
const SEEN_BY_DAEMON = ['credentials', 'quota', 'space', 'upstream']

/**
 * The checks of a daemon. Of registries it only says what its own requests have shown: a thousand nodes that ask Docker Hub at every start
 * would be a load. Names are not looked up: that holds one of the few threads that its files need too.
 */
export function createChecks(config: ServeConfig, parts: CheckedParts): NodeChecks {
  const { overlay, peers: nodes, refusedNodes, chosen, owned, quota, registryLabels, summary, log } = parts
  const daemon = async (): Promise<DaemonLook> => {
    const { store, self, mirror, peer, admin, metrics } = summary
    const listeners = { mirror, peer, router: config.routerAddr.map(formatHostPort), admin, metrics }
    const about = {
      storedBytes: chosen.usedBytes(),
      self,
      peerCount: overlay.peers().length,
      refusedNodes: refusedNodes.recent(),
      // The findings of the daemon are shown on every listener.
      credentialTroubles: owned.credentialTroubles().map(withoutAccount),
    }
    return { state: 'running', ready: true, reasons: [], store, listeners, ...about }
  }
  return new NodeChecks({
    settings: config,
    environment: process.env,
    // That it listens is known, and whether it is ready is said by itself.
    checks: ALL_CHECKS.filter(({ id }) => id !== 'ports'),
    late: ['peers', 'reachable'],
    local: ALL_CHECKS.filter(({ id, isDecisive }) => isDecisive === true || SEEN_BY_DAEMON.includes(id)).map(
      ({ id }) => id,
    ),
    isQuiet: ({ id }) => {
      // Logged at the start, or on first use.
      if (id === 'certificates' || id === 'credentials') return true
      if (id === 'secret' && config.clusterSecretFile === undefined) return true
      // Logged for each node that is refused.
      const refused = (wanted: Mismatch) => refusedNodes.recent().some(({ mismatch }) => mismatch === wanted)
      return (id === 'secret' && refused('secret')) || (id === 'peers' && refused('version'))
    },
    log,
    sources: {
      ...nodeSources(config),
      daemon,
      upstreams: async () =>
        owned.addresses().map((view) => ({
          registry: view.registry,
          host: view.address,
          clockAhead: trustedClock(view, registryLabels),
          ...(view.state === 'closed' ? {} : { failure: 'it has failed, and is left alone for a while' }),
        })),
      certificates: () => owned.certificates(),
      neighbours: async (signal) => {
        const asked = await askNeighbours(nodes, overlay.peers().slice(0, MAX_ASKED), { signal })
        // A node that stopped meanwhile has said goodbye.
        const members = new Set(overlay.peers().map(({ id }) => id))
        return asked.map(({ look }) => look).filter(({ id }) => members.has(id))
      },
      quotas: async () => {
        const views = quota.book.views().map(withoutQuotaAccount)
        return views.length === 0 && owned.addresses().length === 0 ? undefined : views
      },
      resolve: async () => [],
    },
  })
}

/** The findings of the daemon are shown to everybody on the node, and told to other nodes. */
function withoutQuotaAccount(view: QuotaView): QuotaView {
  const { source } = view
  return source === THIS_ADDRESS || isIP(source) !== 0 ? view : { ...view, source: 'an account' }
}
