// That containerd is asked to pull in the way that it understands, whatever its version.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { type ImageReference, parseImageReference } from '../../../src/oci/reference.ts'
import { ContainerdPuller } from '../../../src/store/containerd/containerd-puller.ts'
import { PullError } from '../../../src/store/image-puller.ts'
import {
  comparedVersions,
  type Containerd,
  type FoundContainerd,
  findContainerd,
  startContainerd,
} from '../../support/containerd.ts'
import { makeImage } from '../../support/image-maker.ts'
import { RecordingMirror } from '../../support/recording-mirror.ts'

const REGISTRY = 'registry.example'
const image = makeImage({ layers: [{ size: 1000, seed: 'puller' }], multiArch: true })
const { digest } = image.root.descriptor
const signal = new AbortController().signal
const referenceTo = (text: string): ImageReference =>
  parseImageReference(`${REGISTRY}/org/${text}`) ?? assert.fail(text)

class Lab implements AsyncDisposable {
  readonly mirror: RecordingMirror
  readonly upstream: RecordingMirror
  readonly containerd: Containerd
  readonly puller: ContainerdPuller
  readonly #directory: string

  constructor(parts: {
    mirror: RecordingMirror
    upstream: RecordingMirror
    containerd: Containerd
    directory: string
  }) {
    this.mirror = parts.mirror
    this.upstream = parts.upstream
    this.containerd = parts.containerd
    this.#directory = parts.directory
    this.puller = new ContainerdPuller({
      socket: parts.containerd.socket,
      certsDir: join(parts.directory, 'certs'),
    })
  }

  static async start(tools: FoundContainerd, { cri }: { cri: boolean }): Promise<Lab> {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-pu-'))
    const [mirror, upstream] = [await RecordingMirror.start(), await RecordingMirror.start()]
    mirror.rules = { image }
    upstream.rules = { image }
    const certs = join(directory, 'certs')
    await mkdir(join(certs, REGISTRY), { recursive: true })
    const section = `[host."${mirror.url}"]\n  capabilities = ["pull", "resolve"]\n`
    await writeFile(join(certs, REGISTRY, 'hosts.toml'), `server = "${upstream.url}"\n\n${section}`)
    const containerd = await startContainerd({
      ...tools,
      root: join(directory, 'c'),
      ...(cri ? { criCerts: certs } : {}),
    })
    return new Lab({ mirror, upstream, containerd, directory })
  }

  async names(namespace: string): Promise<string[]> {
    const { stdout } = await this.containerd.ctr('--namespace', namespace, 'images', 'list', '--quiet')
    return stdout.split('\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.containerd.stop()
    await this.mirror[Symbol.asyncDispose]()
    await this.upstream[Symbol.asyncDispose]()
    await rm(this.#directory, { recursive: true, force: true })
  }
}

for (const version of [undefined, ...comparedVersions()]) {
  const found = await findContainerd(version === undefined ? undefined : { version })
  const skip = 'skip' in found ? found.skip : false
  const tools = 'skip' in found ? { binDir: '', parallelFetch: false } : found
  const knowsMirrors = version?.startsWith('2.') === true

  describe(`a pull by containerd ${version ?? 'as it is here'} over the CRI`, { skip }, () => {
    let lab: Lab
    before(async () => {
      lab = await Lab.start(tools, { cri: true })
    })
    after(() => lab[Symbol.asyncDispose]())

    it('goes through the mirror, and is what pods find', async () => {
      const pulled = await lab.puller.pull({ reference: referenceTo('app:1') }, { signal })
      assert.deepEqual(pulled, { digest })
      assert.ok((await lab.names('k8s.io')).includes(`${REGISTRY}/org/app:1`))
      assert.ok(lab.mirror.take().length >= 4)
      assert.equal(lab.upstream.take().length, 0)
    })

    it('may be by digest, and then a tag beside it does not matter', async () => {
      for (const name of [`app@${digest}`, `app:other@${digest}`])
        assert.deepEqual(await lab.puller.pull({ reference: referenceTo(name) }, { signal }), { digest })
      assert.ok((await lab.names('k8s.io')).includes(`${REGISTRY}/org/app@${digest}`))
    })

    it('fails in containerd’s own words', async () => {
      lab.mirror.rules = {}
      lab.upstream.rules = {}
      try {
        await assert.rejects(
          lab.puller.pull({ reference: referenceTo('absent:1') }, { signal }),
          (error) => error instanceof PullError && error.reason === 'failed' && /not found/.test(error.message),
        )
      } finally {
        lab.mirror.rules = { image }
        lab.upstream.rules = { image }
      }
    })
  })

  if (version === undefined) continue
  describe(`a pull by containerd ${version} without the CRI`, { skip }, () => {
    let lab: Lab
    before(async () => {
      lab = await Lab.start(tools, { cri: false })
    })
    after(() => lab[Symbol.asyncDispose]())

    if (!knowsMirrors) {
      it('is refused rather than sent past the mirror', async () => {
        await assert.rejects(
          lab.puller.pull({ reference: referenceTo('app:1') }, { signal }),
          (error) => error instanceof PullError && error.reason === 'unsupported' && error.message.includes('CRI'),
        )
        assert.equal(lab.mirror.take().length + lab.upstream.take().length, 0)
      })
      return
    }

    it('goes through the mirror, into the namespace of pods if there is one', async () => {
      assert.deepEqual(await lab.puller.pull({ reference: referenceTo('app:1') }, { signal }), { digest })
      assert.ok((await lab.names('default')).includes(`${REGISTRY}/org/app:1`))
      await lab.containerd.ctr('namespaces', 'create', 'k8s.io')
      assert.deepEqual(await lab.puller.pull({ reference: referenceTo('app:2') }, { signal }), { digest })
      assert.ok((await lab.names('k8s.io')).includes(`${REGISTRY}/org/app:2`))
      assert.ok(lab.mirror.take().length >= 4)
      assert.equal(lab.upstream.take().length, 0)
    })

    it('goes into the namespace that is named, for the platform that is named', async () => {
      const platform = { os: 'linux', architecture: 'arm64' }
      const order = { reference: referenceTo('app:3'), namespace: 'other', platform }
      assert.deepEqual(await lab.puller.pull(order, { signal }), { digest })
      assert.deepEqual(
        (await lab.names('other')).filter((name) => name !== ''),
        [`${REGISTRY}/org/app:3`],
      )
    })
  })
}

describe('a pull by a containerd that is not there', () => {
  it('fails with its socket’s name', async () => {
    const puller = new ContainerdPuller({ socket: '/nowhere/c.sock', certsDir: '/nowhere' })
    await assert.rejects(
      puller.pull({ reference: referenceTo('app:1') }, { signal }),
      /not reachable at \/nowhere\/c.sock/,
    )
  })
})
