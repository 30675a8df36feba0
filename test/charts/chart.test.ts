import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, it } from 'node:test'

import { refuseExposure } from '../../src/daemon/exposure.ts'
import { parseServeFlags } from '../support/daemon.ts'
import { CHART, findHelm, Helm, type KubernetesObject, only, type RenderOptions } from '../support/helm.ts'
import { schemaErrors } from '../support/kubernetes-schema.ts'
import {
  daemonOf,
  flagOf,
  flagsOf,
  podSpecOf,
  type RenderedContainer,
  type RenderedPodSpec,
} from '../support/rendered-pod.ts'

const found = await findHelm()
const helm = 'helm' in found ? found.helm : new Helm('')

const PRESETS = readdirSync(join(CHART, 'presets')).map((file) => basename(file, '.yaml'))

const preset = (name: string): RenderOptions => ({ files: [join(CHART, 'presets', `${name}.yaml`)] })

/** What people set together. */
const COMBINATIONS: Readonly<Record<string, object>> = {
  'without host networking': { hostNetwork: false },
  'without host networking, closed to all but some': {
    hostNetwork: false,
    metrics: { enabled: false },
    networkPolicy: {
      metricsFrom: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }],
      mirrorFrom: [{ ipBlock: { cidr: '10.0.0.0/16' } }],
    },
  },
  'on a dual-stack cluster': { dualStack: true, clusterDNS: 'fd00:10:96::a' },
  'on a dual-stack cluster without host networking': { dualStack: true, hostNetwork: false },
  'with all of monitoring': {
    metrics: {
      podMonitor: { enabled: true, labels: { release: 'prometheus' } },
      serviceMonitor: { enabled: true, interval: '1m' },
      prometheusRule: { enabled: true, labels: { release: 'prometheus' } },
      grafanaDashboard: { enabled: true, annotations: { folder: 'Nabo' } },
    },
  },
  'with Secrets of its operator': {
    clusterSecret: { existingSecret: 'shared' },
    credentials: { existingSecret: 'hub' },
    mirrorToken: { existingSecret: 'token' },
    imagePullSecrets: [{ name: 'pull' }],
  },
  'with its admin socket in the pod alone': { adminSocketDir: '', allowedHosts: ['mirror.example', 'fd00::1'] },
  'without a cluster secret': { clusterSecret: { create: false }, insecureWithoutSecret: true },
  'with a cluster secret from elsewhere': {
    clusterSecret: { create: false },
    extraEnv: [{ name: 'NABO_CLUSTER_SECRET_FILE', value: '/mnt/secret' }],
    extraVolumes: [{ name: 'mine', secret: { secretName: 'mine' } }],
    extraVolumeMounts: [{ name: 'mine', mountPath: '/mnt' }],
  },
  'with registries of its own': {
    registries: ['docker.io', 'registry.example.com:5000'],
    include: ['docker.io/library/*', 'registry.example.com:5000/**'],
    exclude: ['**:latest'],
    fallback: 'all',
    upstreams: { 'docker.io': ['https://registry-1.docker.io', 'https://mirror.gcr.io'] },
    registryCAs: [
      { registry: 'registry.example.com:5000', configMap: 'ca', key: 'ca.pem' },
      { registry: 'other.example.com', secret: 'other' },
    ],
    registryClientCerts: [{ registry: 'other.example.com', secret: 'client' }],
    hostCertificates: '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
    tokenRealms: { 'registry.example.com:5000': ['gitlab.example.org', 'auth.example.org:8443'] },
    privateImages: 'share',
    tagPolicy: 'peers',
    configure: { mode: 'replace', resolveTags: false },
  },
  'with credential helpers of the nodes': {
    credentials: { existingSecret: 'registry-config', helpersDir: '/opt/credential-helpers' },
  },
  'with the credential providers of the kubelet': {
    credentials: {
      providers: {
        configFile: '/etc/eks/image-credential-provider/config.json',
        binDir: '/etc/eks/image-credential-provider',
      },
    },
  },
  'without touching the nodes': { configure: { enabled: false }, mirrorToken: { existingSecret: 'token' } },
  'with other ports': {
    ports: { mirror: 30_000, peer: 30_001, router: 30_002, admin: 30_003, metrics: 30_004 },
  },
  'with everything extra': {
    containerd: { namespaces: ['k8s.io', 'moby'], mountPropagation: 'None' },
    zone: 'north',
    peerBandwidth: '50MiB',
    upstreamBandwidth: '10MiB',
    seLinuxOptions: { type: 'spc_t' },
    priorityQuota: { enabled: true },
    image: { digest: `sha256:${'a'.repeat(64)}`, command: ['/usr/bin/node', '/nabo.js'] },
    extraArgs: ['--tree-children=4'],
    extraEnv: [{ name: 'HTTPS_PROXY', value: 'http://proxy:3128' }],
    extraVolumes: [{ name: 'helper', hostPath: { path: '/opt/helper' } }],
    extraVolumeMounts: [{ name: 'helper', mountPath: '/opt/helper', readOnly: true }],
    podLabels: { team: 'platform' },
    podAnnotations: { note: 'yes' },
    affinity: { nodeAffinity: {} },
    serviceAccount: { create: false, name: 'mine' },
    fullnameOverride: 'layers',
  },
}

