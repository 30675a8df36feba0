import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { CHART, findHelm, Helm, only, parseManifests } from '../support/helm.ts'
import { execute } from '../support/netns/commands.ts'
import { startKubernetesApi } from '../support/kubernetes-api.ts'
import { daemonOf, flagsOf, podSpecOf } from '../support/rendered-pod.ts'

const found = await findHelm()
const helm = 'helm' in found ? found.helm : new Helm('')

const SECRET = '/api/v1/namespaces/nabo/secrets/nabo-cluster-secret'
const SERVICES = '/api/v1/namespaces/kube-system/services'

const secret = (data: object) => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: ownMetadata('nabo-cluster-secret'),
  data,
})

const ownMetadata = (name: string) => ({
  name,
  namespace: 'nabo',
  labels: { 'app.kubernetes.io/managed-by': 'Helm' },
  annotations: { 'meta.helm.sh/release-name': 'nabo', 'meta.helm.sh/release-namespace': 'nabo' },
})

const services = (...items: [name: string, clusterIP: string, labels?: object][]) => ({
  apiVersion: 'v1',
  kind: 'ServiceList',
  items: items.map(([name, clusterIP, labels]) => ({
    metadata: { name, namespace: 'kube-system', ...(labels === undefined ? {} : { labels }) },
    spec: { clusterIP },
  })),
})

const DNS = { 'k8s-app': 'kube-dns' }

async function renderIn(cluster: Readonly<Record<string, object>>, values: object = {}) {
  await using api = await startKubernetesApi(cluster)
  const { code, stdout, stderr } = await helm.withValues(values, (file) =>
    helm.run([
      ...['template', 'nabo', CHART, '--namespace', 'nabo', '--values', file],
      ...['--dry-run=server', '--kube-apiserver', api.url],
    ]),
  )
  assert.equal(code, 0, stderr)
  return parseManifests(stdout)
}

/** What `helm install` says at its end. */
async function notesOf(
  values: object,
  options: { cluster?: Readonly<Record<string, object>>; namespace?: string } = {},
) {
  await using api = await startKubernetesApi(options.cluster ?? {})
  const { code, stdout, stderr } = await helm.withValues(values, (file) =>
    helm.run([
      ...['install', 'nabo', CHART, '--namespace', options.namespace ?? 'nabo', '--values', file],
      ...['--dry-run=server', '--disable-openapi-validation', '--kube-apiserver', api.url],
    ]),
  )
  assert.equal(code, 0, stderr)
  return stdout.slice(stdout.indexOf('NOTES:'))
}

describe('what the chart finds in the cluster', { skip: 'skip' in found && found.skip }, () => {
  it('is the cluster secret of the installation before, which stays', async () => {
    const objects = await renderIn({ [SECRET]: secret({ secret: 'b2xk' }) })
    assert.deepEqual(only(objects, 'Secret')['data'], { secret: 'b2xk' })
  })

  it('is no secret where there is none, or one without the key: then it makes one', async () => {
    for (const cluster of [{}, { [SECRET]: secret({ other: 'b2xk' }) }]) {
      const { data } = only(await renderIn(cluster), 'Secret') as unknown as { data: { secret: string } }
      assert.equal(Buffer.from(data.secret, 'base64').length, 48)
    }
  })

  it('is the DNS of the cluster, whatever it is named', async () => {
    const argsIn = async (list: object, values = {}) => {
      const pod = podSpecOf(await renderIn({ [SERVICES]: list }, values))
      return [pod['dnsPolicy'], flagsOf(daemonOf(pod)).find((arg) => arg.startsWith('--bootstrap-dns='))]
    }
    const rke2 = services(
      ['metrics-server', '10.43.0.9', { 'k8s-app': 'metrics-server' }],
      ['rke2-coredns', '10.43.0.10', DNS],
    )
    assert.deepEqual(await argsIn(rke2), ['Default', '--bootstrap-dns=10.43.0.10'])
    const cached = services(
      ['kube-dns-upstream', '10.0.0.11', DNS],
      ['kube-dns', '10.0.0.10', DNS],
      ['z', '10.0.0.12', DNS],
    )
    assert.deepEqual(await argsIn(cached), ['Default', '--bootstrap-dns=10.0.0.10'])
    const headless = services(['plain', '10.0.0.1'], ['kubelet', 'None', DNS])
    assert.deepEqual(await argsIn(headless), ['ClusterFirstWithHostNet', undefined])
    assert.deepEqual(await argsIn(cached, { clusterDNS: 'fd00::a' }), ['Default', '--bootstrap-dns=fd00::a'])
  })
})

describe('what an installation says at its end', { skip: 'skip' in found && found.skip }, () => {
  it('is how to see that it works, and nothing to worry about', async () => {
    const cluster = { [SERVICES]: services(['kube-dns', '10.96.0.10', DNS]) }
    const notes = await notesOf({}, { cluster, namespace: 'kube-system' })
    assert.match(notes, /kubectl -n kube-system rollout status daemonset\/nabo/)
    assert.match(notes, /-c nabo -- nabo doctor/)
    assert.match(notes, /nabo_upstream_bytes_saved_total/)
    assert.match(notes, /The Secret nabo-cluster-secret is kept/)
    assert.doesNotMatch(notes, /WARNING|pod-security/)
  })

  it('are commands that look at every node, and at one, in a plain shell', async () => {
    const notes = await notesOf({}, { namespace: 'layers' })
    const commands = notes.split('\n').filter((line) => line.endsWith('nabo doctor') || line.includes('nabo doctor <'))
    assert.equal(commands.length, 2)
    const directory = await mkdtemp(join(tmpdir(), 'nabo-notes-'))
    try {
      // One that reads its standard input must not take the names of the other pods.
      const kubectl = `#!/bin/sh
case "$*" in
  *"get pods"*"spec.nodeName=NODE -o name") echo pod/nabo-c ;;
  *pod/nabo-c*) echo "$*" ;;
  *"get pods"*) printf 'nabo-a   node-a\\nnabo-b   node-b\\n' ;;
  *) cat; echo "$*" ;;
esac
`
      await writeFile(join(directory, 'kubectl'), kubectl, { mode: 0o755 })
      const env = { ...process.env, PATH: `${directory}:${process.env['PATH'] ?? ''}` }
      const ran = await Promise.all(commands.map((command) => execute('sh', ['-c', command], { env })))
      const exec = (pod: string) => `-n layers exec ${pod} -c nabo -- nabo doctor`
      assert.deepEqual(
        ran.map(({ stdout }) => stdout.trim().split('\n')),
        [['== node-a', exec('nabo-a'), '== node-b', exec('nabo-b')], [exec('pod/nabo-c')]],
      )
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })

  it('warns of what is missing', async () => {
    const open = { clusterSecret: { create: false }, insecureWithoutSecret: true }
    const notes = await notesOf({ ...open, configure: { enabled: false } })
    assert.match(notes, /WARNING: there is no cluster secret/)
    assert.match(notes, /WARNING: the address of the cluster's DNS was not found/)
    assert.match(notes, /name http:\/\/127\.0\.0\.1:7950 in containerd's hosts\.toml files yourself/)
    assert.match(notes, /kubectl label namespace nabo pod-security\.kubernetes\.io\/enforce=privileged/)
    assert.doesNotMatch(notes, /is kept/)
  })
})
