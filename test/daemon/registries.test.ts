// Registries that a daemon reaches as its flags and its environment say: an authority of their own, plain HTTP, a password, a proxy.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { startConnectProxy } from '../support/connect-proxy.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { examine } from '../support/doctor.ts'
import { createHub } from '../support/hub/create-hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'

const REGISTRY = 'registry.example'
const PROXIES = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'] as const

describe('a daemon in front of a private registry', () => {
  let directory: string
  let image: Image
  let daemons: TestDaemon[] = []

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-registries-'))
    image = makeImage({ layers: [{ size: 50_000, seed: 'registries' }] })
  })
  after(() => rm(directory, { recursive: true, force: true }))
  afterEach(async () => {
    for (const daemon of daemons) await daemon.stop()
    daemons = []
  })

  const run = async (...flags: readonly string[]) => {
    const daemon = await runDaemon(['--fallback', 'all', ...flags])
    daemons.push(daemon)
    return daemon
  }
  const get = async ({ mirror }: TestDaemon, path: string, registry = REGISTRY) => {
    const headers = { accept: image.root.descriptor.mediaType }
    const response = await fetch(`${mirror}/v2/org/app/${path}?ns=${registry}`, { headers })
    return { status: response.status, bytes: await response.bytes() }
  }
  const pulls = async (daemon: TestDaemon, registry = REGISTRY) => {
    for (const [path, digest] of [
      ['manifests/1', image.root.descriptor.digest],
      ...image.blobs.map(({ descriptor }) => [`blobs/${descriptor.digest}`, descriptor.digest] as const),
    ] as const) {
      const { status, bytes } = await get(daemon, path, registry)
      assert.equal(status, 200, Buffer.from(bytes).toString())
      assert.equal(digestOf(bytes), digest)
    }
  }

  /** PEM of a server at 127.0.0.1; undefined without openssl. */
  const certificate = async () => {
    const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
    const subject = ['-subj', '/CN=hub', '-addext', 'subjectAltName=IP:127.0.0.1']
    try {
      const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
      execFileSync('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '2', ...subject], { stdio: 'pipe' })
    } catch {
      return undefined
    }
    return { certFile, tls: { key: await readFile(keyFile, 'utf8'), cert: await readFile(certFile, 'utf8') } }
  }

  it('trusts the authority that --registry-ca names, for that registry alone', async (context) => {
    const made = await certificate()
    if (made === undefined) return context.skip('no openssl')
    const { certFile, tls } = made
    await using hub = await createHub({ tls })
    await hub.publish('org/app', '1', image)
    const upstream = ['--upstream', `${REGISTRY}=${hub.registryUrl}`]
    await pulls(await run(...upstream, '--registry-ca', `${REGISTRY}=${certFile}`))
    // A client may name it as it is, too.
    const { host } = new URL(hub.registryUrl)
    const named = await run('--upstream', `${host}=${hub.registryUrl}`, '--registry-ca', `${host}=${certFile}`)
    await pulls(named, host)
    const stranger = await run(...upstream, '--registry-ca', `ghcr.io=${certFile}`)
    assert.equal((await get(stranger, 'manifests/1')).status, 404)
    const missing = ['--registry-ca', `${REGISTRY}=${join(directory, 'none.pem')}`]
    await assert.rejects(run(...missing), /of --registry-ca registry\.example cannot be used: ENOENT/)
  })

  it('names the true reason, and calls nothing private, where the registry sends for tokens without HTTPS', async (context) => {
    const made = await certificate()
    if (made === undefined) return context.skip('no openssl')
    const { certFile, tls } = made
    const challenge = { 'www-authenticate': 'Bearer realm="http://127.0.0.1:1/token",service="s"' }
    const server = createServer(tls, (_, response) => response.writeHead(401, challenge).end())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = server.address() as AddressInfo
      const flags = ['--upstream', `${REGISTRY}=https://127.0.0.1:${port}`, '--registry-ca', `${REGISTRY}=${certFile}`]
      const daemon = await run(...flags)
      const reason = /127\.0\.0\.1:\d+ sends for a token to 127\.0\.0\.1:1 without HTTPS/
      for (const headers of [{}, { authorization: `Basic ${Buffer.from('ann:pw').toString('base64')}` }]) {
        const url = `${daemon.mirror}/v2/org/app/manifests/1?ns=${REGISTRY}`
        const response = await fetch(url, { headers })
        const text = await response.text()
        assert.equal(response.status, 404, text)
        assert.match(text, reason)
        assert.doesNotMatch(text, /not public|does not show/)
      }
      assert.ok(daemon.requests().every(({ err }) => reason.test(String(err))))
      const finding = (await examine(flags, { checks: ['upstream'] })).get('upstream')
      assert.equal(finding?.level, 'warning')
      assert.match(finding.says, reason)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it('names --fallback to a client without another host, also while the registry that it leaves out is out of reach', async () => {
    const daemon = await run('--upstream', `${REGISTRY}=http://127.0.0.1:1`, '--fallback', 'docker.io')
    const ask = async (url: string) => {
      const response = await fetch(`${daemon.mirror}/v2/${url}`)
      return { status: response.status, text: await response.text() }
    }
    const named = await ask(`${REGISTRY}/org/app/manifests/1`)
    assert.equal(named.status, 403, named.text)
    assert.match(named.text, /cannot be reached.*--fallback docker\.io,registry\.example would let it/)
    assert.equal((await ask(`org/app/manifests/1?ns=${REGISTRY}`)).status, 404)
  })

  it('speaks plain HTTP where a URL says so, on this machine too, where it must be named', async () => {
    await using hub = await createHub({ tokens: false })
    await hub.publish('org/app', '1', image)
    await pulls(await run('--upstream', `${REGISTRY}=${hub.registryUrl}`))
    const { host } = new URL(hub.registryUrl)
    await pulls(await run('--upstream', `${host}=${hub.registryUrl}`), host)
    const requests = (await hub.requests()).length
    const unnamed = await fetch(`${(await run()).mirror}/v2/org/app/manifests/1?ns=${host}`)
    assert.equal(unnamed.status, 404)
    assert.match(await unnamed.text(), /only if --upstream 127\.0\.0\.1:\d+=<url> names it/)
    assert.equal((await hub.requests()).length, requests)
  })

  it('gets what is public though its own password is out of date', async () => {
    const users = [{ name: 'ann', password: 'of-this-year', mayPull: ['org/hidden'] }]
    await using hub = await createHub({ users, privateRepositories: ['org/hidden'] })
    for (const name of ['org/app', 'org/hidden']) await hub.publish(name, '1', image)
    const file = join(directory, 'config.json')
    await writeFile(file, JSON.stringify({ auths: { [REGISTRY]: { username: 'ann', password: 'of-last-year' } } }))
    const daemon = await run('--upstream', `${REGISTRY}=${hub.registryUrl}`, '--credentials-file', file)
    await pulls(daemon)
    const hidden = await fetch(`${daemon.mirror}/v2/org/hidden/manifests/1?ns=${REGISTRY}`)
    await hidden.arrayBuffer()
    assert.equal(hidden.status, 401)
    const told = daemon.lines.filter(({ msg }) => /credentials of this node|password of this node/.test(String(msg)))
    assert.deepEqual(
      told.map(({ level, registry }) => [level, registry]),
      [[40, REGISTRY]],
    )
    assert.ok(!JSON.stringify(daemon.lines).includes('of-last-year'))
  })

  it('asks it through the proxy of the environment', async () => {
    await using proxy = await startConnectProxy()
    await using hub = await createHub({ tokens: false, directBlobs: true })
    await hub.publish('org/app', '1', image)
    const before = { ...process.env }
    for (const name of PROXIES) delete process.env[name]
    process.env['HTTP_PROXY'] = proxy.url.href
    try {
      const { port } = new URL(hub.registryUrl)
      await pulls(await run('--upstream', `${REGISTRY}=http://registry.test:${port}`))
    } finally {
      for (const name of PROXIES) {
        if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
      }
    }
    assert.ok(proxy.seen.length >= 3, proxy.seen.join('\n'))
  })
})