/** What the API server, the kubelet and the daemon would refuse. */
function assertSound(objects: readonly KubernetesObject[]): void {
  for (const object of objects) assert.deepEqual(schemaErrors(object), [], `${object.kind} ${object.metadata.name}`)
  const pod = podSpecOf(objects)
  const daemon = daemonOf(pod)
  assert.equal(daemon.args[0], 'serve')
  refuseExposure(parseServeFlags(flagsOf(daemon)))
  const volumes = new Set(pod.volumes.map(({ name }) => name))
  assert.equal(volumes.size, pod.volumes.length, 'two volumes have one name')
  for (const { volumeMounts } of [daemon, ...(pod.initContainers ?? [])]) {
    for (const mount of volumeMounts) assert.ok(volumes.has(mount.name), `no volume is named ${mount.name}`)
    assert.equal(new Set(volumeMounts.map((mount) => mount.mountPath)).size, volumeMounts.length)
  }
  for (const flag of [
    'cluster-secret-file',
    'credentials-file',
    'credential-provider-config',
    'credential-provider-bin-dir',
    'mirror-token-file',
    'containerd-socket',
    'content-path',
    'admin-socket',
  ]) {
    const path = flagOf(daemon, flag)
    if (path !== undefined) assert.ok(isMounted(daemon, path), `nothing is mounted for --${flag}=${path}`)
  }
  const search = daemon.env?.find(({ name }) => name === 'PATH')?.value
  for (const directory of search?.split(':').filter((directory) => directory !== '/usr/bin') ?? [])
    assert.ok(isMounted(daemon, `${directory}/docker-credential-lab`), `nothing is mounted for ${directory}`)
  assert.equal(search !== undefined, volumes.has('credential-helpers'))
  for (const arg of flagsOf(daemon).filter((text) => /^--registry-(?:ca|client-cert)=/.test(text))) {
    for (const path of arg.slice(arg.lastIndexOf('=') + 1).split(','))
      assert.ok(isMounted(daemon, path), `nothing is mounted for ${path}`)
  }
}

function isMounted(container: RenderedContainer, path: string): boolean {
  return container.volumeMounts.some(({ mountPath }) => mountPath === path || mountPath === dirname(path))
}

function hostPathsOf(pod: RenderedPodSpec): Record<string, unknown> {
  return Object.fromEntries(
    pod.volumes.flatMap(({ name, hostPath }) =>
      hostPath === undefined ? [] : [[name, (hostPath as { path: string }).path]],
    ),
  )
}

