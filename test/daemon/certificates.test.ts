// Certificates of registries: of the system, of containerd's hosts.toml, and of the flags.
import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { createServer, type Server, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'

import { TestAuthority, hasOpenssl } from '../support/certificates.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { examine } from '../support/doctor.ts'
import { createHub } from '../support/hub/create-hub.ts'
import { type Hub, PUBLIC_MIRROR } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'

const REGISTRY = 'registry.test'

describe('the certificates of registries', { skip: hasOpenssl ? false : 'no openssl' }, () => {
  let hub: Hub
  let image: Image
  let directory: string
  let daemons: TestDaemon[] = []
  let servers: Server[] = []
  let count = 0

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-certificates-'))
    image = makeImage({ layers: [{ size: 50_000, seed: 'certificates' }] })
    hub = await createHub(PUBLIC_MIRROR)
    await hub.publish('app', '1', image)
  })
  after(async () => {
    await hub.close()
    await rm(directory, { recursive: true })
  })
  afterEach(async () => {
    for (const daemon of daemons) await daemon.stop()
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
    daemons = []
    servers = []
  })

  const run = async (...flags: readonly string[]) => {
    const daemon = await runDaemon(flags)
    daemons.push(daemon)
    return daemon
  }
  /** The hub behind TLS; an authority that nothing else of this process trusts. */
  const secured = async (options: ServerOptions = {}, address?: string) => {
    const authority = await TestAuthority.create(directory, `company-${(count += 1)}`)
    const { key, cert } = await authority.issue('registry', address)
    const server = createServer({ key, cert, ...options }, (asked, answer) => {
      const { headers, method } = asked
      const passed = request(`${hub.registryUrl}${asked.url}`, { headers, method }, (response) => {
        answer.writeHead(response.statusCode ?? 502, response.headers)
        response.pipe(answer)
      })
      passed.end()
    })
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    return {
      authority,
      url: `https://127.0.0.1:${port}`,
      upstream: ['--upstream', `${REGISTRY}=https://127.0.0.1:${port}`],
    }
  }
  const hostsToml = async (text: string) => {
    const configDir = join(directory, `certs-${(count += 1)}`)
    await mkdir(join(configDir, REGISTRY), { recursive: true })
    await writeFile(join(configDir, REGISTRY, 'hosts.toml'), text)
    return configDir
  }
  const manifest = async ({ mirror }: TestDaemon) => {
    const accept = { accept: image.root.descriptor.mediaType }
    const answer = await fetch(`${mirror}/v2/library/app/manifests/1?ns=${REGISTRY}`, { headers: accept })
    await answer.arrayBuffer()
    return answer.status
  }
  const tlsLines = ({ lines }: TestDaemon) => lines.filter(({ msg }) => msg === 'a registry cannot be asked over TLS')

  it('of an unknown authority are reported with cause and fix, also for a registry that is not fetched from', async () => {
    const { upstream } = await secured()
    const daemon = await run(...upstream)
    for (const expected of [404, 404]) assert.equal(await manifest(daemon), expected)
    const [line, ...others] = tlsLines(daemon)
    assert.deepEqual(others, [])
    assert.equal(line?.['registry'], REGISTRY)
    assert.match(String(line?.['err']), /an authority that this node does not trust \(\w+\)$/)
    assert.doesNotMatch(String(line?.['err']), /Node\.js/)
    assert.match(String(line?.['fix']), /--registry-ca registry\.test=<file> or as ca in the registry's hosts\.toml/)
    const look = await examine(upstream, { checks: ['upstream'] })
    assert.match(look.get('upstream')?.says ?? '', /an authority that this node does not trust/)
  })

  it('count if the system trusts their authority', async (context) => {
    const before = { file: process.env['SSL_CERT_FILE'], directory: process.env['SSL_CERT_DIR'] }
    context.after(() => {
      for (const [name, value] of [
        ['SSL_CERT_FILE', before.file],
        ['SSL_CERT_DIR', before.directory],
      ] as const) {
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      }
    })
    for (const name of ['SSL_CERT_FILE', 'SSL_CERT_DIR']) {
      const { authority, upstream } = await secured()
      const flags = [...upstream, '--fallback', REGISTRY]
      assert.equal(await manifest(await run(...flags)), 404)
      const store = join(directory, `store-${(count += 1)}`)
      await mkdir(store)
      await cp(authority.caFile, join(store, 'company.crt'))
      process.env['SSL_CERT_FILE'] = name === 'SSL_CERT_FILE' ? authority.caFile : join(store, 'none')
      process.env['SSL_CERT_DIR'] = name === 'SSL_CERT_DIR' ? store : join(store, 'none')
      const daemon = await run(...flags)
      assert.equal(await manifest(daemon), 200, name)
      const missing = name === 'SSL_CERT_DIR' ? 'SSL_CERT_FILE' : 'SSL_CERT_DIR'
      assert.ok(
        daemon.lines.some(({ msg }) => String(msg).startsWith(`${missing} names`)),
        name,
      )
    }
    const [{ caFile }, empty] = [await TestAuthority.create(directory, 'of the system'), join(directory, 'empty')]
    await mkdir(empty)
    process.env['SSL_CERT_FILE'] = caFile
    process.env['SSL_CERT_DIR'] = empty
    const found = (await examine(['--store', 'directory'], { checks: ['certificates'] })).get('certificates')
    const says = `Nabo trusts the authorities of Node; 1 more of the system, from ${caFile}`
    assert.deepEqual([found?.level, found?.says], ['ok', says])
  })

  it('count if the ca of hosts.toml has signed them: a neighbour then gives what it holds', async () => {
    const { authority, url, upstream } = await secured()
    const holder = await run(...upstream, '--fallback', REGISTRY, '--registry-ca', `${REGISTRY}=${authority.caFile}`)
    assert.equal(await manifest(holder), 200)
    const text = `server = "${url}"\nca = "ca.crt"\n`
    const configDir = await hostsToml(text)
    await cp(authority.caFile, join(configDir, REGISTRY, 'ca.crt'))
    const bootstrap = ['--bootstrap', `static:${holder.router}`]
    const other = await run(...upstream, ...bootstrap, '--config-dir', configDir)
    await eventually('they know each other', async () => (await other.status()).peers === 1)
    await eventually('the neighbour gives it', async () => (await manifest(other)) === 200)
    assert.deepEqual(tlsLines(other), [])
    const findings = await examine([...upstream, '--config-dir', configDir], { checks: ['certificates'] })
    const { level, says } = findings.get('certificates') ?? assert.fail()
    assert.equal(level, 'ok', says)
    assert.ok(says.includes(`for ${REGISTRY}, the authority ${join(configDir, REGISTRY, 'ca.crt')}`), says)
  })

  it('are shown to a registry that wants one, from every form of client and from the flag', async () => {
    const clients = await TestAuthority.create(directory, 'clients')
    const own = await clients.issue('node')
    const both = join(directory, 'both.pem')
    await writeFile(both, own.cert + own.key)
    const options = { ca: await readFile(clients.caFile), requestCert: true, rejectUnauthorized: true }
    const { authority, url, upstream } = await secured(options)
    const flags = [...upstream, '--fallback', REGISTRY]
    for (const client of [`"${both}"`, `["${both}"]`, `[["${own.certFile}", "${own.keyFile}"]]`, `[["${both}", ""]]`]) {
      const configDir = await hostsToml(`[host."${url}"]\nca = ["${authority.caFile}"]\nclient = ${client}\n`)
      assert.equal(await manifest(await run(...flags, '--config-dir', configDir)), 200, client)
    }
    const ca = ['--registry-ca', `${REGISTRY}=${authority.caFile}`]
    for (const files of [both, `${own.certFile},${own.keyFile}`]) {
      const daemon = await run(...flags, ...ca, '--registry-client-cert', `${REGISTRY}=${files}`)
      assert.equal(await manifest(daemon), 200, files)
    }
    const shown = [...ca, '--registry-client-cert', `${REGISTRY}=${own.certFile},${own.keyFile}`]
    const found = (await examine([...upstream, ...shown], { checks: ['certificates'] })).get('certificates')
    const says = `for ${REGISTRY}, the authority ${authority.caFile} and the client certificate ${own.certFile}`
    assert.ok(found?.level === 'ok' && found.says.endsWith(says), JSON.stringify(found))
    // In TLS 1.3 the server of Node closes the connection without an alert.
    const older = await secured({ ...options, maxVersion: 'TLSv1.2' })
    const olderCa = ['--registry-ca', `${REGISTRY}=${older.authority.caFile}`]
    const without = await run(...older.upstream, '--fallback', REGISTRY, ...olderCa)
    assert.equal(await manifest(without), 404)
    assert.match(String(tlsLines(without)[0]?.['fix']), /--registry-client-cert registry\.test=/)
    await assert.rejects(
      run(...flags, '--registry-client-cert', `${REGISTRY}=${own.certFile}`),
      /the client certificate .*node\.pem of --registry-client-cert registry\.test cannot be used/,
    )
  })

  it('are not checked where skip_verify says so, for that host alone', async () => {
    const { url, upstream } = await secured()
    const other = await secured()
    const text = `[host."${url}"]\nskip_verify = true\n`
    const configDir = await hostsToml(text)
    const flags = ['--fallback', REGISTRY, '--config-dir', configDir]
    const daemon = await run(...upstream, ...flags)
    assert.equal(await manifest(daemon), 200)
    assert.ok(daemon.lines.some(({ level, msg }) => level === 40 && /is not checked: skip_verify in/.test(String(msg))))
    assert.equal(await manifest(await run(...other.upstream, ...flags)), 404)
    const findings = await examine([...upstream, ...flags], { checks: ['certificates'] })
    const { level, says, fix } = findings.get('certificates') ?? assert.fail()
    assert.deepEqual(
      [level, /not checked: skip_verify in/.test(says), /ca = /.test(fix ?? '')],
      ['warning', true, true],
    )
    // For every registry that a client may name, that would be too much.
    const defaults = join(directory, `certs-${(count += 1)}`)
    await mkdir(join(defaults, '_default'), { recursive: true })
    await writeFile(join(defaults, '_default/hosts.toml'), text)
    assert.equal(await manifest(await run(...upstream, '--fallback', REGISTRY, '--config-dir', defaults)), 404)
  })

  it('that are missing or broken leave a line in the log and in doctor, and nothing else stops', async () => {
    const { authority, url, upstream } = await secured()
    const broken = join(directory, 'broken.pem')
    await writeFile(broken, 'no certificate')
    const files = `ca = ["${authority.caFile}", "${broken}", "gone.crt"]\nclient = "${broken}"\n`
    const configDir = await hostsToml(`server = "${url}"\n${files}`)
    const flags = [...upstream, '--fallback', REGISTRY, '--config-dir', configDir]
    const daemon = await run(...flags)
    assert.equal(await manifest(daemon), 200)
    const said = daemon.lines.filter(({ level }) => level === 40).map(({ msg }) => String(msg))
    for (const pattern of [
      /authority .*broken\.pem of .*not PEM/,
      /gone\.crt of .*ENOENT/,
      /client certificate .*not PEM/,
    ])
      assert.equal(said.filter((text) => pattern.test(text)).length, 1, String(pattern))
    const findings = await examine(flags, { checks: ['certificates'] })
    const { level, says } = findings.get('certificates') ?? assert.fail()
    assert.deepEqual([level, /broken\.pem/.test(says), /gone\.crt/.test(says)], ['warning', true, true], says)
  })

  it('that name another host, and a registry without TLS, are told apart', async () => {
    const named = await secured({}, '127.0.0.9')
    const ca = ['--registry-ca', `${REGISTRY}=${named.authority.caFile}`]
    const daemon = await run(...named.upstream, ...ca)
    assert.equal(await manifest(daemon), 404)
    assert.match(String(tlsLines(daemon)[0]?.['err']), /is for other names/)
    const plain = await run('--upstream', `${REGISTRY}=${hub.registryUrl.replace('http:', 'https:')}`)
    assert.equal(await manifest(plain), 404)
    assert.ok(String(tlsLines(plain)[0]?.['fix']).includes(`--upstream ${REGISTRY}=${hub.registryUrl}`))
  })
})
