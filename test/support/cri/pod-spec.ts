import { z } from 'zod'

/**
 * What a pod template may say here. A field that nobody below translates is an error, so that the chart cannot begin to rely on
 * something that its test leaves out. What is `ignored` is the scheduler's, the API server's or the garbage collector's business.
 */
const ignored = z.unknown().optional()
const strings = z.record(z.string(), z.string())

const securityContextSchema = z.strictObject({
  runAsUser: z.number().optional(),
  runAsGroup: z.number().optional(),
  seccompProfile: z.strictObject({ type: z.enum(['RuntimeDefault', 'Unconfined']) }).optional(),
  seLinuxOptions: strings.optional(),
  allowPrivilegeEscalation: z.boolean().optional(),
  readOnlyRootFilesystem: z.boolean().optional(),
  capabilities: z
    .strictObject({ add: z.array(z.string()).default([]), drop: z.array(z.string()).default([]) })
    .optional(),
})

const resourcesSchema = z.strictObject({
  requests: strings.optional(),
  limits: strings.optional(),
})

const probeSchema = z.strictObject({
  httpGet: z.strictObject({
    path: z.string(),
    host: z.string().optional(),
    port: z.union([z.number(), z.string()]),
  }),
  periodSeconds: z.number().default(10),
  timeoutSeconds: z.number().default(1),
  failureThreshold: z.number().default(3),
  terminationGracePeriodSeconds: z.number().optional(),
})

const execSchema = z.strictObject({ exec: z.strictObject({ command: z.array(z.string()).min(1) }) })

const containerSchema = z.strictObject({
  name: z.string(),
  image: z.string(),
  imagePullPolicy: ignored,
  command: z.array(z.string()).default([]),
  args: z.array(z.string()).default([]),
  env: z
    .array(
      z.union([
        z.strictObject({ name: z.string(), value: z.string() }),
        z.strictObject({
          name: z.string(),
          valueFrom: z.strictObject({ fieldRef: z.strictObject({ fieldPath: z.string(), apiVersion: ignored }) }),
        }),
      ]),
    )
    .default([]),
  ports: z
    .array(
      z.strictObject({
        name: z.string().optional(),
        containerPort: z.number(),
        hostPort: z.number().optional(),
        hostIP: z.string().optional(),
        protocol: z.literal('TCP').optional(),
      }),
    )
    .default([]),
  resources: resourcesSchema.optional(),
  securityContext: securityContextSchema.optional(),
  volumeMounts: z
    .array(
      z.strictObject({
        name: z.string(),
        mountPath: z.string(),
        readOnly: z.boolean().default(false),
        mountPropagation: z.enum(['None', 'HostToContainer', 'Bidirectional']).default('None'),
      }),
    )
    .default([]),
  lifecycle: z.strictObject({ postStart: execSchema.optional(), preStop: execSchema.optional() }).optional(),
  startupProbe: probeSchema.optional(),
  livenessProbe: probeSchema.optional(),
  readinessProbe: probeSchema.optional(),
})

const itemsSchema = z.array(z.strictObject({ key: z.string(), path: z.string(), mode: z.number().optional() }))

const volumeSchema = z.union([
  z.strictObject({
    name: z.string(),
    hostPath: z.strictObject({ path: z.string(), type: z.enum(['', 'Directory', 'DirectoryOrCreate']).default('') }),
  }),
  z.strictObject({ name: z.string(), emptyDir: z.strictObject({ medium: ignored, sizeLimit: ignored }) }),
  z.strictObject({
    name: z.string(),
    secret: z.strictObject({
      secretName: z.string(),
      defaultMode: z.number().default(0o644),
      items: itemsSchema.optional(),
    }),
  }),
])

const podSpecSchema = z.strictObject({
  serviceAccountName: z.string().default('default'),
  // A token would be one more mount.
  automountServiceAccountToken: z.literal(false),
  // The variables of Services would be more environment.
  enableServiceLinks: z.literal(false),
  // A CNI would be needed.
  hostNetwork: z.literal(true),
  dnsPolicy: z.enum(['Default', 'ClusterFirstWithHostNet']),
  terminationGracePeriodSeconds: z.number().default(30),
  securityContext: securityContextSchema
    .pick({ runAsUser: true, runAsGroup: true, seccompProfile: true, seLinuxOptions: true })
    .default({}),
  initContainers: z.array(containerSchema).default([]),
  containers: z.array(containerSchema).min(1),
  volumes: z.array(volumeSchema).default([]),
  imagePullSecrets: ignored,
  priorityClassName: z.string().optional(),
  nodeSelector: ignored,
  affinity: ignored,
  tolerations: ignored,
})

const daemonSetSchema = z.object({
  kind: z.literal('DaemonSet'),
  metadata: z.object({ name: z.string(), namespace: z.string() }),
  spec: z.strictObject({
    selector: ignored,
    updateStrategy: ignored,
    template: z.strictObject({
      metadata: z.strictObject({ labels: strings.default({}), annotations: strings.default({}) }),
      spec: podSpecSchema,
    }),
  }),
})

export type DaemonSet = z.infer<typeof daemonSetSchema>
export type PodSpec = z.infer<typeof podSpecSchema>
export type Container = z.infer<typeof containerSchema>
export type Volume = z.infer<typeof volumeSchema>
export type Probe = z.infer<typeof probeSchema>

/** Throws for a field that the tests cannot translate. */
export function parseDaemonSet(object: unknown): DaemonSet {
  return daemonSetSchema.parse(object)
}