describe('the chart', { skip: 'skip' in found && found.skip }, () => {
  it('passes the strict linter, with each preset too', async () => {
    for (const files of [[], ...PRESETS.map((name) => preset(name).files ?? [])]) {
      const { code, stdout } = await helm.run([
        'lint',
        '--strict',
        CHART,
        ...files.flatMap((file) => ['--values', file]),
      ])
      assert.equal(code, 0, stdout)
    }
  })

  for (const kubeVersion of ['1.25.0', '1.29.4', '1.36.0']) {
    it(`makes objects that Kubernetes and the daemon take, on ${kubeVersion}`, async () => {
      assertSound(await helm.render({}, { kubeVersion }))
    })
  }

  it('is refused by a Kubernetes older than it was made for', async () => {
    const { code, stderr } = await helm.template({}, { kubeVersion: '1.24.0' })
    assert.equal(code, 1)
    assert.match(stderr, /chart requires kubeVersion: >=1\.25/)
  })

  for (const [name, values] of Object.entries(COMBINATIONS)) {
    it(`makes objects that Kubernetes and the daemon take, ${name}`, async () => {
      assertSound(await helm.render(values))
    })
    it(`has no object twice and no blank where a value was meant, ${name}`, async () => {
      const objects = await helm.render(values)
      const names = objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`)
      assert.equal(new Set(names).size, names.length)
      assert.doesNotMatch(JSON.stringify(objects), /null|<no value>|%!/)
    })
  }
})

describe('a preset', { skip: 'skip' in found && found.skip }, () => {
  const PATHS = {
    aks: ['/run/containerd', '/var/lib/containerd', '/etc/containerd/certs.d'],
    eks: ['/run/containerd', '/var/lib/containerd', '/etc/containerd/certs.d'],
    // GKE writes the files itself.
    gke: ['/run/containerd', '/var/lib/containerd', undefined],
    k3s: [
      '/run/k3s/containerd',
      '/var/lib/rancher/k3s/agent/containerd',
      '/var/lib/rancher/k3s/agent/etc/containerd/certs.d',
    ],
    kind: ['/run/containerd', '/var/lib/containerd', '/etc/containerd/certs.d'],
    microk8s: [
      '/var/snap/microk8s/common/run',
      '/var/snap/microk8s/common/var/lib/containerd',
      '/var/snap/microk8s/current/args/certs.d',
    ],
    minikube: ['/run/containerd', '/var/lib/containerd', '/etc/containerd/certs.d'],
    rke2: [
      '/run/k3s/containerd',
      '/var/lib/rancher/rke2/agent/containerd',
      '/var/lib/rancher/rke2/agent/etc/containerd/certs.d',
    ],
    talos: ['/run/containerd', '/var/lib/containerd', '/etc/cri/conf.d/hosts'],
  } as const

  it('is there for each platform', () => {
    assert.deepEqual(PRESETS.sort(), Object.keys(PATHS))
  })

  const CONFIG_FILES: Readonly<Record<string, string>> = {
    k3s: '/var/lib/rancher/k3s/agent/etc/containerd/config.toml',
    microk8s: '/var/snap/microk8s/current/args/containerd.toml',
    rke2: '/var/lib/rancher/rke2/agent/etc/containerd/config.toml',
    talos: '/etc/cri/containerd.toml',
  }

  for (const [name, [socketDir, root, configDir]] of Object.entries(PATHS)) {
    it(`mounts the paths of ${name}, and makes objects that Kubernetes and the daemon take`, async () => {
      const objects = await helm.render({}, preset(name))
      assertSound(objects)
      const pod = podSpecOf(objects)
      assert.deepEqual(hostPathsOf(pod), {
        'containerd-socket': socketDir,
        content: `${root}/io.containerd.content.v1.content`,
        'containerd-config': dirname(CONFIG_FILES[name] ?? '/etc/containerd/config.toml'),
        ...(configDir === undefined ? {} : { 'config-dir': configDir }),
        data: '/var/lib/nabo',
        'admin-socket': '/run/nabo',
      })
      assert.equal(flagOf(daemonOf(pod), 'containerd-socket'), `${socketDir}/containerd.sock`)
      const configFile = CONFIG_FILES[name] ?? '/etc/containerd/config.toml'
      assert.equal(flagOf(daemonOf(pod), 'containerd-config'), configFile)
      assert.equal(pod.initContainers?.[0] && flagOf(pod.initContainers[0], 'config-dir'), configDir)
    })
  }

  it('for GKE admits the priority class in the namespace', async () => {
    const { spec } = only(await helm.render({}, preset('gke')), 'ResourceQuota')
    assert.deepEqual(spec, {
      hard: { pods: '5000' },
      scopeSelector: {
        matchExpressions: [{ scopeName: 'PriorityClass', operator: 'In', values: ['system-node-critical'] }],
      },
    })
  })
})
