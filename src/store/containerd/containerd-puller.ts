import { type Client, type ServiceError, status } from '@grpc/grpc-js'
import { z } from 'zod'

import type { Digest } from '../../oci/digest.ts'
import { type Platform, formatPlatform, ownPlatform } from '../../oci/platform.ts'
import { type ImageReference, repositoryKey } from '../../oci/reference.ts'
import { errorText } from '../../telemetry/log.ts'
import { hour, second } from '../../time/units.ts'
import { type ImagePuller, PullError, type PullOrder, type PulledImage } from '../image-puller.ts'
import { connect, unary } from './connection.ts'
import { imagesSchema, namespacesSchema, parseImageRow } from './rows.ts'
import { type PullServices, loadPullServices } from './services.ts'
import { containerdUnreachable } from './unreachable.ts'

export interface ContainerdPullerOptions {
  /** Path of containerd's socket. */
  readonly socket: string
  /** Where hosts.toml files are, for pulls past the CRI; the CRI plugin has its own `config_path`. */
  readonly certsDir: string
}

/** The namespace of the kubelet's images: the CRI plugin knows no other one. */
const CRI_NAMESPACE = 'k8s.io'
const QUESTION_TIMEOUT = 10 * second
/** Larger than any image; containerd itself gives up sooner when no bytes come. */
const PULL_TIMEOUT = 2 * hour
/** containerd's messages name the layers that failed; a pod's event has no more room either. */
const MAX_MESSAGE = 600
const TYPES = 'containerd.types.transfer'

const versionSchema = z.object({ version: z.string() })

/** Has containerd pull: over the CRI as the kubelet does, else by its transfer service, which is in 1.7 and knows mirrors from 2.0 on. */
export class ContainerdPuller implements ImagePuller {
  readonly #options: ContainerdPullerOptions
  #services: PullServices | undefined

  constructor(options: ContainerdPullerOptions) {
    this.#options = options
  }

  async pull(order: PullOrder, { signal }: { signal: AbortSignal }): Promise<PulledImage> {
    const services = (this.#services ??= loadPullServices())
    const client = connect(this.#options.socket)
    try {
      const namespace = await new Pull(client, services, this.#options.certsDir, signal).run(order)
      return { digest: await targetOf(client, services, imageName(order.reference), namespace, signal) }
    } catch (cause) {
      signal.throwIfAborted()
      if (cause instanceof PullError) throw cause
      throw new PullError('failed', this.#explained(cause), { cause })
    } finally {
      client.close()
    }
  }

  #explained(error: unknown): string {
    const { code, details } = error as Partial<ServiceError>
    if (code === status.UNAVAILABLE) return containerdUnreachable(this.#options.socket)
    return (details ?? errorText(error)).slice(0, MAX_MESSAGE)
  }
}

class Pull {
  readonly #client: Client
  readonly #services: PullServices
  readonly #certsDir: string
  readonly #signal: AbortSignal

  constructor(client: Client, services: PullServices, certsDir: string, signal: AbortSignal) {
    this.#client = client
    this.#services = services
    this.#certsDir = certsDir
    this.#signal = signal
  }

  /** Returns the namespace that the image is in now. */
  async run({ reference, platform, namespace }: PullOrder): Promise<string> {
    const image = imageName(reference)
    // The CRI takes neither: it pulls for its own node's pods.
    const fitsCri = (namespace ?? CRI_NAMESPACE) === CRI_NAMESPACE && isOwn(platform)
    if (fitsCri && (await this.#byCri(image))) return CRI_NAMESPACE
    await this.#requireTransfer(fitsCri)
    const chosen = namespace ?? (await this.#usualNamespace())
    await this.#byTransfer(image, platform ?? ownPlatform(), chosen)
    return chosen
  }

  /** false if this containerd serves no CRI. */
  async #byCri(image: string): Promise<boolean> {
    try {
      await this.#call('criPull', { image: { image } }, PULL_TIMEOUT)
      return true
    } catch (error) {
      if (codeOf(error) === status.UNIMPLEMENTED) return false
      throw error
    }
  }

  async #requireTransfer(triedCri: boolean): Promise<void> {
    const { version } = versionSchema.parse(await this.#call('version', {}, QUESTION_TIMEOUT))
    const major = Number(/^v?(\d+)\./.exec(version)?.[1] ?? Number.NaN)
    // Before 2.0 the transfer service knows no hosts.toml: each node would go to the registry itself.
    if (major >= 2) return
    const why = triedCri
      ? 'its CRI plugin is not enabled'
      : 'its CRI plugin pulls only for its own platform and namespace'
    throw new PullError('unsupported', `containerd ${version} cannot be asked to pull through a mirror: ${why}`)
  }

  async #usualNamespace(): Promise<string> {
    const answer = await this.#call('listNamespaces', {}, QUESTION_TIMEOUT)
    const names = namespacesSchema.parse(answer).namespaces.map(({ name }) => name)
    return names.includes(CRI_NAMESPACE) ? CRI_NAMESPACE : 'default'
  }

  async #byTransfer(image: string, platform: Platform, namespace: string): Promise<void> {
    const source = { reference: image, resolver: { host_dir: this.#certsDir } }
    const transfer = (unpacks: readonly object[]) =>
      this.#call(
        'transfer',
        {
          source: { type_url: `${TYPES}.OCIRegistry`, value: source },
          destination: {
            type_url: `${TYPES}.ImageStore`,
            value: { name: image, platforms: [platform], unpacks },
          },
        },
        PULL_TIMEOUT,
        namespace,
      )
    try {
      await transfer([{ platform }])
    } catch (error) {
      const { details = '' } = error as Partial<ServiceError>
      if (codeOf(error) === status.UNIMPLEMENTED)
        throw new PullError('unsupported', `this containerd has no transfer service for ${formatPlatform(platform)}`, {
          cause: error,
        })
      // Its default snapshotter cannot unpack for this platform: whoever runs the image unpacks it then.
      if (!/no unpack platforms/.test(details)) throw error
      await transfer([])
    }
  }

  #call(name: keyof PullServices, argument: object, deadline: number, namespace?: string): Promise<unknown> {
    return unary(this.#client, this.#services[name], argument, { signal: this.#signal, deadline, namespace })
  }
}

/** What containerd calls it, and the kubelet: of a tag and a digest the digest counts. */
function imageName(reference: ImageReference): string {
  const { digest, tag = 'latest' } = reference
  return digest === undefined ? `${repositoryKey(reference)}:${tag}` : `${repositoryKey(reference)}@${digest}`
}

async function targetOf(
  client: Client,
  services: PullServices,
  image: string,
  namespace: string,
  signal: AbortSignal,
): Promise<Digest | undefined> {
  const filters = [`name==${JSON.stringify(image)}`]
  const answer = await unary(
    client,
    services.listImages,
    { filters },
    { signal, deadline: QUESTION_TIMEOUT, namespace },
  )
  return imagesSchema.parse(answer).images.flatMap((raw) => parseImageRow(raw) ?? [])[0]?.target
}

function isOwn(platform: Platform | undefined): boolean {
  const own = ownPlatform()
  return platform === undefined || (platform.os === own.os && platform.architecture === own.architecture)
}

function codeOf(error: unknown): number | undefined {
  return (error as Partial<ServiceError>).code
}
