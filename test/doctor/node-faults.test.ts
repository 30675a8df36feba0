import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import type { DaemonLook } from '../../src/doctor/node.ts'
import type { QuotaView } from '../../src/upstream/quota/quota-view.ts'
import type { RefusedNode } from '../../src/overlay/refused-nodes.ts'
import type { NeighbourLook } from '../../src/doctor/neighbours.ts'
import { runDaemon } from '../support/daemon.ts'
import { freePort } from '../support/free-port.ts'
import { examine } from '../support/doctor.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import { makeImage } from '../support/image-maker.ts'

const SECRET = 'the secret of this cluster'

describe('the doctor at a node with one fault', () => {
  let directory: string
  let servers: Server[]

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-faults-'))
    servers = []
  })
  afterEach(async () => {
    for (const server of servers) server.close()
    await rm(directory, { recursive: true, force: true })
  })

  /** Something of somebody else that listens. Returns its address. */
  const listening = async (server: Server): Promise<string> => {
    servers.push(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return `127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const web = (listener: RequestListener) => listening(createHttpServer(listener))
  const secretFile = async (text = SECRET, mode = 0o600) => {
    const file = join(directory, 'secret')
    await writeFile(file, `${text}\n`)
    await chmod(file, mode)
    return file
  }
  const one = async (id: string, flags: readonly string[], options: Parameters<typeof examine>[1] = {}) => {
    const finding = (await examine(['--store', 'directory', ...flags], { ...options, checks: [id] })).get(id)
    assert.ok(finding, `${id} has found nothing`)
    assert.doesNotMatch(JSON.stringify(finding), new RegExp(SECRET))
    return finding
  }
  const running = (peerCount: number, refusedNodes: readonly RefusedNode[] = []): DaemonLook => ({
    state: 'running',
    ready: true,
    reasons: [],
    store: 'directory',
    listeners: {
      mirror: ['127.0.0.1:7950'],
      peer: ['127.0.0.1:7951'],
      router: ['127.0.0.1:7952'],
      admin: ['127.0.0.1:7953'],
      metrics: [],
    },
    storedBytes: 0,
    credentialTroubles: [],
    self: { address: '10.0.0.1:7951' },
    refusedNodes,
    peerCount,
  })
  const neighbour = (look: Partial<NeighbourLook> = {}): NeighbourLook => ({
    ...{ id: 'a peer', address: '10.0.0.2:7951', answer: 'ok' },
    ...look,
  })
  const nothing = { upstreams: async () => [], neighbours: async () => [], secretProbes: async () => [] }

  it('secret: readable by everybody, too short, missing, none at all', async () => {
    const daemon = { daemon: async () => running(0) }
    const options = { sources: { ...nothing, ...daemon } }
    const good = await secretFile()
    assert.equal((await one('secret', ['--cluster-secret-file', good], options)).level, 'ok')
    await chmod(good, 0o644)
    const open = await one('secret', ['--cluster-secret-file', good], options)
    assert.deepEqual([open.level, open.fix], ['warning', `chmod 600 ${good}`])
    const short = await one('secret', ['--cluster-secret-file', await secretFile('short')], options)
    assert.deepEqual([short.level, /at least 16 characters/.test(short.says)], ['error', true])
    assert.equal((await one('secret', ['--cluster-secret-file', join(directory, 'none')], options)).level, 'error')
    assert.equal((await one('secret', [], options)).level, 'warning')
  })

  it('secret: another one than the other nodes have', async () => {
    const theirs = join(directory, 'theirs')
    await writeFile(theirs, 'the secret of another cluster\n', { mode: 0o600 })
    const other = await runDaemon(['--cluster-secret-file', theirs])
    try {
      const daemon = async () => running(1)
      const neighbours = async () => [neighbour({ id: other.id, address: other.peer.replace('http://', '') })]
      const flags = ['--cluster-secret-file', await secretFile()]
      const finding = await one('secret', flags, { sources: { daemon, neighbours } })
      assert.equal(finding.level, 'error')
      assert.match(finding.says, /refuses this node: the sender does not know the cluster secret/)
      const same = await one('secret', ['--cluster-secret-file', theirs], { sources: { daemon, neighbours } })
      assert.match(same.says, /is that of the other nodes/)
    } finally {
      await other.stop()
    }
  })

  it('registries.conf: a setting that keeps tags away from Nabo, and nothing where Nabo is no mirror', async () => {
    const file = join(directory, 'registries.conf')
    const environment = { NABO_PODMAN_CONFIG_DIR: directory }
    const flags = ['--store', 'directory', '--mirror-addr', '127.0.0.1:7950', '--admin-addr', '127.0.0.1:1']
    const look = async (text: string) => {
      await writeFile(file, text)
      return (await examine(flags, { environment, checks: ['podman'] })).get('podman')
    }
    const entry = '[[registry]]\nlocation = "docker.io"\n'
    const mirror = '[[registry.mirror]]\nlocation = "localhost:7950/docker.io"\n'
    const finding = await look(`${entry}mirror-by-digest-only = true\n${mirror}`)
    assert.equal(finding?.level, 'warning')
    assert.match(
      finding.says,
      new RegExp(`^mirror-by-digest-only = true in line 3 of ${file} keeps pulls by tag from docker`),
    )
    assert.match(finding.fix ?? '', new RegExp(`^take mirror-by-digest-only = true out of line 3 of ${file}`))
    assert.equal((await look(`${entry}${mirror}`))?.level, 'ok')
    assert.equal(await look(entry), undefined)
    assert.equal((await look('[[registry'))?.level, 'unknown')
  })

  it('config_path: a list, of a containerd that does not answer and so does not tell whether it reads lists', async () => {
    const file = join(directory, 'config.toml')
    const list = `${join(directory, 'certs.d')}:/etc/docker/certs.d`
    await writeFile(file, `version = 3\n[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "${list}"\n`)
    const flags = ['--store', 'containerd', '--containerd-config', file, '--config-dir', join(directory, 'certs.d')]
    const finding = await one('config-path', [...flags, '--containerd-socket', join(directory, 'none.sock')])
    assert.equal(finding.level, 'warning')
    assert.match(finding.says, /containerd does not answer, and containerd from 2\.1 on takes the list/)
  })

  it('ports: taken by another program, free, and a Nabo that the flags do not fit', async () => {
    const taken = await web((_request, response) => response.end('hello'))
    const free = ['--peer-addr', '127.0.0.1:1', '--router-addr', '127.0.0.1:1', '--admin-addr', '127.0.0.1:1']
    const busy = await one('ports', [...free, '--mirror-addr', taken])
    assert.equal(busy.level, 'error')
    assert.match(busy.says, new RegExp(`another program listens on ${taken} \\(--mirror-addr\\)`))
    assert.match(busy.fix ?? '', /ss -ltnp .* or choose another --mirror-addr/)
    assert.match((await one('ports', [...free, '--mirror-addr', '127.0.0.1:1'])).says, /its ports are free/)
    for (const flag of ['--peer-addr', '--router-addr', '--admin-addr', '--metrics-addr']) {
      const { says } = await one('ports', [...free, '--mirror-addr', '127.0.0.1:1', flag, taken])
      assert.match(says, new RegExp(`another program listens on ${taken} \\(${flag}\\)`))
    }
    const daemon = await runDaemon()
    try {
      const mirror = daemon.mirror.replace('http://', '')
      const hidden = await one('ports', [...free, '--mirror-addr', mirror])
      assert.deepEqual([hidden.level, /a Nabo answers at/.test(hidden.says)], ['warning', true])
      const admin = daemon.admin.replace('http://', '')
      assert.equal((await one('ports', ['--admin-addr', admin])).level, 'ok')
    } finally {
      await daemon.stop()
    }
  })

  it('ports: every listener of a daemon, and which of them does not answer or is not there', async () => {
    const metrics = `127.0.0.1:${await freePort()}`
    const router = `127.0.0.1:${await freePort()}`
    const daemon = await runDaemon(['--metrics-addr', metrics, '--router-addr', router])
    try {
      const flags = ['--admin-addr', daemon.admin.replace('http://', ''), '--router-addr', router]
      const all = await one('ports', [...flags, '--metrics-addr', metrics])
      assert.equal(all.level, 'ok', all.says)
      for (const name of ['mirror', 'peer', 'admin'])
        assert.match(all.says, new RegExp(`127\\.0\\.0\\.1:\\d+ \\(${name}\\)`))
      for (const own of [`${metrics} (metrics)`, `${router} (router)`]) assert.ok(all.says.includes(own), all.says)
      const look = running(0)
      assert.ok(look.state === 'running')
      const listeners = { mirror: [metrics], peer: [metrics], admin: [metrics], router: ['127.0.0.1:1'], metrics: [] }
      const deaf = await one('ports', [], { sources: { daemon: async () => ({ ...look, listeners }) } })
      assert.deepEqual([deaf.level, deaf.says], ['error', 'Nabo runs, but nothing answers at 127.0.0.1:1 (router)'])
      const sources = { daemon: async () => ({ ...look, listeners: { ...listeners, router: [router] } }) }
      const without = await one('ports', ['--metrics-addr', metrics], { sources })
      assert.equal(without.level, 'warning')
      assert.ok(without.says.endsWith(`but not on ${metrics} (--metrics-addr)`), without.says)
    } finally {
      await daemon.stop()
    }
  })

  it('peers: none though there should be, and why', async () => {
    const daemon = async () => running(0)
    const deaf = createServer((connection) => connection.resume())
    const open = await listening(deaf)
    const reached = await one('peers', ['--bootstrap', `static:${open}`], { sources: { daemon } })
    assert.deepEqual([reached.level, /can be reached/.test(reached.says)], ['warning', true])
    const closed = await one('peers', ['--bootstrap', 'static:127.0.0.1:1'], { sources: { daemon } })
    assert.deepEqual([closed.level, /127\.0\.0\.1:1 cannot be reached/.test(closed.says)], ['warning', true])
    const own = ['--bootstrap', 'static:127.0.0.1:7952']
    assert.match((await one('peers', own, { sources: { daemon } })).says, /names this node alone/)
    assert.match((await one('peers', [], { sources: { daemon } })).says, /this node is alone/)
    const silent = neighbour({ answer: 'none', failure: 'it cannot be reached: connect ECONNREFUSED' })
    const lost = { daemon: async () => running(4), neighbours: async () => [neighbour(), silent] }
    const unreached = await one('peers', own, { sources: lost })
    assert.equal(unreached.level, 'warning')
    assert.match(
      unreached.says,
      /^no answer from 1 of 2 other nodes: 10\.0\.0\.2:7951: it cannot be reached: connect ECONNREFUSED$/,
    )
  })

  it('clock: apart from that of a registry, and of another node', async () => {
    await using hub = await createHub()
    const flags = ['--upstream', `docker.io=${hub.registryUrl}`, '--cluster-secret-file', await secretFile()]
    assert.equal((await one('clock', flags)).level, 'ok')
    await hub.setFaults({ dateOffsetMs: 5 * 60_000 })
    const some = await one('clock', flags)
    assert.deepEqual([some.level, /5 minutes behind that of 127\.0\.0\.1/.test(some.says)], ['warning', true])
  })

  it('clock: the majority is right, and of two clocks nobody can tell', async () => {
    const hour = 3_600_000
    for (const [others, level, says] of [
      [[hour], 'warning', /60 minutes behind that of node 0$/],
      [[0, hour], 'ok', /agrees with most of 2 others; it is 60 minutes behind that of node 1$/],
      [[-hour, 500, -hour], 'warning', /60 minutes ahead of that of node 0 and others$/],
      [[0, -hour, 0], 'ok', /60 minutes ahead of that of node 1$/],
      [[100, -100], 'ok', /agrees with those of 2 others$/],
    ] as const) {
      const neighbours = others.map((clockAheadMs, i) => neighbour({ address: `node ${i}`, clockAheadMs }))
      const sources = { ...nothing, daemon: async () => running(9), neighbours: async () => neighbours }
      const finding = await one('clock', [], { sources })
      assert.equal(finding.level, level, finding.says)
      assert.match(finding.says, says)
    }
  })

  it('refused nodes: by their secret, or by their version', async () => {
    const flags = ['--cluster-secret-file', await secretFile()]
    const look = (peers: number, mismatch: 'secret' | 'version') => ({
      sources: { ...nothing, daemon: async () => running(peers, [{ host: '10.0.0.9', mismatch }]) },
    })
    const healthy = await one('secret', flags, look(1, 'secret'))
    assert.deepEqual([healthy.level, healthy.says.startsWith('10.0.0.9 has another cluster secret')], ['warning', true])
    assert.match(healthy.fix ?? '', /sha256sum/)
    assert.equal((await one('secret', flags, look(0, 'secret'))).level, 'error')
    const other = await one('peers', flags, look(1, 'version'))
    assert.deepEqual([other.level, /10\.0\.0\.9 cannot join: the version/.test(other.says)], ['warning', true])
  })

  it('reachable: what the other nodes say', async () => {
    const cannotReachUs = '10.0.0.1:7951 cannot be reached: connect ECONNREFUSED'
    const at = (address: string, failure?: string) => neighbour({ address, cannotReachUs: failure })
    const look = (...all: NeighbourLook[]) =>
      one('reachable', [], { sources: { ...nothing, daemon: async () => running(9), neighbours: async () => all } })
    assert.equal((await look(at('10.0.0.2:7951'))).level, 'ok')
    const some = await look(at('10.0.0.2:7951'), at('10.0.0.3:7951', cannotReachUs))
    assert.equal(some.level, 'warning')
    assert.match(some.says, /^1 of 2 other nodes cannot reach this one at 10\.0\.0\.1:7951: .*ECONNREFUSED/)
    assert.deepEqual(some.seenBy, ['10.0.0.3:7951'])
    assert.match(some.fix ?? '', /port 7951.*--advertise-addr/)
    assert.equal((await look(at('10.0.0.3:7951', cannotReachUs))).level, 'error')
    const daemon = (port: string) => async (): Promise<DaemonLook> => {
      const look = running(1)
      assert.ok(look.state === 'running')
      const listeners = { ...look.listeners, peer: [port], router: [] }
      return { ...look, self: { address: '127.0.0.1:7951' }, listeners }
    }
    const loopback = await one('reachable', [], { sources: { ...nothing, daemon: daemon('[::]:7951') } })
    assert.deepEqual([loopback.level, /127\.0\.0\.1:7951, which is loopback/.test(loopback.says)], ['warning', true])
    assert.match(loopback.fix ?? '', /--advertise-addr/)
    const here = { ...nothing, daemon: daemon('127.0.0.1:7951'), neighbours: async () => [neighbour()] }
    assert.equal((await one('reachable', [], { sources: here })).level, 'ok')
  })

  it('registries: one that does not answer, and one that is ill', async () => {
    const gone = await one('upstream', ['--upstream', 'docker.io=http://127.0.0.1:1'])
    assert.deepEqual([gone.level, /127\.0\.0\.1:1 cannot be used: .*ECONNREFUSED/.test(gone.says)], ['warning', true])
    const unusable = await one('upstream', ['--credentials-file', join(directory, 'none')])
    assert.deepEqual(
      [unusable.level, /Nabo cannot start: .*none.* cannot be read/.test(unusable.says)],
      ['error', true],
    )
    const ill = await web((_request, response) => response.writeHead(502).end())
    assert.match((await one('upstream', ['--upstream', `docker.io=http://${ill}`])).says, /it answered 502/)
    const odd = await web((_request, response) =>
      response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token"' }).end(),
    )
    assert.match(
      (await one('upstream', ['--upstream', `docker.io=http://${odd}`])).says,
      /cannot be used: .* wants a token, and names no URL where to get one/,
    )
  })

  it('quota: what the registry says, without using any, and when little or nothing is left', async () => {
    await using hub = await createHub({ quota: { anonymous: 100 } })
    await hub.publish('ratelimitpreview/test', 'latest', makeImage({ layers: [{ size: 100, seed: 'quota' }] }))
    const flags = ['--upstream', `docker.io=${hub.registryUrl}`, '--admin-addr', '127.0.0.1:1']
    const finding = await one('quota', flags)
    assert.equal(finding.level, 'ok', finding.says)
    assert.match(finding.says, /^100 of 100 pulls in 6 hours are left/)
    const gets = (await hub.requests()).filter(({ method, path }) => method === 'GET' && path.includes('/manifests/'))
    assert.deepEqual(gets, [])
    await hub.setFaults(everywhere({ down: true }))
    const unasked = await one('quota', flags)
    await hub.setFaults(everywhere({}))
    assert.equal(unasked.level, 'unknown')
    assert.match(unasked.says, /docker\.io does not say whether it counts pulls: 127\.0\.0\.1:\d+ cannot be reached/)
    await using closed = await createHub({ quota: { anonymous: 100 } })
    const refused = await one('quota', ['--upstream', `docker.io=${closed.registryUrl}`, '--admin-addr', '127.0.0.1:1'])
    assert.equal(refused.level, 'unknown')
    assert.match(refused.says, /docker\.io does not say whether it counts pulls: \S+ denies access: 401/)
    const view: QuotaView = {
      registry: 'docker.io',
      host: 'registry-1.docker.io',
      source: '192.0.2.1',
      limit: 100,
      remaining: 0,
      windowSeconds: 21_600,
      asOf: Date.now(),
      endsAt: Date.now() + 3_600_000,
    }
    const used = await one('quota', flags, { sources: { quotas: async () => [view] } })
    assert.match(used.says, /used up: 0 of 100 pulls in 6 hours are left at registry-1\.docker\.io for 192\.0\.2\.1/)
    const little = await one('quota', flags, { sources: { quotas: async () => [{ ...view, remaining: 9 }] } })
    assert.match(little.says, /runs out/)
  })

  it('loop: an upstream, a proxy or a server that is the mirror itself', async () => {
    const daemon = await runDaemon()
    try {
      const mirror = daemon.mirror.replace('http://', '')
      const admin = ['--admin-addr', daemon.admin.replace('http://', '')]
      const upstream = await one('loop', [...admin, '--upstream', `docker.io=${daemon.mirror}`])
      assert.deepEqual([upstream.level, /is a Nabo itself/.test(upstream.says)], ['error', true])
      const named = await one(
        'loop',
        [...admin, '--upstream', `docker.io=http://mirror.example:${mirror.split(':')[1]}`],
        {
          sources: { upstreams: async () => [], resolve: async () => ['127.0.0.1'] },
        },
      )
      assert.match(named.says, /mirror\.example:\d+, which Nabo asks for docker\.io, is this node's own mirror/)
      const proxy = await one('loop', [...admin, '--upstream', 'docker.io=https://hub.example'], {
        sources: nothing,
        environment: { HTTPS_PROXY: `http://user:password@${mirror}` },
      })
      assert.match(proxy.says, /proxy .* own mirror/)
      assert.doesNotMatch(JSON.stringify(proxy), /password/)
    } finally {
      await daemon.stop()
    }
  })

  it('content: a cache that cannot be written', async () => {
    const file = join(directory, 'file')
    await writeFile(file, '')
    const finding = await one('content', ['--cache-dir', file])
    assert.deepEqual([finding.level, finding.fix], ['error', '--cache-dir <a directory>'])
    assert.equal((await one('content', ['--cache-dir', join(directory, 'new/cache')])).level, 'ok')
    assert.equal((await one('space', ['--cache-dir', join(directory, 'new/cache')])).title, 'free space')
  })

  it('space: a cache that may take more than the disk has, before the first start too', async () => {
    const cache = join(directory, 'cache')
    await mkdir(join(cache, 'blobs/sha256'), { recursive: true })
    await writeFile(join(cache, 'blobs/sha256/a'), Buffer.alloc(3 * 2 ** 20))
    const alone = { daemon: async () => ({ state: 'absent' }) as const }
    const finding = await one('space', ['--cache-dir', cache, '--cache-size', '4096TiB'], { sources: alone })
    assert.equal(finding.level, 'warning')
    assert.match(finding.says, /^the cache may take \d+ GiB \(--cache-size\), but .* beside 3 MiB in the cache$/)
    assert.match(finding.fix ?? '', /^set --cache-size below /)
  })

  it('gives up a check that hangs, and one that breaks, and makes the others', async () => {
    const findings = await examine(['--store', 'directory'], {
      checks: ['content', 'upstream', 'ports', 'clock'],
      timeout: 300,
      sources: {
        upstreams: () => new Promise(() => {}),
        daemon: () => Promise.reject(new Error('it broke')),
        neighbours: async () => [],
      },
    })
    assert.match(findings.get('upstream')?.says ?? '', /could not be checked: the check took longer than 300 ms/)
    assert.match(findings.get('ports')?.says ?? '', /could not be checked: it broke/)
    assert.equal(findings.get('clock')?.level, 'unknown')
  })
})
