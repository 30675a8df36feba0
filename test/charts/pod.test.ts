import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { defaultAdminSocket } from '../../src/config/admin-socket.ts'
import { parseServeFlags } from '../support/daemon.ts'
import { findHelm, Helm, only } from '../support/helm.ts'
import { daemonOf, flagOf, flagsOf, podSpecOf } from '../support/rendered-pod.ts'

const found = await findHelm()
const helm = 'helm' in found ? found.helm : new Helm('')
const podWith = async (values: object) => podSpecOf(await helm.render(values))

describe('the pod on each node', { skip: 'skip' in found && found.skip }, () => {
  it('works before any CNI, on every node, with the rank of what a node cannot do without', async () => {
    const { hostNetwork, priorityClassName, tolerations, nodeSelector } = await podWith({})
    assert.equal(hostNetwork, true)
    assert.equal(priorityClassName, 'system-node-critical')
    assert.deepEqual(tolerations, [{ operator: 'Exists' }])
    assert.deepEqual(nodeSelector, { 'kubernetes.io/os': 'linux' })
  })

  it('mounts the directory of the socket, content to read, and files to write for configure alone', async () => {
    const pod = await podWith({})
    assert.deepEqual(daemonOf(pod).volumeMounts, [
      {
        name: 'containerd-socket',
        mountPath: '/run/containerd',
        readOnly: true,
        mountPropagation: 'HostToContainer',
      },
      { name: 'content', mountPath: '/var/lib/containerd/io.containerd.content.v1.content', readOnly: true },
      { name: 'containerd-config', mountPath: '/etc/containerd', readOnly: true },
      { name: 'data', mountPath: '/var/lib/nabo' },
      { name: 'admin-socket', mountPath: '/run/nabo' },
      { name: 'cluster-secret', mountPath: '/etc/nabo/cluster-secret', readOnly: true },
      { name: 'config-dir', mountPath: '/etc/containerd/certs.d' },
    ])
    assert.deepEqual(pod.initContainers?.[0]?.volumeMounts, [
      { name: 'config-dir', mountPath: '/etc/containerd/certs.d' },
    ])
    assert.deepEqual(pod.volumes, [
      { name: 'containerd-socket', hostPath: { path: '/run/containerd', type: 'Directory' } },
      {
        name: 'content',
        hostPath: { path: '/var/lib/containerd/io.containerd.content.v1.content', type: 'Directory' },
      },
      { name: 'containerd-config', hostPath: { path: '/etc/containerd', type: 'DirectoryOrCreate' } },
      { name: 'config-dir', hostPath: { path: '/etc/containerd/certs.d', type: 'DirectoryOrCreate' } },
      { name: 'data', hostPath: { path: '/var/lib/nabo', type: 'DirectoryOrCreate' } },
      { name: 'admin-socket', hostPath: { path: '/run/nabo', type: 'DirectoryOrCreate' } },
      {
        name: 'cluster-secret',
        secret: { secretName: 'nabo-cluster-secret', defaultMode: 0o400, items: [{ key: 'secret', path: 'secret' }] },
      },
    ])
  })

  it("reads containerd's own configuration only, beside what configure writes, or not at all", async () => {
    const configMounts = async (containerd: object, enabled = true) => {
      const pod = await podWith({ containerd, configure: { enabled } })
      const mounts = daemonOf(pod).volumeMounts.filter(({ name }) => /^con.*config|config-dir/.test(name))
      for (const { name } of mounts) assert.equal(pod.volumes.filter((volume) => volume.name === name).length, 1)
      return [
        flagOf(daemonOf(pod), 'containerd-config'),
        ...mounts.map(({ mountPath, readOnly }) => [mountPath, readOnly]),
      ]
    }
    const file = '/etc/containerd/config.toml'
    const writes = ['/etc/containerd/certs.d', undefined]
    assert.deepEqual(await configMounts({}), [file, ['/etc/containerd', true], writes])
    assert.deepEqual(await configMounts({}, false), [file, ['/etc/containerd', true]])
    assert.deepEqual(await configMounts({ configFile: '' }), [undefined, writes])
    assert.deepEqual(await configMounts({ configFile: '/run/containerd/config.toml' }), [
      '/run/containerd/config.toml',
      writes,
    ])
    // One path is mounted once, the one to write.
    const own = { configFile: '/etc/hosts/config.toml', configDir: '/etc/hosts' }
    assert.deepEqual(await configMounts(own), [own.configFile, ['/etc/hosts', undefined]])
  })

  it('is pulled by digest where one is given, in each of its containers', async () => {
    const digest = `sha256:${'a'.repeat(64)}`
    for (const [image, expected] of [
      [{ repository: 'r.example/nabo', digest }, `r.example/nabo@${digest}`],
      [{ repository: 'r.example:5000/nabo', tag: '1.2.3', digest }, `r.example:5000/nabo:1.2.3@${digest}`],
      [{ repository: 'r.example/nabo', tag: '1.2.3' }, 'r.example/nabo:1.2.3'],
    ] as const) {
      const objects = await helm.render({ image })
      const pod = podSpecOf(objects)
      const containers = [...(pod.initContainers ?? []), ...pod.containers]
      assert.equal(containers.length, 2)
      for (const container of containers) assert.equal(container.image, expected)
      // Nothing else of the chart names an image.
      const named = JSON.stringify(objects).match(/"image":"[^"]*"/g)
      assert.deepEqual(named, Array(2).fill(`"image":"${expected}"`))
    }
  })

  it('keeps nothing on the node where it is told so', async () => {
    const pod = await podWith({ dataDir: '' })
    assert.ok(!pod.volumes.some(({ name }) => name === 'data'))
    assert.ok(!daemonOf(pod).volumeMounts.some(({ name }) => name === 'data'))
    assert.equal(flagOf(daemonOf(pod), 'data-dir'), undefined)
    assert.equal(flagOf(daemonOf(await podWith({})), 'data-dir'), '/var/lib/nabo')
  })

  it('has its admin socket on the node where root looks for it, elsewhere on the node, or in the pod alone', async () => {
    const socketOf = async (values: object) => {
      const pod = await podWith(values)
      const of = ({ name }: { name: string }) => name === 'admin-socket'
      return [
        flagOf(daemonOf(pod), 'admin-socket'),
        daemonOf(pod).volumeMounts.find(of),
        pod.volumes.find(of)?.['hostPath'] ?? pod.volumes.find(of)?.['emptyDir'],
      ]
    }
    const mountedAt = (mountPath: string) => ({ name: 'admin-socket', mountPath })
    const onNode = (path: string) => ({ path, type: 'DirectoryOrCreate' })
    assert.deepEqual(await socketOf({}), [defaultAdminSocket({}, 0), mountedAt('/run/nabo'), onNode('/run/nabo')])
    assert.deepEqual(await socketOf({ adminSocketDir: '/var/run/layers' }), [
      '/var/run/layers/admin.sock',
      mountedAt('/var/run/layers'),
      onNode('/var/run/layers'),
    ])
    assert.deepEqual(await socketOf({ adminSocketDir: '' }), ['/run/nabo/admin.sock', mountedAt('/run/nabo'), {}])
  })

  it('keeps what it knows of other nodes in the directory of its socket', async () => {
    for (const [values, directory] of [
      [{}, '/run/nabo'],
      [{ adminSocketDir: '/var/run/layers' }, '/var/run/layers'],
      [{ adminSocketDir: '' }, '/run/nabo'],
    ] as const) {
      const daemon = daemonOf(await podWith(values))
      assert.equal(flagOf(daemon, 'run-dir'), directory)
      assert.ok(daemon.volumeMounts.some(({ mountPath }) => mountPath === directory))
    }
  })

  it('can do nothing but be the owner of those files', async () => {
    const pod = await podWith({})
    assert.deepEqual(pod['securityContext'], {
      runAsUser: 0,
      runAsGroup: 0,
      seccompProfile: { type: 'RuntimeDefault' },
    })
    for (const container of [daemonOf(pod), ...(pod.initContainers ?? [])]) {
      assert.deepEqual(container.securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
    }
    const labelled = await podWith({ seLinuxOptions: { type: 'spc_t' } })
    for (const { securityContext } of [daemonOf(labelled), ...(labelled.initContainers ?? [])])
      assert.deepEqual((securityContext as { seLinuxOptions?: object }).seLinuxOptions, { type: 'spc_t' })
  })

  it('has no token for the Kubernetes API and no variables of Services', async () => {
    const objects = await helm.render({})
    const pod = podSpecOf(objects)
    assert.equal(pod['automountServiceAccountToken'], false)
    assert.equal(pod['enableServiceLinks'], false)
    assert.equal(pod['serviceAccountName'], 'nabo')
    assert.equal(only(objects, 'ServiceAccount')['automountServiceAccountToken'], false)
    assert.deepEqual(
      objects.filter(({ kind }) => /Role/.test(kind)),
      [],
    )
  })

  it('shows the mirror and the admin listener to its node alone', async () => {
    const daemon = daemonOf(await podWith({}))
    const { ports } = daemon
    assert.deepEqual(
      flagsOf(daemon).filter((arg) => /-addr=/.test(arg)),
      [
        '--mirror-addr=127.0.0.1:7950',
        '--peer-addr=advertise:7951',
        '--router-addr=advertise:7952',
        '--admin-addr=127.0.0.1:7953',
        '--metrics-addr=advertise:7954',
      ],
    )
    assert.deepEqual(ports, [
      { name: 'mirror', containerPort: 7950, hostPort: 7950, hostIP: '127.0.0.1' },
      { name: 'peer', containerPort: 7951 },
      { name: 'router', containerPort: 7952 },
      { name: 'metrics', containerPort: 7954 },
    ])
  })

  it('is probed on loopback', async () => {
    const daemon = daemonOf(await podWith({}))
    const at = (path: string) => ({ path, host: '127.0.0.1', port: 7953 })
    assert.deepEqual(daemon.startupProbe?.httpGet, at('/livez'))
    assert.deepEqual(daemon.livenessProbe?.httpGet, at('/livez'))
    assert.deepEqual(daemon.readinessProbe?.httpGet, at('/readyz?stopping=ok'))
  })

  it('is ended within 20 seconds when it is frozen, and not for one slow answer', async () => {
    const { livenessProbe: probe } = daemonOf(await podWith({}))
    const {
      periodSeconds = 10,
      timeoutSeconds = 1,
      failureThreshold = 3,
      terminationGracePeriodSeconds = 45,
    } = probe ?? {}
    // The kubelet gives every container two seconds between SIGTERM and SIGKILL.
    const longest = periodSeconds + failureThreshold * Math.max(periodSeconds, timeoutSeconds)
    assert.ok(longest + terminationGracePeriodSeconds + 2 <= 20)
    assert.ok(failureThreshold * timeoutSeconds >= 10)
  })

  it('is addressed by loopback names, and by others where that is said', async () => {
    assert.deepEqual(parseServeFlags(flagsOf(daemonOf(await podWith({})))).allowedHost, [])
    const allowedHosts = ['mirror.example', 'fd00::1', '10.0.0.1']
    const daemon = daemonOf(await podWith({ allowedHosts }))
    assert.deepEqual(parseServeFlags(flagsOf(daemon)).allowedHost, allowedHosts)
  })

  it('without host networking is reached by its own addresses, and its mirror through a host port on loopback', async () => {
    const pod = await podWith({ hostNetwork: false, metrics: { enabled: false } })
    const daemon = daemonOf(pod)
    assert.equal(pod['hostNetwork'], false)
    assert.ok(flagsOf(daemon).includes('--mirror-addr=[::]:7950'))
    assert.ok(flagsOf(daemon).includes('--metrics-addr=advertise:7954'), 'the probes need it')
    assert.deepEqual(daemon.ports?.[0], { name: 'mirror', containerPort: 7950, hostPort: 7950, hostIP: '127.0.0.1' })
    assert.deepEqual(daemon.readinessProbe?.httpGet, { path: '/readyz?stopping=ok', port: 'metrics' })
    assert.equal(daemon.env?.[0]?.valueFrom?.fieldRef.fieldPath, 'status.podIP')
  })

  it('without host networking serves its own node alone, whose addresses it is told', async () => {
    const variablesOf = async (values: object) => {
      const { env = [] } = daemonOf(await podWith(values))
      return env.filter(({ name }) => name === 'NODE_ADDRESSES' || name === 'NABO_MIRROR_FROM')
    }
    const nodeAddresses = (fieldPath: string) => ({ name: 'NODE_ADDRESSES', valueFrom: { fieldRef: { fieldPath } } })
    // The kubelet expands only variables that come before.
    assert.deepEqual(await variablesOf({ hostNetwork: false }), [
      nodeAddresses('status.hostIP'),
      { name: 'NABO_MIRROR_FROM', value: 'gateway $(NODE_ADDRESSES)' },
    ])
    // A colon at the end would make a mapping of a plain YAML text.
    const mirrorFrom = ['10.1.0.0/24', 'fd00::1', 'fd00::']
    const [addresses, from] = await variablesOf({ hostNetwork: false, dualStack: true, mirrorFrom })
    assert.deepEqual(addresses, nodeAddresses('status.hostIPs'))
    const value = from?.value?.replace('$(NODE_ADDRESSES)', '10.0.0.7,fd00::7') ?? ''
    assert.deepEqual(parseServeFlags(['--mirror-from', value]).mirrorFrom, [
      'gateway',
      { address: '10.0.0.7', prefix: 32 },
      { address: 'fd00::7', prefix: 128 },
      { address: '10.1.0.0', prefix: 24 },
      { address: 'fd00::1', prefix: 128 },
      { address: 'fd00::', prefix: 128 },
    ])
    assert.deepEqual(await variablesOf({ mirrorFrom }), [])
  })

  it('advertises the address of its node, or all of them', async () => {
    const fieldOf = async (values: object) => daemonOf(await podWith(values)).env?.[0]
    assert.deepEqual(await fieldOf({}), {
      name: 'NABO_ADVERTISE_ADDR',
      valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } },
    })
    assert.equal((await fieldOf({ dualStack: true }))?.valueFrom?.fieldRef.fieldPath, 'status.hostIPs')
    assert.equal(
      (await fieldOf({ dualStack: true, hostNetwork: false }))?.valueFrom?.fieldRef.fieldPath,
      'status.podIPs',
    )
  })

  it('has its settings where the commands that are run in it look as well, and sends them to the socket', async () => {
    const { args, env = [] } = daemonOf(await podWith({ ports: { mirror: 5000, admin: 5003 } }))
    assert.deepEqual(args, ['serve'])
    const valueOf = (name: string) => env.find((variable) => variable.name === name)?.value
    assert.equal(valueOf('NABO_CONFIG_DIR'), '/etc/containerd/certs.d')
    assert.equal(valueOf('NABO_CLUSTER_SECRET_FILE'), '/etc/nabo/cluster-secret/secret')
    assert.equal(valueOf('NABO_ADMIN_SOCKET'), '/run/nabo/admin.sock')
    // It would win, and the admin listener refuses `warm`.
    assert.ok(!env.some(({ name }) => name === 'NABO_ADMIN_URL'))
    // `nabo doctor` asks the admin listener.
    assert.equal(valueOf('NABO_ADMIN_ADDR'), '127.0.0.1:5003')
    assert.equal(valueOf('NABO_MIRROR_URL'), 'http://127.0.0.1:5000')
  })

  it('leaves a setting to extraEnv that it names', async () => {
    const mine = { name: 'NABO_LOG_LEVEL', value: 'debug' }
    const { env = [] } = daemonOf(await podWith({ extraEnv: [mine] }))
    assert.deepEqual(
      env.filter(({ name }) => name === mine.name),
      [mine],
    )
    assert.equal(new Set(env.map(({ name }) => name)).size, env.length)
  })

  it('takes its zone from the label of its node, from a value, or has none', async () => {
    const zoneOf = async (zone: string) => {
      return daemonOf(await podWith({ zone })).env?.find(({ name }) => name === 'NABO_ZONE')
    }
    assert.deepEqual(await zoneOf('auto'), {
      name: 'NABO_ZONE',
      valueFrom: { fieldRef: { fieldPath: "metadata.labels['topology.kubernetes.io/zone']" } },
    })
    assert.deepEqual(await zoneOf('north'), { name: 'NABO_ZONE', value: 'north' })
    assert.equal(await zoneOf(''), undefined)
  })

  it('resolves names as its node does, and the bootstrap name by the DNS of the cluster', async () => {
    const pod = await podWith({ clusterDNS: '10.96.0.10' })
    assert.equal(pod['dnsPolicy'], 'Default')
    assert.ok(flagsOf(daemonOf(pod)).includes('--bootstrap=dns:nabo.nabo.svc.cluster.local:7952'))
    assert.ok(flagsOf(daemonOf(pod)).includes('--bootstrap-dns=10.96.0.10'))
  })

  it('takes all names from the DNS of the cluster where nobody says its address', async () => {
    const pod = await podWith({})
    assert.equal(pod['dnsPolicy'], 'ClusterFirstWithHostNet')
    assert.ok(!flagsOf(daemonOf(pod)).some((arg) => arg.startsWith('--bootstrap-dns')))
    assert.equal((await podWith({ hostNetwork: false }))['dnsPolicy'], 'ClusterFirst')
  })
})

