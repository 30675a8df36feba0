import { DEFAULT_MIRROR_URL } from '../cli/runtime-flags.ts'
import type { ServeConfig } from '../config/serve-config.ts'
import type { DaemonSummary } from './daemon-summary.ts'

const OPEN = `
  No cluster secret is set: whoever reaches ports 7951 and 7952 of this machine can read its cache.
  --peer-addr 127.0.0.1 --router-addr 127.0.0.1 keeps it to yourself, --cluster-secret-file <file> to your nodes.
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
      ? 'this node is alone; --bootstrap static:<ip> joins others'
      : `other nodes find this one at ${summary.self.address}`
  return `
  Nabo runs.

    mirror   http://${mirror}   ask here for images
    admin    http://${admin}   health, metrics, a page
    content  ${kept}
    cluster  ${cluster}
${config.clusterSecretFile === undefined ? OPEN : ''}
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
