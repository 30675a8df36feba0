import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { type TestDaemon, runDaemon } from './daemon.ts'
import { eventually } from './poll.ts'

const accept = MANIFEST_ACCEPT.join(', ')

export interface Asked {
  /** `host:port`; docker.io if absent. */
  readonly registry?: string
  readonly name: string
  readonly kind?: 'manifests' | 'blobs'
  readonly reference: string
  /** `user:password`. */
  readonly login?: string | undefined
  readonly method?: string
  readonly range?: string
}

export interface Answered {
  readonly status: number
  readonly bytes: Uint8Array
  readonly source: string | null
}

/** Daemons of one cluster with a secret, and requests to their mirrors as containerd makes them. */
export class RightsLab implements AsyncDisposable {
  readonly directory: string
  readonly nodes: TestDaemon[] = []

  private constructor(directory: string) {
    this.directory = directory
  }

  static async create(): Promise<RightsLab> {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-rights-'))
    await writeFile(join(directory, 'secret'), 'a secret that all nodes share\n', { mode: 0o600 })
    return new RightsLab(directory)
  }

  /** Starts a node that joins the others. `directory` keeps its cache. */
  async start(flags: readonly string[], options: { directory?: string } = {}): Promise<TestDaemon> {
    const bootstrap = this.nodes[0] === undefined ? [] : ['--bootstrap', `static:${this.nodes[0].router}`]
    const secret = ['--cluster-secret-file', join(this.directory, 'secret')]
    const node = await runDaemon([...secret, ...bootstrap, ...flags], options)
    this.nodes.push(node)
    return node
  }

  async stop(node: TestDaemon): Promise<void> {
    this.nodes.splice(this.nodes.indexOf(node), 1)
    await node.stop()
  }

  /** Waits until all nodes know each other. */
  async together(): Promise<void> {
    const count = this.nodes.length - 1
    await eventually('all nodes know each other', async () => {
      const all = await Promise.all(this.nodes.map((node) => node.status()))
      return all.every(({ peers, index }) => peers === count && index.membersHeard === count)
    })
  }

  /** Waits until a node holds some blobs and has told the others of all that it offers. */
  async announced(node: TestDaemon, blobs: number): Promise<void> {
    await eventually('its content is announced', async () => {
      const status = await node.status()
      return (
        status.blobs >= blobs && status.index.ownKeys >= blobs && status.index.peersInSync === this.nodes.length - 1
      )
    })
  }

  /** Asks a mirror as containerd does. An answer that breaks off has status 0. */
  async ask(node: TestDaemon, asked: Asked): Promise<Answered> {
    const { registry = 'docker.io', name, kind = 'blobs', reference, login, method = 'GET', range } = asked
    try {
      const response = await fetch(`${node.mirror}/v2/${name}/${kind}/${reference}?ns=${registry}`, {
        method,
        headers: {
          accept,
          ...(login === undefined ? {} : { authorization: `Basic ${Buffer.from(login).toString('base64')}` }),
          ...(range === undefined ? {} : { range }),
        },
      })
      const bytes = new Uint8Array(await response.arrayBuffer())
      return { status: response.status, bytes, source: response.headers.get('nabo-source') }
    } catch {
      return { status: 0, bytes: new Uint8Array(), source: null }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
    await rm(this.directory, { recursive: true, force: true })
  }
}
