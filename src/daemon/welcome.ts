import { DEFAULT_MIRROR_URL } from '../cli/runtime-flags.ts'
import { openAddresses } from '../config/open-addresses.ts'
import type { ServeConfig } from '../config/serve-config.ts'
import type { DaemonSummary } from './daemon-summary.ts'

const ALONE = `
  No cluster secret is set, so the peer and router listeners are on loopback, and other machines cannot join.
  --cluster-secret-file <file> with the same secret on every node makes a cluster.
`
const OPEN = `
  No cluster secret is set: every machine that reaches the peer and router listeners can join and read what this node
  shares. What other nodes say about tags is ignored. --cluster-secret-file <file> keeps strangers out.
`

/** The first screen: what runs where, and what to try next. */
export function welcome(summary: DaemonSummary, config: ServeConfig): string {
  const mirror = summary.mirror[0] ?? ''
  const admin = summary.admin[0] ?? ''
  const url = `http://${mirror}` === DEFAULT_MIRROR_URL ? '' : ` --mirror-url http://${mirror}`
  const kept =
    summary.store === 'directory'
      ? `in ${config.cacheDir}, at most ${(config.cacheSize / 1024 ** 3).toFixed(0)} GiB`
      : `in containerd at ${config.containerdSocket}`
  const cluster =
    config.bootstrap.type === 'none'
      ? 'this node is alone; --bootstrap static:<ip> and a cluster secret join others'
      : `other nodes find this one at ${summary.self.address}`
  return `
  Nabo runs.

    mirror   http://${mirror}   ask here for images
    admin    http://${admin}   health, metrics, a page
    content  ${kept}
    cluster  ${cluster}
${clusterSecretText(config)}
  Try:

    curl http://${mirror}/v2/library/alpine/manifests/latest
    skopeo copy --src-tls-verify=false docker://${mirror}/library/alpine:latest dir:alpine

  Let the clients of this machine use it, as root (restore in place of configure takes it back):

    bin/nabo configure containerd${url}
    bin/nabo configure docker${url}

  podman and buildkit likewise; bin/nabo doctor says what is still in the way.

  One JSON line a request follows, with where its bytes came from. Ctrl-C ends it.

`
}

function clusterSecretText(config: ServeConfig): string {
  if (config.clusterSecretFile !== undefined) return ''
  return openAddresses(config).length === 0 ? ALONE : OPEN
}
