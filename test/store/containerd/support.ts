import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Repository, tagKey, type TagReference } from '../../../src/oci/reference.ts'
import { ContainerdStore, type ContainerdStoreOptions } from '../../../src/store/containerd/containerd-store.ts'
import { type Containerd, findContainerd, startContainerd } from '../../support/containerd.ts'
import { type Content, type Image, toOciTar } from '../../support/image-maker.ts'
import { eventually } from '../../support/poll.ts'

const tools = await findContainerd()
const binDir = 'binDir' in tools ? tools.binDir : ''

/** Options of a suite: skips it, with the reason, where there can be no containerd. */
export const needsContainerd = 'skip' in tools ? { skip: tools.skip } : {}

/** A name that is no reference, so that no tag is seen for a moment. */
const STAGING = 'STAGING'

export const silent = { debug: () => {}, info: () => {}, warn: () => {} }

export function contentsOf(image: Image): Content[] {
  return [...image.blobs, ...image.manifests]
}

/** A containerd of its own, which ends and vanishes with its user. */
export class Lab implements AsyncDisposable {
  readonly root: string
  #containerd: Containerd | undefined
  #images = 0

  constructor(root: string) {
    this.root = root
  }

  static async create(): Promise<Lab> {
    return new Lab(await mkdtemp(join(tmpdir(), 'nabo-c-')))
  }

  get socket(): string {
    return join(this.root, 'c.sock')
  }

  get containerd(): Containerd {
    assert.ok(this.#containerd, 'containerd runs')
    return this.#containerd
  }

  /** Also starts it again after its end, on the same content. */
  async start(): Promise<this> {
    this.#containerd = await startContainerd({ root: this.root, binDir })
    return this
  }

  /** Runs ctr in a namespace. Throws if it fails. */
  async ctr(namespace: string, ...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.containerd.ctr('--namespace', namespace, ...args)
    assert.equal(code, 0, stderr)
    return stdout
  }

  /** Makes an image as if it came from a file: without source labels. */
  async import(namespace: string, image: Image, name: string): Promise<void> {
    const tar = join(this.root, `${this.#images++}.tar`)
    await writeFile(tar, toOciTar(image, name))
    const { code, stderr } = await this.containerd.importTar(namespace, tar, '--all-platforms')
    assert.equal(code, 0, stderr)
    await rm(tar)
  }

  /** Makes an image as if it was pulled: first the content, of which `labelled` gets source labels, then the name. */
  async pull(
    namespace: string,
    image: Image,
    tag: TagReference,
    labelled: readonly Content[] = contentsOf(image),
  ): Promise<void> {
    await this.import(namespace, image, STAGING)
    await this.label(namespace, labelled, tag)
    await this.tag(namespace, '--force', STAGING, tagKey(tag))
    await this.ctr(namespace, 'images', 'remove', STAGING)
  }

  /** Names an image anew. Throws if it fails. */
  async tag(namespace: string, ...args: readonly string[]): Promise<void> {
    const { code, stderr } = await this.containerd.tag(namespace, ...args)
    assert.equal(code, 0, stderr)
  }

  /** Labels content as what came from a repository, as containerd does: by the host alone, without the port. */
  async label(namespace: string, contents: readonly Content[], source: Repository): Promise<void> {
    const label = `containerd.io/distribution.source.${source.registry.replace(/:\d+$/, '')}=${source.name}`
    for (const { descriptor } of contents) await this.ctr(namespace, 'content', 'label', descriptor.digest, label)
  }

  /** A store on this containerd that has listed it once. */
  async openStore(options: Partial<ContainerdStoreOptions> = {}): Promise<ContainerdStore & AsyncDisposable> {
    const store = this.store(options)
    await store.start()
    await eventually('the store is ready', () => store.status().ready)
    return store
  }

  /** A store on this containerd that has yet to be started. It waits for no labels: {@link pull} sets them before the name. */
  store(options: Partial<ContainerdStoreOptions> = {}): ContainerdStore & AsyncDisposable {
    const store = new ContainerdStore({ socket: this.socket, log: silent, labelDelay: 0, ...options })
    return Object.assign(store, { [Symbol.asyncDispose]: () => store.stop() })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#containerd?.stop()
    await rm(this.root, { recursive: true, force: true })
  }
}
