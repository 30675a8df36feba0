import { DNS_SERVICE } from './worker.ts'

const labels = { 'k8s-app': 'kube-dns' }
const inSystem = (name: string) => ({ name, namespace: 'kube-system', labels })

const COREFILE = `.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    cache 5
}
`

const container = {
  name: 'coredns',
  image: 'docker.io/coredns/coredns:1',
  args: ['-conf', '/etc/coredns/Corefile'],
  ports: [
    { name: 'dns', containerPort: 53, protocol: 'UDP' },
    { name: 'dns-tcp', containerPort: 53, protocol: 'TCP' },
  ],
  volumeMounts: [{ name: 'config', mountPath: '/etc/coredns' }],
  readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
}

const podSpec = {
  serviceAccountName: 'coredns',
  dnsPolicy: 'Default',
  terminationGracePeriodSeconds: 1,
  containers: [container],
  volumes: [{ name: 'config', configMap: { name: 'coredns' } }],
}

/** The Service alone: its address is known, and nobody answers there. */
export const DNS_SERVICE_OBJECT = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: inSystem('kube-dns'),
  spec: {
    clusterIP: DNS_SERVICE,
    selector: labels,
    ports: [
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53, protocol: 'TCP' },
    ],
  },
}

/** What answers at the Service. */
export const COREDNS_OBJECTS: readonly object[] = [
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: inSystem('coredns') },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: 'coredns' },
    rules: [
      { apiGroups: [''], resources: ['services', 'pods', 'namespaces'], verbs: ['list', 'watch'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
    ],
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'coredns' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'coredns' },
    subjects: [{ kind: 'ServiceAccount', name: 'coredns', namespace: 'kube-system' }],
  },
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: inSystem('coredns'), data: { Corefile: COREFILE } },
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: inSystem('coredns'),
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: podSpec },
    },
  },
]