describe('what the pod does to the node', { skip: 'skip' in found && found.skip }, () => {
  const configure = [
    'configure',
    'containerd',
    '--config-dir=/etc/containerd/certs.d',
    '--mirror-url=http://127.0.0.1:7950',
    '--registries=all',
    '--mode=prepend',
    '--resolve-tags=true',
  ]

  it('is done by an init container, again when the daemon is restarted in its pod, and undone before the daemon ends', async () => {
    const pod = await podWith({})
    assert.deepEqual(pod.initContainers?.[0]?.command, ['nabo'])
    assert.deepEqual(pod.initContainers?.[0]?.args, configure)
    const { lifecycle } = daemonOf(pod)
    assert.deepEqual(lifecycle?.postStart.exec.command, ['nabo', ...configure, '--wait=60s'])
    assert.deepEqual(lifecycle?.preStop.exec.command, [
      'nabo',
      'restore',
      'containerd',
      '--config-dir=/etc/containerd/certs.d',
    ])
  })

  it('has the time that it and the transfers need', async () => {
    assert.equal((await podWith({}))['terminationGracePeriodSeconds'], 45)
    const patient = await podWith({ shutdownGraceSeconds: 60 })
    assert.equal(patient['terminationGracePeriodSeconds'], 85)
    assert.ok(flagsOf(daemonOf(patient)).includes('--shutdown-grace=60s'))
  })

  it('waits for the ports of a pod that was deleted by force, for less time than its startup probe', async () => {
    for (const [values, portWait, failureThreshold] of [
      [{}, '30s', 60],
      [{ shutdownGraceSeconds: 60 }, '70s', 100],
    ] as const) {
      const daemon = daemonOf(await podWith(values))
      assert.equal(flagOf(daemon, 'port-wait'), portWait)
      assert.partialDeepStrictEqual(daemon.startupProbe, { periodSeconds: 1, failureThreshold })
    }
  })

  it('follows the values', async () => {
    const pod = await podWith({
      image: { command: ['/usr/bin/node', '/nabo.js'] },
      registries: ['docker.io', 'ghcr.io'],
      configure: { mode: 'replace', resolveTags: false },
      mirrorToken: { existingSecret: 'token' },
      ports: { mirror: 5000 },
      containerd: { configDir: '/etc/cri/conf.d/hosts' },
    })
    assert.deepEqual(pod.initContainers?.[0]?.args, [
      'configure',
      'containerd',
      '--config-dir=/etc/cri/conf.d/hosts',
      '--mirror-url=http://127.0.0.1:5000',
      '--registries=docker.io,ghcr.io',
      '--mode=replace',
      '--resolve-tags=false',
      '--mirror-token-file=/etc/nabo/mirror-token/token',
    ])
    assert.deepEqual(daemonOf(pod).lifecycle?.preStop.exec.command.slice(0, 4), [
      '/usr/bin/node',
      '/nabo.js',
      'restore',
      'containerd',
    ])
  })

  it('is nothing when that is said, and the probes wait for the daemon all the same', async () => {
    const pod = await podWith({ configure: { enabled: false }, ports: { mirror: 5000 }, shutdownGraceSeconds: 60 })
    assert.equal(pod.initContainers, undefined)
    assert.deepEqual(daemonOf(pod).lifecycle, {
      postStart: { exec: { command: ['nabo', 'wait', '--mirror-url=http://127.0.0.1:5000', '100s'] } },
    })
    assert.ok(!pod.volumes.some(({ name }) => name === 'config-dir'))
  })
})

