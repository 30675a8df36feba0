import { eventually } from '../../support/poll.ts'
import type { ClusterEvent, KubernetesCluster } from './kubernetes-cluster.ts'

export interface WorkloadOptions {
  readonly image: string
  readonly pullPolicy?: 'Always' | 'IfNotPresent'
  /** Secrets with which the image is pulled. */
  readonly secrets?: readonly string[]
  /** The node of a pod; any of them if absent. */
  readonly node?: string
  /** An image that is mounted as a volume. */
  readonly imageVolume?: string
}

const PATIENCE_MS = 180_000

function podSpec({ image, pullPolicy = 'IfNotPresent', secrets = [], node, imageVolume }: WorkloadOptions): object {
  const mounts = imageVolume === undefined ? {} : { volumeMounts: [{ name: 'image', mountPath: '/image' }] }
  const volumes =
    imageVolume === undefined ? {} : { volumes: [{ name: 'image', image: { reference: imageVolume, pullPolicy } }] }
  return {
    terminationGracePeriodSeconds: 0,
    automountServiceAccountToken: false,
    ...(node === undefined ? {} : { nodeName: node }),
    imagePullSecrets: secrets.map((name) => ({ name })),
    containers: [{ name: 'main', image, imagePullPolicy: pullPolicy, ...mounts }],
    ...volumes,
  }
}

/** One pod on every node at once. */
export function everywhere(name: string, options: WorkloadOptions): object {
  return daemonSet(name, podSpec(options))
}

/** On every node so many loops that use all the CPU they get, each with the CPU request of a Nabo pod, so with its share. */
export function busyLoops(name: string, { image, loops }: { image: string; loops: number }): object {
  const containers = Array.from({ length: loops }, (_, i) => ({
    name: `loop-${i}`,
    image,
    command: ['/bin/busybox', 'sh', '-c', 'while :; do :; done'],
    resources: { requests: { cpu: '100m' } },
  }))
  return daemonSet(name, { terminationGracePeriodSeconds: 0, automountServiceAccountToken: false, containers })
}

function daemonSet(name: string, spec: object): object {
  const labels = { app: name }
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name },
    spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
  }
}

export function pod(name: string, options: WorkloadOptions): object {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: name } }, spec: podSpec(options) }
}

/** What `kubectl create secret docker-registry` makes. `registry`: `https://index.docker.io/v1/` for Docker Hub. */
export function pullSecret(name: string, registry: string, user: { username: string; password: string }): object {
  const config = { auths: { [registry]: { ...user, auth: btoa(`${user.username}:${user.password}`) } } }
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name },
    type: 'kubernetes.io/dockerconfigjson',
    stringData: { '.dockerconfigjson': JSON.stringify(config) },
  }
}

/** Returns when every node runs it. Throws an Error with the events if that takes too long. */
export async function rolledOut(cluster: KubernetesCluster, name: string): Promise<void> {
  try {
    await cluster.kubectl.run(['rollout', 'status', `daemonset/${name}`, `--timeout=${PATIENCE_MS / 1000}s`], {
      timeoutMs: PATIENCE_MS + 10_000,
    })
  } catch (cause) {
    throw new Error(`${name} is not everywhere:\n${await cluster.report()}`, { cause })
  }
}

/** Returns when a pod runs. Throws an Error with the events after `patienceMs`. */
export async function running(cluster: KubernetesCluster, name: string, patienceMs = PATIENCE_MS): Promise<void> {
  try {
    await cluster.kubectl.run(['wait', '--for=condition=Ready', `pod/${name}`, `--timeout=${patienceMs / 1000}s`], {
      timeoutMs: patienceMs + 10_000,
    })
  } catch (cause) {
    throw new Error(`${name} does not run:\n${await cluster.report()}`, { cause })
  }
}

/** What the kubelet says when it cannot pull the image of a pod. */
export function pullFailure(cluster: KubernetesCluster, name: string): Promise<string> {
  return eventually(`the image of ${name} cannot be pulled`, async () => {
    const events = await cluster.events('--field-selector', `involvedObject.name=${name}`)
    return events.find(({ reason, message }) => reason === 'Failed' && message.startsWith('Failed to pull'))?.message
  })
}

/**
 * The warnings about pods whose names begin with `prefix`. The kubelet probes the readiness of a pod for some tenths of a second after its process has
 * ended, and reports that nobody listens: no pod can help that, and such a report is left out.
 */
export async function warnings(
  cluster: KubernetesCluster,
  namespace: string,
  prefix: string,
): Promise<readonly ClusterEvent[]> {
  const events = await cluster.events('-n', namespace, '--field-selector', 'type=Warning')
  const hasEnded = /^Readiness probe failed: .*(?:connection refused|connection reset by peer|EOF)$/
  return events.filter(
    ({ involvedObject, message }) => involvedObject.name.startsWith(prefix) && !hasEnded.test(message),
  )
}
