// A real registry, Debian's docker-registry, in front of a Nabo, and a real containerd behind it.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { z } from 'zod'

import { digestOf } from '../../src/oci/digest.ts'
import { type Containerd, findContainerd, startContainerd } from '../support/containerd.ts'
import { CriClient, type CriPull, type PullAuth } from '../support/cri/cri-client.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { findTool } from '../support/debian-tool.ts'
import { Distribution } from '../support/distribution.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import { makeImage } from '../support/image-maker.ts'

const containerd = await findContainerd()
const tool = await findTool('docker-registry')
const skip = 'skip' in containerd ? containerd.skip : 'skip' in tool ? tool.skip : false
const REGISTRY = 'registry.example'
const IMAGE = `${REGISTRY}/org/app:1`
const ANN = { username: 'ann', password: 'a-secret-of-ann' }
const HTPASSWD = 'ann:$2b$05$abcdefghijklmnopqrstuuvNB/VA1hFWnJXAPZfhXKaC/gVqQDN3S\n'
const image = makeImage({
  layers: [
    { size: 2_000_000, seed: 'real' },
    { size: 100_000, seed: 'real too' },
  ],
  multiArch: true,
})
const tagsSchema = z.object({ tags: z.array(z.string()) })
const layer = image.layers[0]?.descriptor ?? assert.fail()

describe('a real registry as upstream', { skip }, () => {
  let directory: string
  let runtime: Containerd
  let registry: Distribution | undefined
  let daemon: TestDaemon | undefined

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-rr-'))
    const binDir = 'skip' in containerd ? '' : containerd.binDir
    runtime = await startContainerd({ root: join(directory, 'c'), binDir, criCerts: join(directory, 'certs') })
  })
  after(async () => {
    await runtime.stop()
    await rm(directory, { recursive: true, force: true })
  })
  afterEach(async () => {
    using cri = new CriClient(runtime.socket)
    await cri.remove(IMAGE)
    await daemon?.stop()
    await registry?.[Symbol.asyncDispose]()
    daemon = registry = undefined
  })

  async function startRegistry(htpasswd?: string): Promise<Distribution> {
    const binDir = 'skip' in tool ? '' : tool.binDir
    const place = await mkdtemp(join(directory, 'registry-'))
    registry = await Distribution.start({ binDir, directory: place, ...(htpasswd === undefined ? {} : { htpasswd }) })
    await registry.push('org/app', '1', image, htpasswd === undefined ? undefined : `${ANN.username}:${ANN.password}`)
    return registry
  }
  /** A Nabo in front of these addresses; containerd asks it and nobody else. */
  async function startNabo(addresses: readonly string[], ...flags: readonly string[]): Promise<TestDaemon> {
    daemon = await runDaemon(['--upstream', `${REGISTRY}=${addresses.join(',')}`, '--fallback', 'all', ...flags])
    await mkdir(join(directory, 'certs', REGISTRY), { recursive: true })
    const hosts = `server = "http://127.0.0.1:9"\n\n[host."${daemon.mirror}"]\n  capabilities = ["pull", "resolve"]\n`
    await writeFile(join(directory, 'certs', REGISTRY, 'hosts.toml'), hosts)
    return daemon
  }
  async function pull(auth?: PullAuth): Promise<CriPull> {
    using cri = new CriClient(runtime.socket)
    return await cri.pull(IMAGE, auth)
  }
  async function arrived(auth?: PullAuth): Promise<void> {
    const result = await pull(auth)
    assert.ok(
      'imageRef' in result,
      `${JSON.stringify(result)}\n${JSON.stringify(daemon?.requests().slice(-8), null, 1)}`,
    )
    assert.equal(result.imageRef, image.config.descriptor.digest)
  }
  const ask = (path: string, init: RequestInit = {}) => {
    const url = new URL(`/v2/org/app/${path}`, daemon?.mirror)
    url.searchParams.set('ns', REGISTRY)
    return fetch(url, init)
  }
  const blobGets = (from: Distribution) =>
    from.requests.filter(({ method, path, status }) => method === 'GET' && path.includes(layer.digest) && status < 300)

  describe('that lets everybody pull', () => {
    it('gives an image, and each blob once', async () => {
      const real = await startRegistry()
      await startNabo([real.url])
      await arrived()
      assert.equal(blobGets(real).length, 1)
      using cri = new CriClient(runtime.socket)
      await cri.remove(IMAGE)
      await real[Symbol.asyncDispose]()
      await arrived()
    })

    it('has its listings passed on, and parts of its blobs', async () => {
      const real = await startRegistry()
      for (const tag of ['2', '3']) await real.push('org/app', tag, image)
      await startNabo([real.url])
      // 2.8 knows no pages and no order; from 3 on it does.
      const tags: string[] = []
      let next: string | undefined = `/v2/org/app/tags/list?n=2&ns=${REGISTRY}`
      for (let page = 0; next !== undefined && page < 3; page++) {
        const answer: Response = await fetch(new URL(next, daemon?.mirror))
        tags.push(...tagsSchema.parse(await answer.json()).tags)
        next = /<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1]
      }
      assert.deepEqual(tags.sort(), ['1', '2', '3'])
      const part = await ask(`blobs/${layer.digest}`, { headers: { range: 'bytes=1000-' } })
      assert.equal(part.status, 206)
      assert.equal((await part.bytes()).length, layer.size - 1000)
      assert.equal(digestOf(await (await ask(`blobs/${layer.digest}`)).bytes()), layer.digest)
      const unknown = await ask('manifests/none')
      await unknown.body?.cancel()
      assert.equal(unknown.status, 404)
    })
  })

  describe('that wants a password', () => {
    it('gives an image to the pull secret that it knows, and to no other', async () => {
      const real = await startRegistry(HTPASSWD)
      await startNabo([real.url])
      for (const auth of [undefined, { ...ANN, password: 'guessed' }]) {
        assert.ok('error' in (await pull(auth)))
        assert.equal(blobGets(real).length, 0)
      }
      await arrived(ANN)
      const statuses = daemon?.requests().map(({ status }) => status) ?? []
      assert.ok(
        statuses.includes(401) && statuses.every((status) => [200, 206, 401, 403, 404].includes(Number(status))),
        statuses.join(' '),
      )
      assert.equal(JSON.stringify(daemon?.lines).includes(ANN.password), false)
    })

    it('gives it to a node that has credentials of its own, for all clients on it', async () => {
      const real = await startRegistry(HTPASSWD)
      const config = join(directory, 'config.json')
      const auth = Buffer.from(`${ANN.username}:${ANN.password}`).toString('base64')
      await writeFile(config, JSON.stringify({ auths: { [REGISTRY]: { auth } } }))
      await startNabo([real.url], '--credentials-file', config)
      await arrived()
      assert.equal(blobGets(real).length, 1)
    })
  })

  describe('after another one', () => {
    for (const [what, fault] of [
      ['refuses connections', { down: true }],
      ['answers 503', { status: 503 }],
      ['limits requests', { status: 429, text: 'Too Many Requests' }],
    ] as const) {
      it(`gives what the first cannot, which ${what}`, async () => {
        const real = await startRegistry()
        await using hub = await createHub({ tokens: false })
        await hub.publish('org/app', '1', image)
        await hub.setFaults(everywhere(fault))
        await startNabo([hub.registryUrl, real.url])
        await arrived()
        assert.equal(blobGets(real).length, 1)
      })
    }
  })
})
