import { type KubernetesObject, only } from './helm.ts'

export interface RenderedContainer {
  readonly name: string
  readonly image: string
  readonly command: readonly string[]
  readonly args: readonly string[]
  readonly env?: readonly RenderedVariable[]
  readonly ports?: readonly object[]
  readonly securityContext: object
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[]
  readonly lifecycle?: Readonly<
    Record<'postStart' | 'preStop', { readonly exec: { readonly command: readonly string[] } }>
  >
  readonly startupProbe?: Probe
  readonly livenessProbe?: Probe
  readonly readinessProbe?: Probe
}

export interface RenderedVariable {
  readonly name: string
  readonly value?: string
  readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } }
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly host?: string; readonly port: number | string }
  readonly periodSeconds?: number
  readonly timeoutSeconds?: number
  readonly failureThreshold?: number
  readonly terminationGracePeriodSeconds?: number
}

export interface RenderedPodSpec {
  readonly initContainers?: readonly RenderedContainer[]
  readonly containers: readonly RenderedContainer[]
  readonly volumes: readonly { readonly name: string; readonly [kind: string]: unknown }[]
  readonly [field: string]: unknown
}

/** The pod that the chart's DaemonSet makes on each node. */
export function podSpecOf(objects: readonly KubernetesObject[]): RenderedPodSpec {
  const { spec } = only(objects, 'DaemonSet') as unknown as { spec: { template: { spec: RenderedPodSpec } } }
  return spec.template.spec
}

/** The container with the daemon. Throws an Error when there is none. */
export function daemonOf(pod: RenderedPodSpec): RenderedContainer {
  const daemon = pod.containers.find(({ name }) => name === 'nabo')
  if (daemon === undefined) throw new Error('no container is named nabo')
  return daemon
}

/** Takes the place of the addresses that the kubelet fills in. */
const SOME_ADDRESS = '192.0.2.1'

/** The flags of `nabo serve` that a container has in its environment and as arguments; without those that the kubelet alone fills in. */
export function flagsOf({ args, env = [] }: RenderedContainer): string[] {
  const known = env.filter(({ name, value }) => /^NABO_(?!MIRROR_URL$)/.test(name) && value !== undefined)
  const asFlags = known.flatMap(({ name, value = '' }) =>
    value
      .replaceAll('$(NODE_ADDRESSES)', SOME_ADDRESS)
      .split(' ')
      .map((each) => `--${name.slice('NABO_'.length).toLowerCase().replaceAll('_', '-')}=${each}`),
  )
  return [...asFlags, ...args.slice(1)]
}

/** The value of one flag of `nabo serve`; undefined if it has none. */
export function flagOf(container: RenderedContainer, name: string): string | undefined {
  return flagsOf(container)
    .find((arg) => arg.startsWith(`--${name}=`))
    ?.slice(name.length + 3)
}
