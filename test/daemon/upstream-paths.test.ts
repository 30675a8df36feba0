import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { examine } from '../support/doctor.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'

const ROBOT = { name: 'robot', password: 'of the proxy cache', mayPull: ['secret/library/app'] }

describe('an upstream with a path', () => {
  let hub: Hub
  let gate: Server
  let image: Image
  let directory: string
  let daemons: TestDaemon[] = []

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-paths-'))
    image = makeImage({ layers: [{ size: 100_000, seed: 'paths' }] })
    hub = await createHub({ users: [ROBOT], privateRepositories: ['secret/library/app'] })
    for (const tag of ['1', '2']) await hub.publish('hub-proxy/library/app', tag, image)
    await hub.publish('secret/library/app', '1', image)
    gate = createServer((asked, answer) => {
      const path = /^\/artifactory\/api\/docker\/hub(\/v2\/.*)$/.exec(asked.url ?? '')?.[1]
      if (path === undefined) return void answer.writeHead(200, { 'content-type': 'text/html' }).end('<html>')
      const { headers, method } = asked
      const passed = request(`${hub.registryUrl}${path}`, { headers, method }, (response) => {
        answer.writeHead(response.statusCode ?? 502, response.headers)
        response.pipe(answer)
      })
      passed.end()
    })
    await new Promise<void>((resolve) => gate.listen(0, '127.0.0.1', resolve))
  })
  after(async () => {
    gate.close()
    await hub.close()
    await rm(directory, { recursive: true })
  })
  afterEach(async () => {
    for (const daemon of daemons) await daemon.stop()
    daemons = []
    await hub.reset()
  })

  const run = async (...flags: readonly string[]) => {
    const daemon = await runDaemon(flags)
    daemons.push(daemon)
    return daemon
  }
  const pull = async ({ mirror }: TestDaemon, name = 'library/app') => {
    const accept = { accept: image.root.descriptor.mediaType }
    for (const reference of ['1', image.root.descriptor.digest]) {
      const manifest = await fetch(`${mirror}/v2/${name}/manifests/${reference}?ns=docker.io`, { headers: accept })
      assert.equal(manifest.status, 200, await manifest.clone().text())
      assert.equal(digestOf(Buffer.from(await manifest.arrayBuffer())), image.root.descriptor.digest)
    }
    for (const { descriptor } of image.layers) {
      const blob = await fetch(`${mirror}/v2/${name}/blobs/${descriptor.digest}?ns=docker.io`)
      assert.equal(blob.status, 200, await (blob.ok ? '' : blob.text()))
      assert.equal(digestOf(Buffer.from(await blob.arrayBuffer())), descriptor.digest)
    }
  }
  const gateUrl = () => `http://127.0.0.1:${(gate.address() as AddressInfo).port}`

  it('is asked for manifests, blobs, lists and tokens under its prefix, and clients see the name that they used', async () => {
    const daemon = await run('--upstream', `docker.io=${hub.registryUrl}/v2/hub-proxy`)
    await pull(daemon)
    const tags: string[] = []
    for (let next: string | undefined = '/v2/library/app/tags/list?n=1&ns=docker.io'; next !== undefined;) {
      const page: Response = await fetch(`${daemon.mirror}${next}`)
      const body = (await page.json()) as { name: string; tags: string[] }
      assert.equal(body.name, 'library/app')
      tags.push(...body.tags)
      next = /^<([^>]*)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1]
      assert.doesNotMatch(next ?? '', /hub-proxy/)
    }
    assert.deepEqual(tags, ['1', '2'])
    const referrers = await fetch(`${daemon.mirror}/v2/library/app/referrers/${image.root.descriptor.digest}`)
    assert.equal(referrers.status, 200)
    await referrers.arrayBuffer()

    const asked = await hub.requests()
    const paths = asked.filter(({ origin }) => origin === 'registry').map(({ path }) => path)
    assert.ok(paths.every((path) => path.startsWith('/v2/hub-proxy/library/app/')))
    for (const kind of ['manifests', 'blobs', 'tags', 'referrers'])
      assert.ok(
        paths.some((path) => path.startsWith(`/v2/hub-proxy/library/app/${kind}/`)),
        kind,
      )
    const scopes = asked
      .filter(({ origin }) => origin === 'auth')
      .map(({ path }) => new URL(path, hub.authUrl).searchParams.get('scope'))
    assert.deepEqual([...new Set(scopes)], ['repository:hub-proxy/library/app:pull'])
  })

  it('is asked below a path before /v2', async () => {
    await pull(await run('--upstream', `docker.io=${gateUrl()}/artifactory/api/docker/hub/v2/hub-proxy`))
  })

  it('gets the credentials that are kept under its own name', async () => {
    const file = join(directory, 'config.json')
    const auth = Buffer.from(`${ROBOT.name}:${ROBOT.password}`).toString('base64')
    await writeFile(file, JSON.stringify({ auths: { [`${new URL(hub.registryUrl).host}/secret`]: { auth } } }))
    const flags = ['--upstream', `docker.io=${hub.registryUrl}/v2/secret`, '--credentials-file', file]
    await pull(await run(...flags))
    assert.ok((await hub.requests()).some(({ user }) => user === ROBOT.name))
  })

  it('is one of two at one host, each with a state of its own', async () => {
    const [gone, there] = ['v2/gone', 'v2/hub-proxy'].map((path) => `${hub.registryUrl}/${path}`)
    const daemon = await run('--upstream', `docker.io=${there},${gone}`)
    await hub.setFaults({ registry: { path: /^\/v2\/hub-proxy\//, status: 503 } })
    for (let count = 0; count < 8; count += 1)
      await fetch(`${daemon.mirror}/v2/library/app/manifests/1`).then((response) => response.arrayBuffer())
    const metrics = await (await fetch(`${daemon.admin}/metrics`)).text()
    const { host } = new URL(hub.registryUrl)
    const stateOf = (path: string) =>
      new RegExp(`nabo_upstream_breaker{registry="docker.io",address="${host}/${path}"} (\\d)`).exec(metrics)?.[1]
    assert.deepEqual([stateOf('v2/hub-proxy'), stateOf('v2/gone')], ['2', '0'])
  })

  it('is shown by doctor with its path, and a path that leads to no registry is reported', async () => {
    const look = async (url: string) =>
      (await examine(['--upstream', `docker.io=${url}`], { checks: ['upstream'] })).get('upstream') ?? assert.fail()
    const good = await look(`${hub.registryUrl}/v2/hub-proxy`)
    assert.equal(good.level, 'ok', good.says)
    assert.match(good.says, /127\.0\.0\.1:\d+\/v2\/hub-proxy can be reached/)
    for (const [url, said] of [
      [gateUrl(), 'sent a page'],
      [hub.registryUrl, 'answered 404'],
    ] as const) {
      const bad = await look(`${url}/hub-proxy`)
      assert.equal(bad.level, 'warning', bad.says)
      assert.ok(bad.says.includes(`it ${said} for /hub-proxy/v2/`), bad.says)
      assert.ok(bad.says.includes(`write ${url}/v2/hub-proxy`), bad.says)
    }
  })
})
