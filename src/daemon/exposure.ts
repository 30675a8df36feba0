import { openAddresses } from '../config/open-addresses.ts'
import type { ServeConfig } from '../config/serve-config.ts'
import type { BootstrapTarget } from '../overlay/bootstrap/bootstrap-source.ts'
import { formatHostPort, isLoopbackHost } from '../overlay/host-port.ts'
import type { Log } from '../telemetry/log.ts'

type ExposureConfig = Pick<
  ServeConfig,
  'peerAddr' | 'routerAddr' | 'bootstrap' | 'clusterSecretFile' | 'insecureWithoutSecret' | 'privateImages'
>

const ADVICE = 'set --cluster-secret-file <file> on every node, or --insecure-without-secret'

/**
 * Refuses flags by which other machines could join without a cluster secret, and a bootstrap that names machines which could not reach this
 * node. Throws an Error with one sentence for the operator.
 */
export function refuseExposure(config: ExposureConfig): void {
  if (config.clusterSecretFile !== undefined || config.insecureWithoutSecret) return
  for (const [flag, addresses] of [
    ['--peer-addr', config.peerAddr],
    ['--router-addr', config.routerAddr],
  ] as const) {
    const open = addresses.find((address) => !isLoopbackHost(address.host))
    if (open !== undefined)
      throw new Error(
        `${flag} ${formatHostPort(open)} needs a cluster secret, since every machine that reaches it could join: ${ADVICE}`,
      )
  }
  if (mayNameOtherMachines(config.bootstrap))
    throw new Error(
      `--bootstrap names other machines, which cannot reach this node: without a cluster secret it listens on loopback; ${ADVICE}`,
    )
}

/** Logs what other machines can do at a node without a cluster secret. Logs nothing for a node with one. */
export function warnOfExposure(config: ExposureConfig, log: Pick<Log, 'info' | 'warn'>): void {
  if (config.clusterSecretFile !== undefined) return
  const open = openAddresses(config).map(formatHostPort)
  if (open.length === 0)
    return log.info(
      {},
      'no --cluster-secret-file: the peer and router listeners are on loopback, and no other machine can join this node',
    )
  const readable = config.privateImages === 'share' ? 'every image that this node holds' : 'public and imported images'
  log.warn(
    { open },
    `no --cluster-secret-file: every machine that reaches the peer and router listeners can join, announce content, and read ${readable}; what other nodes say about tags, public access and quotas is ignored`,
  )
}

/** Several daemons on one machine may form a cluster over loopback. DNS and lists may name any machine. */
function mayNameOtherMachines(bootstrap: ServeConfig['bootstrap']): boolean {
  switch (bootstrap.type) {
    case 'none':
      return false
    case 'static':
      return !bootstrap.targets.every(isOnThisMachine)
    case 'dns':
    case 'http':
      return true
  }
}

/** Whether a node of the bootstrap is on loopback. */
export function isOnThisMachine(target: BootstrapTarget): boolean {
  const host = target.type === 'host' ? target.host : target.multiaddr.getComponents()[0]?.value
  return host !== undefined && isLoopbackHost(host)
}
