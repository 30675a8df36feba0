import assert from 'node:assert/strict'

import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { type TestDaemon, runDaemon } from './daemon.ts'
import { createHub } from './hub/create-hub.ts'
import type { Hub } from './hub/hub.ts'
import { type Image, makeImage } from './image-maker.ts'

/** A Docker Hub stand-in with an image of one layer, and daemons that read it. */
export class LayerLab implements AsyncDisposable {
  readonly hub: Hub
  readonly #image: Image
  readonly #nodes: TestDaemon[] = []

  private constructor(hub: Hub, image: Image) {
    this.hub = hub
    this.#image = image
  }

  /** The image is `app:1`; its layer has `size` bytes. */
  static async create(options: { size: number; seed: string }): Promise<LayerLab> {
    const image = makeImage({ layers: [options] })
    const hub = await createHub()
    await hub.publish('app', '1', image)
    return new LayerLab(hub, image)
  }

  get layer(): Image['layers'][number] {
    return this.#image.layers[0] ?? assert.fail()
  }

  /** Starts a daemon, which joins those that run. */
  async start(): Promise<TestDaemon> {
    const [first] = this.#nodes
    const join = first === undefined ? [] : ['--bootstrap', `static:${first.router}`]
    const node = await runDaemon(['--upstream', `docker.io=${this.hub.registryUrl}`, ...join])
    this.#nodes.push(node)
    return node
  }

  /** Stops the daemons, and resets the counters of the stand-in. */
  async reset(): Promise<void> {
    await Promise.all(this.#nodes.splice(0).map((node) => node.stop()))
    await this.hub.reset()
  }

  askForLayer({ mirror }: TestDaemon, options: RequestInit = {}): Promise<Response> {
    return fetch(`${mirror}/v2/library/app/blobs/${this.layer.descriptor.digest}`, options)
  }

  async askForManifest({ mirror }: TestDaemon): Promise<void> {
    const headers = { accept: MANIFEST_ACCEPT.join(', ') }
    const response = await fetch(`${mirror}/v2/library/app/manifests/1`, { headers })
    await response.bytes()
    assert.equal(response.status, 200)
  }

  /** What the stand-in has sent of the layer. */
  async sent(): Promise<{ gets: number; bytes: number }> {
    return (await this.hub.counters()).blobs[this.layer.descriptor.digest] ?? { gets: 0, bytes: 0 }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reset()
    await this.hub.close()
  }
}
