import type { ServeConfig } from '../config/serve-config.ts'
import { CachePuller } from '../delivery/images/cache-puller.ts'
import { arrivedBytes, findImageBlobs } from '../delivery/images/image-blobs.ts'
import { isMirrored, whyLeftOut } from '../delivery/access/registry-policy.ts'
import { type WarmCommandOptions, createWarmCommand } from '../http/warm-command.ts'
import type { Digest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { MANIFEST_ACCEPT } from '../oci/manifest.ts'
import { ownPlatform } from '../oci/platform.ts'
import type { ImageReference, IsMirror } from '../oci/reference.ts'
import type { Overlay } from '../overlay/overlay.ts'
import type { PeerClient } from '../peers/peer-client.ts'
import type { ImagePuller } from '../store/image-puller.ts'
import type { Log } from '../telemetry/log.ts'
import { withDeadline } from '../time/deadline.ts'
import { second } from '../time/units.ts'
import type { WarmOrder } from '../warm/messages.ts'
import type { MirrorTraffic } from '../warm/mirror-traffic.ts'
import { Rollout, RolloutAbandoned } from '../warm/rollout.ts'
import { type WarmHandler, WarmJobs } from '../warm/warm-jobs.ts'
import type { ChosenStore } from './create-store.ts'
import type { Teardown } from './teardown.ts'
import type { UseCases } from './use-cases.ts'

export interface WarmParts {
  readonly chosen: ChosenStore
  readonly overlay: Overlay
  readonly peers: PeerClient
  readonly believesPeers: boolean
  readonly traffic: MirrorTraffic
  readonly useCases: UseCases
  readonly isMirror: IsMirror
  readonly log: Log
}

/** Images brought to this node, and by its command to others. */
export interface Warm {
  readonly jobs: WarmHandler
  readonly command: ReturnType<typeof createWarmCommand>
  /** Ends what is ordered from here; the nodes go on with it. */
  stop(): void
}

const MANIFESTS_TIMEOUT = 5 * second

export async function createWarm(config: ServeConfig, parts: WarmParts, teardown: Teardown): Promise<Warm> {
  const { chosen, overlay, peers, believesPeers, traffic, useCases, isMirror, log } = parts
  const stopping = new AbortController()
  const jobs = new WarmJobs({
    puller: await createPuller(config, parts),
    traffic,
    zone: config.zone,
    mirrors: (image) => isMirrored(useCases.policy, image),
    contents: ({ reference, digest = reference.digest, platform = ownPlatform() }: WarmOrder, signal) =>
      digest === undefined
        ? Promise.resolve(undefined)
        : findImageBlobs(useCases.manifests, { repository: reference, digest, platform }, signal),
    arrived: (blobs, signal) => arrivedBytes(chosen.store, blobs, signal),
    log,
  })
  teardown.add(() => jobs.stop())
  // A stranger could have nodes pull whatever it likes.
  const nodes = believesPeers ? peers : undefined
  const rollOut: WarmCommandOptions['rollOut'] = (order, tell, { signal }) =>
    new Rollout(order, { overlay, self: jobs, nodes }).run(tell, {
      signal: AbortSignal.any([signal, stopping.signal]),
    })
  const stop = () => stopping.abort(new RolloutAbandoned('the node stops'))
  const resolve = createResolve(useCases)
  return { jobs, stop, command: createWarmCommand({ isMirror, resolve, rollOut }) }
}

async function createPuller(config: ServeConfig, { chosen, useCases }: WarmParts): Promise<ImagePuller> {
  if (chosen.kind === 'directory') return new CachePuller({ ...useCases, store: chosen.store })
  const { ContainerdPuller } = await import('../store/containerd/containerd-puller.ts')
  return new ContainerdPuller({ socket: config.containerdSocket, certsDir: config.configDir })
}

function createResolve({ policy, tags, manifests }: UseCases): WarmCommandOptions['resolve'] {
  return async (reference: ImageReference, { signal }): Promise<Digest> => {
    const { registry, name, tag = 'latest', digest } = reference
    const why = whyLeftOut(policy, digest === undefined ? { registry, name, tag } : { registry, name })
    if (why !== undefined) throw new OciError('NAME_UNKNOWN', { message: why })
    const found = digest ?? (await tags.resolve({ registry, name, tag }, MANIFEST_ACCEPT, signal)).descriptor.digest
    // The other nodes find the manifests here then, and the registry counts one pull. Without them each node says what is wrong.
    const image = { repository: { registry, name }, digest: found, platform: ownPlatform() }
    await withDeadline(MANIFESTS_TIMEOUT, 'reading the manifests', signal, (limit) =>
      findImageBlobs(manifests, image, limit),
    ).catch(() => signal.throwIfAborted())
    return found
  }
}
