import { existsSync } from 'node:fs'
import { createConnection } from 'node:net'

import type { ServeConfig } from '../config/serve-config.ts'
import { askHttp } from '../doctor/ask-http.ts'
import { readContainerdConfig } from '../doctor/containerd-config.ts'
import { HttpRequests } from '../http-client/http-requests.ts'
import { SystemTrust } from '../http-client/system-trust.ts'
import { isMounted, isSameDirectory } from '../doctor/mounts.ts'
import { isOwnAddress } from '../doctor/mirror-addresses.ts'
import type { NeighbourLook } from '../doctor/neighbours.ts'
import type { CandidateLook, NodeSources, SecretProbe } from '../doctor/node.ts'
import type { BootstrapTarget } from '../overlay/bootstrap/bootstrap-source.ts'
import { createBootstrap } from '../overlay/bootstrap/create-bootstrap.ts'
import { formatHostPort, type HostPort } from '../overlay/host-port.ts'
import { readClusterSecrets } from '../authentication/cluster-secret.ts'
import { askInStep } from '../authentication/ask-in-step.ts'
import type { RequestSigner } from '../authentication/request-signer.ts'
import { loadIdentity } from '../overlay/libp2p/identity.ts'
import { second } from '../time/units.ts'
import { VERSION } from '../version.ts'
import { createAuthentication } from './create-authentication.ts'

/** So many other nodes say enough about all of them. */
const MAX_PROBED = 3
const MAX_CANDIDATES = 5
const CONNECT_TIMEOUT = 2 * second
/** The address in the record of the probe, which no node can ask: the discard port. */
const NOWHERE = '127.0.0.1:9'

/** What is looked at in the same way by the daemon and by `nabo doctor`. */
export function nodeSources(
  config: ServeConfig,
): Pick<
  NodeSources,
  'containerd' | 'containerdConfig' | 'isMounted' | 'isSameDirectory' | 'secretProbes' | 'candidates'
> {
  let signer: Promise<RequestSigner> | undefined
  return {
    containerd: async (signal) => {
      // gRPC is 20 MB and 70 ms that a node without containerd need not pay.
      if (!existsSync(config.containerdSocket)) return { state: 'absent' }
      const { lookAtContainerd } = await import('../store/containerd/running-containerd.ts')
      return lookAtContainerd(config.containerdSocket, signal)
    },
    containerdConfig: (options) => readContainerdConfig(config.containerdConfig, options),
    isMounted,
    isSameDirectory,
    secretProbes: async (neighbours, signal) => {
      const reachable = neighbours.filter(({ answer }) => answer !== 'none').slice(0, MAX_PROBED)
      if (reachable.length === 0) return []
      signer ??= probeSigner(config.clusterSecretFile)
      const asks = await signer
      const probes = await Promise.all(reachable.map((neighbour) => probe(neighbour, asks, signal)))
      return probes.filter((one) => one !== undefined)
    },
    candidates: (signal) => lookAtCandidates(config, signal),
  }
}

/** Signs the requests of the checks, by a new identity that serves nothing. */
async function probeSigner(file: string | undefined): Promise<RequestSigner> {
  // The check of the secret reports a file that cannot be read.
  const secrets = file === undefined ? undefined : await readClusterSecrets(file).catch(() => undefined)
  const about = { addresses: [NOWHERE], version: VERSION } as const
  return createAuthentication(await loadIdentity(undefined), secrets, about, { warn: () => {} }).signer
}

/** Whether a node accepts the secret; undefined if it does not say, or gives no answer. */
async function probe(
  { id, address }: NeighbourLook,
  signer: RequestSigner,
  signal: AbortSignal,
): Promise<SecretProbe | undefined> {
  const url = new URL(`http://${address}/v2/`)
  const request = { method: 'GET', target: url.pathname, headers: {}, body: new Uint8Array() }
  try {
    const carry = (headers: Readonly<Record<string, string>>) => askHttp(url, { headers, signal })
    const proved = await askInStep(signer, id, request, carry)
    if (proved === undefined) return undefined
    const { answer, isAuthentic } = proved
    if (isAuthentic && answer.status === 200) return { address }
    if (![401, 403].includes(answer.status)) return undefined
    return { address, refusal: messageOf(answer.body) ?? `it answers ${answer.status}` }
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}

async function lookAtCandidates(config: ServeConfig, signal: AbortSignal): Promise<readonly CandidateLook[]> {
  const trust = new SystemTrust(process.env, { warn: () => {} })
  const requests = new HttpRequests({ trust })
  const dns = config.bootstrapDns === undefined ? { requests } : { requests, dnsServer: config.bootstrapDns }
  const targets = (await createBootstrap(config.bootstrap, dns).candidates({ signal })).flatMap(
    (one) => hostPortOf(one) ?? [],
  )
  const isSelf = ({ host, port }: HostPort) =>
    isOwnAddress(host) && config.routerAddr.some((own) => own.port === port || own.port === 0)
  const others = targets.filter((target) => !isSelf(target)).slice(0, MAX_CANDIDATES)
  const looks = others.map(async (target) => {
    const failure = await connectionFailure(target)
    return { address: formatHostPort(target), isSelf: false, ...(failure === undefined ? {} : { failure }) }
  })
  const own = targets.filter(isSelf).map((target) => ({ address: formatHostPort(target), isSelf: true }))
  return [...own, ...(await Promise.all(looks))]
}

function hostPortOf(target: BootstrapTarget): HostPort | undefined {
  if (target.type === 'host') return target
  const [host, port] = target.multiaddr.getComponents()
  return host?.value === undefined ? undefined : { host: host.value, port: Number(port?.value) }
}

function connectionFailure({ host, port }: HostPort): Promise<string | undefined> {
  return new Promise((resolve) => {
    const connection = createConnection({ host, port })
    const timer = setTimeout(() => finish('ETIMEDOUT'), CONNECT_TIMEOUT)
    const finish = (failure?: string) => {
      clearTimeout(timer)
      connection.destroy()
      resolve(failure)
    }
    connection.once('connect', () => finish())
    connection.once('error', (error) => finish(codeOf(error)))
  })
}

function messageOf(body: string): string | undefined {
  try {
    const { errors } = JSON.parse(body) as { errors?: { message?: unknown }[] }
    const message = errors?.[0]?.message
    return typeof message === 'string' ? message.slice(0, 300) : undefined
  } catch {
    return undefined
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'the connection failed'
}