describe('what stands around the pod', { skip: 'skip' in found && found.skip }, () => {
  it('is a headless Service that names nodes before they are ready, by both address families', async () => {
    const { spec } = only(await helm.render({}), 'Service')
    assert.deepEqual(spec, {
      clusterIP: 'None',
      publishNotReadyAddresses: true,
      ipFamilyPolicy: 'PreferDualStack',
      selector: { 'app.kubernetes.io/name': 'nabo', 'app.kubernetes.io/instance': 'nabo' },
      ports: [
        { name: 'router', port: 7952, targetPort: 'router' },
        { name: 'peer', port: 7951, targetPort: 'peer' },
        { name: 'metrics', port: 7954, targetPort: 'metrics' },
      ],
    })
  })

  it('is an update of a few nodes at a time', async () => {
    const { spec } = only(await helm.render({}), 'DaemonSet') as unknown as { spec: { updateStrategy: object } }
    assert.deepEqual(spec.updateStrategy, { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } })
  })

  it('is a Secret of random words that a removal leaves, unless there is one already', async () => {
    const { data, metadata } = only(await helm.render({}), 'Secret') as unknown as {
      data: { secret: string }
      metadata: { annotations: object }
    }
    assert.match(Buffer.from(data.secret, 'base64').toString(), /^[A-Za-z0-9]{48}$/)
    assert.deepEqual(metadata.annotations, { 'helm.sh/resource-policy': 'keep' })
    const own = await helm.render({ clusterSecret: { existingSecret: 'mine' } })
    assert.deepEqual(
      own.filter(({ kind }) => kind === 'Secret'),
      [],
    )
    assert.match(JSON.stringify(podSpecOf(own).volumes), /"secretName":"mine"/)
    const none = daemonOf(
      podSpecOf(await helm.render({ clusterSecret: { create: false }, insecureWithoutSecret: true })),
    )
    assert.deepEqual(
      [flagOf(none, 'insecure-without-secret'), flagOf(none, 'cluster-secret-file')],
      ['true', undefined],
    )
    const both = daemonOf(podSpecOf(await helm.render({ insecureWithoutSecret: true })))
    assert.equal(flagOf(both, 'insecure-without-secret'), undefined)
  })

  it('is, without host networking, a policy that lets peers reach peers and nobody the mirror', async () => {
    const { spec } = only(await helm.render({ hostNetwork: false }), 'NetworkPolicy')
    const pods = { matchLabels: { 'app.kubernetes.io/name': 'nabo', 'app.kubernetes.io/instance': 'nabo' } }
    assert.deepEqual(spec, {
      podSelector: pods,
      policyTypes: ['Ingress'],
      ingress: [
        { from: [{ podSelector: pods }], ports: [{ port: 'peer' }, { port: 'router' }] },
        { ports: [{ port: 'metrics' }] },
      ],
    })
    assert.ok(!(await helm.render({})).some(({ kind }) => kind === 'NetworkPolicy'))
  })
})
