import { join } from 'node:path'

import { type Client, credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

/** What the kubelet passes on from an imagePullSecret. */
export interface PullAuth {
  readonly username?: string
  readonly password?: string
  /** `name:password` in base64. */
  readonly auth?: string
  readonly server_address?: string
  readonly identity_token?: string
  readonly registry_token?: string
}

export type CriPull = { readonly imageRef: string } | { readonly error: string }

type Call<T> = (
  request: object,
  options: { deadline: number },
  done: (error: ServiceError | null, answer: T) => void,
) => void

interface ImageService extends Client {
  pullImage: Call<{ imageRef: string }>
  imageStatus: Call<{ image?: { repoTags?: string[]; repoDigests?: string[] } | null }>
  removeImage: Call<object>
}

const PULL_TIMEOUT_MS = 60_000

/** Pulls images as the kubelet does: over the CRI, at containerd's own socket. */
export class CriClient implements Disposable {
  readonly #service: ImageService

  constructor(socket: string) {
    const definition = loadSync(join(import.meta.dirname, 'image-service.proto'), { longs: Number })
    const root = loadPackageDefinition(definition) as unknown as {
      runtime: { v1: { ImageService: new (address: string, credentials: object) => ImageService } }
    }
    this.#service = new root.runtime.v1.ImageService(`unix://${socket}`, credentials.createInsecure())
  }

  /** Never rejects: how a pull failed is what the pod's event says. */
  pull(image: string, auth?: PullAuth): Promise<CriPull> {
    const request = { image: { image }, ...(auth === undefined ? {} : { auth: camelCased(auth) }) }
    return new Promise((resolve) => {
      this.#service.pullImage(request, { deadline: Date.now() + PULL_TIMEOUT_MS }, (error, answer) => {
        resolve(error === null ? { imageRef: answer.imageRef } : { error: error.details })
      })
    })
  }

  /** The names by which pods of this node can have an image now; undefined if it is not there. */
  names(image: string): Promise<readonly string[] | undefined> {
    return new Promise((resolve, reject) => {
      this.#service.imageStatus({ image: { image } }, { deadline: Date.now() + PULL_TIMEOUT_MS }, (error, answer) => {
        if (error !== null) return reject(error)
        const { repoTags = [], repoDigests = [] } = answer.image ?? {}
        resolve(answer.image ? [...repoTags, ...repoDigests] : undefined)
      })
    })
  }

  /** Whether the CRI answers: some time after the rest of containerd. Until then "server is not initialized yet" is the answer to everything. */
  isServed(): Promise<boolean> {
    return this.names('docker.io/library/none:1').then(
      () => true,
      () => false,
    )
  }

  remove(image: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#service.removeImage({ image: { image } }, { deadline: Date.now() + PULL_TIMEOUT_MS }, (error) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  [Symbol.dispose](): void {
    this.#service.close()
  }
}

/** As the loader names the fields. */
function camelCased(auth: PullAuth): object {
  return Object.fromEntries(
    Object.entries(auth).map(([name, value]) => [
      name.replace(/_(.)/, (_, letter: string) => letter.toUpperCase()),
      value,
    ]),
  )
}
