import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { lstat, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { ownPlatform } from '../../src/oci/platform.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { NamedRegistries } from '../support/named-registries.ts'
import { eventually } from '../support/poll.ts'
import { fetchOver } from '../support/socket-fetch.ts'

const ANN = { name: 'ann', password: 'kept-to-herself', mayPull: ['org/hidden'] }
const NOBODY = 65_534

interface Answer {
  readonly status: number
  readonly body: string
}

/** A GET with headers that fetch() does not let through. */
async function get(url: string, headers: Record<string, string> = {}): Promise<Answer> {
  const sent = request(url, { headers, agent: false })
  sent.end()
  const [response] = (await once(sent, 'response')) as [AsyncIterable<Buffer> & { statusCode: number }]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return { status: response.statusCode, body: Buffer.concat(chunks).toString() }
}

function isRefusal({ status, body }: Answer, message: RegExp): void {
  assert.equal(status, 403, body)
  const { errors } = JSON.parse(body) as { errors: { code: string; message: string }[] }
  assert.equal(errors[0]?.code, 'DENIED')
  assert.match(errors[0]?.message ?? '', message)
}

describe('a daemon on a machine with other users and browsers', () => {
  let hub: Hub
  let daemon: TestDaemon
  let shown: Image
  let hidden: Image

  before(async () => {
    hub = await createHub({ users: [ANN], privateRepositories: ['org/hidden'] })
    shown = makeImage({ layers: [{ size: 30_000, seed: 'shown' }] })
    hidden = makeImage({ layers: [{ size: 30_000, seed: 'hidden' }] })
    await hub.publish('library/app', '1', shown)
    await hub.publish('org/hidden', '1', hidden)
    daemon = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`, '--allowed-host', 'Mirror.Example'])
    const authorization = `Basic ${Buffer.from(`${ANN.name}:${ANN.password}`).toString('base64')}`
    for (const path of ['manifests/1', `blobs/${hidden.layers[0]?.descriptor.digest}`]) {
      const pulled = await get(`${daemon.mirror}/v2/org/hidden/${path}`, { authorization })
      assert.equal(pulled.status, 200, pulled.body)
    }
  })
  after(async () => {
    await daemon.stop()
    await hub.close()
  })

  const listeners = () => [`${daemon.mirror}/v2/`, `${daemon.admin}/api/v1/status`, `${daemon.admin}/`]

  it('refuses a page that reached it by DNS rebinding', async () => {
    for (const url of listeners()) {
      const { port } = new URL(url)
      for (const host of [
        'evil.example',
        `evil.example:${port}`,
        '192.0.2.7',
        `[2001:db8::1]:${port}`,
        'localhost.evil.example',
        'x@localhost',
        '[fe80::1%eth0]',
        '[::1%25lo]:7950',
      ])
        isRefusal(await get(url, { host }), /is not a name of this listener: --allowed-host/)
    }
  })

  it('answers by its own names whatever the port', async () => {
    for (const url of listeners())
      for (const host of [
        'localhost',
        'LOCALHOST:1',
        'localhost.',
        '127.0.0.1:80',
        '127.9.9.9',
        '[::1]:7950',
        '[0:0:0:0:0:0:0:1]',
        'mirror.example:443',
        'MIRROR.example.',
      ])
        assert.equal((await get(url, { host })).status, 200, host)
  })

  it('compares names in one spelling', async () => {
    const other = await runDaemon([
      ...['--mirror-addr', 'LOCALHOST:0', '--allowed-host', 'foo.example., [FD00:0:0::7]', '--allowed-host', 'FD00::8'],
      ...['--admin-socket', 'none'],
    ])
    try {
      for (const host of ['localhost:1', 'FOO.example', 'foo.example.', '[fd00::7]:80', '[FD00:0::8]', '127.0.0.1'])
        assert.equal((await get(`${other.mirror.replace('LOCALHOST', '127.0.0.1')}/v2/`, { host })).status, 200, host)
    } finally {
      await other.stop()
    }
  })

  it('answers a client of HTTP/1.0, which sends no Host', async () => {
    const { hostname, port } = new URL(daemon.mirror)
    const socket = connect(Number(port), hostname)
    socket.end('GET /v2/ HTTP/1.0\r\n\r\n')
    let text = ''
    for await (const chunk of socket) text += String(chunk)
    assert.match(text, /^HTTP\/1\.1 200 /)
  })

  it('refuses what a page of another site sends', async () => {
    for (const url of listeners()) {
      isRefusal(await get(url, { 'sec-fetch-site': 'cross-site' }), /a page of another site/)
      for (const origin of ['http://evil.example', 'https://localhost.evil.example', 'null', 'file://'])
        isRefusal(await get(url, { origin }), /comes from a page of/)
      for (const headers of [
        { 'sec-fetch-site': 'same-origin' },
        { 'sec-fetch-site': 'none' },
        { origin: 'http://localhost:3000' },
        { origin: 'http://127.0.0.1:7953' },
      ])
        assert.equal((await get(url, headers)).status, 200)
    }
  })

  it('answers probes and metrics under any name', async () => {
    for (const path of ['/livez', '/readyz', '/metrics', '/metrics?x=1'])
      for (const headers of [{ host: 'evil.example' }, { 'sec-fetch-site': 'cross-site' }])
        assert.equal((await get(`${daemon.admin}${path}`, headers)).status, 200)
  })

  it('refuses over TCP commands that start work on other nodes or spend a quota', async () => {
    const response = await fetch(`${daemon.admin}/api/v1/warm`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'nabo-command': '1' },
      body: JSON.stringify({ reference: 'app:1' }),
    })
    isRefusal({ status: response.status, body: await response.text() }, /Unix socket.*--admin-socket/)
    const asked = await get(`${daemon.admin}/api/v1/find?reference=app:1&upstream=true`, { 'nabo-command': '1' })
    isRefusal(asked, /Unix socket/)
  })

  it('finds public images over TCP, and all images over the socket', async () => {
    const digest = hidden.layers[0]?.descriptor.digest ?? assert.fail()
    const find = (reference: string) => `/api/v1/find?reference=${encodeURIComponent(reference)}`
    const found = await get(`${daemon.admin}${find('app:1')}`)
    assert.equal(found.status, 200, found.body)
    assert.match(found.body, new RegExp(shown.root.descriptor.digest))
    const refusals = []
    for (const reference of [
      'org/hidden:1',
      `org/hidden@${hidden.root.descriptor.digest}`,
      'org/none:1',
      'org/hidden:2',
    ]) {
      const { status, body } = await get(`${daemon.admin}${find(reference)}`)
      assert.equal(status, 403, body)
      refusals.push(body)
    }
    assert.equal(new Set(refusals).size, 1, 'whether an image exists does not show')
    isRefusal(await get(`${daemon.admin}${find(digest)}`), /may belong to a private image/)
    assert.doesNotMatch(refusals.join(''), /sha256:/)
    for (const reference of [`org/hidden@${hidden.root.descriptor.digest}`, digest]) {
      const answer = await fetchOver(daemon.adminSocket, find(reference))
      assert.equal(answer.status, 200)
      assert.match(await answer.text(), new RegExp(digest))
    }
  })

  it('finds over TCP nothing that only a registry of an attacker vouches for', async () => {
    await using registries = await NamedRegistries.start(['evil.test'])
    const { name: evil, registry } = await registries.add('evil.test')
    const type = 'application/vnd.oci.image.index.v1+json'
    const platform = { os: 'linux', architecture: ownPlatform().architecture }
    const manifests = [{ ...hidden.root.descriptor, platform }]
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, manifests }))
    const root = { bytes, descriptor: { mediaType: type, size: bytes.length, digest: digestOf(bytes) } }
    const made = { ...shown, index: undefined, layers: [], blobs: [] }
    registry.publish('x/index', '1', { ...made, root, manifest: root, manifests: [root] })
    registry.publish('x/claimed', '1', { ...made, root: hidden.root, manifest: hidden.root, manifests: [hidden.root] })
    for (const fallback of ['docker.io', 'all']) {
      const flags = ['--upstream', `docker.io=${hub.registryUrl}`, '--fallback', fallback]
      const victim = await runDaemon([...flags, ...registries.flags])
      try {
        const authorization = `Basic ${Buffer.from(`${ANN.name}:${ANN.password}`).toString('base64')}`
        await get(`${victim.mirror}/v2/org/hidden/manifests/1`, { authorization })
        await get(`${victim.mirror}/v2/x/index/manifests/1?ns=${evil}`)
        for (const image of [`x/claimed@${hidden.root.descriptor.digest}`, 'x/claimed:1', 'x/index:1']) {
          const path = `/api/v1/find?reference=${encodeURIComponent(`${evil}/${image}`)}`
          isRefusal(await get(`${victim.admin}${path}`), /private or does not exist/)
        }
      } finally {
        await victim.stop()
      }
    }
  })

  it('lists over TCP no transfer of a private image', async () => {
    const large = makeImage({ layers: [{ size: 4_000_000, seed: 'large and hidden' }] })
    await hub.publish('org/hidden', 'large', large)
    await hub.setFaults({ cdn: { bytesPerSecond: 200_000 } })
    const authorization = `Basic ${Buffer.from(`${ANN.name}:${ANN.password}`).toString('base64')}`
    const layer = large.layers[0]?.descriptor.digest ?? assert.fail()
    const controller = new AbortController()
    const pulling = fetch(`${daemon.mirror}/v2/org/hidden/blobs/${layer}`, {
      headers: { authorization },
      signal: controller.signal,
    })
    try {
      await eventually('the operator sees it', async () =>
        (await (await fetchOver(daemon.adminSocket, '/api/v1/status')).text()).includes(layer),
      )
      for (const path of ['/api/v1/status', '/'])
        assert.doesNotMatch((await get(`${daemon.admin}${path}`)).body, new RegExp(`${layer}|org/hidden`))
    } finally {
      controller.abort()
      await pulling.then((response) => response.body?.cancel()).catch(() => {})
      await hub.setFaults({})
    }
  })

  it('has a socket that other users cannot open', async (t) => {
    const { mode } = await lstat(daemon.adminSocket)
    assert.equal(mode & 0o777, 0o600)
    if (process.getuid?.() !== 0) return t.skip('only root can become another user')
    // The directory is open to all: it is the socket that keeps others out.
    const ask = `require('node:http').get({socketPath: process.argv[1], path: '/api/v1/status'}, (r) => process.exit(0)).on('error', (e) => { console.log(e.code); process.exit(1) })`
    const codes = await Promise.all(
      [0, NOBODY].map(async (uid) => {
        const child = spawn(process.execPath, ['-e', ask, daemon.adminSocket], { uid, gid: uid, cwd: '/' })
        let said = ''
        child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
        await once(child, 'close')
        return said.trim()
      }),
    )
    assert.deepEqual(codes, ['', 'EACCES'])
  })
})

describe('the socket of a daemon', () => {
  let directory: string
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-sockets-'))
  })
  after(() => rm(directory, { recursive: true, force: true }))

  const flags = (path: string) => ['--admin-socket', path]

  it('is removed when the daemon stops, and replaced when a killed one left it behind', async () => {
    const path = join(directory, 'deep', 'down', 'admin.sock')
    const first = await runDaemon(flags(path))
    assert.equal((await fetchOver(path, '/livez')).status, 200)
    await first.stop()
    await assert.rejects(lstat(path), { code: 'ENOENT' })
    await leaveStale(path)
    const second = await runDaemon(flags(path))
    assert.equal((await fetchOver(path, '/livez')).status, 200)
    await second.stop()
  })

  it('is not taken from another daemon, nor put in the place of a file', async () => {
    const path = join(directory, 'taken.sock')
    const first = await runDaemon(flags(path))
    try {
      await assert.rejects(runDaemon(flags(path)), /taken\.sock: another daemon answers there.*--admin-socket/)
      assert.equal((await fetchOver(path, '/livez')).status, 200)
    } finally {
      await first.stop()
    }
    const file = join(directory, 'a file')
    await writeFile(file, 'of somebody')
    await assert.rejects(runDaemon(flags(file)), /a file that is no socket/)
    await assert.rejects(runDaemon(flags(join(directory, 'x'.repeat(120)))), /too long for a socket: at most 107 bytes/)
    await assert.rejects(runDaemon(flags('/proc/none/admin.sock')), /cannot listen on .*--admin-socket/)
  })

  it('is not created with --admin-socket none', async () => {
    const daemon = await runDaemon(flags('none'))
    const status = (await (await fetch(`${daemon.admin}/api/v1/status`)).json()) as { adminSocket?: string }
    assert.equal(status.adminSocket, undefined)
    await daemon.stop()
  })

  it('is named by the status', async () => {
    const path = join(directory, 'told.sock')
    const daemon = await runDaemon(flags(path))
    const status = (await (await fetch(`${daemon.admin}/api/v1/status`)).json()) as { adminSocket?: string }
    assert.equal(status.adminSocket, path)
    await daemon.stop()
  })
})

/** A socket file that nothing listens on. */
async function leaveStale(path: string): Promise<void> {
  const code = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
  await once(spawn(process.execPath, ['-e', code, path]), 'close')
  assert.ok((await lstat(path)).isSocket())
}
