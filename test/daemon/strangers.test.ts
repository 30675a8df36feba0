import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type Socket, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'

import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { eventually } from '../support/poll.ts'
import { TestMember } from '../support/test-member.ts'

const BODY = Buffer.alloc(10)

describe('a daemon among strangers', () => {
  const daemons: TestDaemon[] = []
  const sockets: Socket[] = []
  let directory: string
  let secretFile: string

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-strangers-'))
    secretFile = join(directory, 'secret')
    await writeFile(secretFile, 'a secret that all nodes share\n')
  })
  after(() => rm(directory, { recursive: true, force: true }))
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    await Promise.all(daemons.splice(0).map((one) => one.stop()))
  })

  async function start(flags: readonly string[], options: { secret?: boolean } = {}): Promise<TestDaemon> {
    const daemon = await runDaemon(['--fallback', 'none', ...flags], options)
    daemons.push(daemon)
    return daemon
  }

  /** Opens connections from `addresses` addresses of loopback, `each` from each; the first one is 127.0.0.`first`. */
  async function dialMany(hostPort: string, addresses: number, each: number, first = 1): Promise<Socket[]> {
    const port = Number(URL.parse(hostPort)?.port ?? hostPort.split(':').at(-1))
    const opened: Socket[] = []
    for (let n = first; n < first + addresses; n += 1) {
      const wave = Array.from({ length: each }, () =>
        connect({ port, host: '127.0.0.1', localAddress: `127.0.0.${n}` }).on('error', () => {}),
      )
      sockets.push(...wave)
      opened.push(...wave)
      await Promise.all(wave.map((socket) => once(socket, 'connect')))
    }
    return opened
  }

  const metric = async ({ admin }: TestDaemon, series: string) => {
    const text = await (await fetch(`${admin}/metrics`)).text()
    const line = text.split('\n').find((line) => line.startsWith(`${series} `)) ?? assert.fail(`no ${series}`)
    return Number(line.slice(series.length))
  }
  const readiness = async ({ admin }: TestDaemon) => {
    const response = await fetch(`${admin}/readyz`)
    return { status: response.status, text: await response.text() }
  }

  it('that open idle connections on both ports hears new members, and counts the connections', async () => {
    const secret = ['--cluster-secret-file', secretFile]
    const first = await start(secret)
    await dialMany(first.peer, 12, 125)
    await dialMany(first.router, 2, 150)
    const refused = (listener: string, reason: string) =>
      metric(first, `nabo_strangers_refused_total{listener="${listener}",reason="${reason}"}`)
    await eventually(
      'the peer listener has closed what is above its limit',
      async () => (await refused('peer', 'total')) >= 476,
    )
    await eventually('the router too', async () => (await refused('router', 'address')) >= 44)
    assert.ok((await metric(first, 'nabo_stranger_connections{listener="peer"}')) <= 1024)
    assert.equal(await refused('peer', 'full'), 0)
    const second = await start([...secret, '--bootstrap', `static:${first.router}`])
    await eventually('both hear each other', async () => {
      const heard = await Promise.all([first, second].map(async (one) => (await one.status()).index.membersHeard))
      return heard.every((count) => count === 1)
    })
  })

  it('that hold all their connections with open requests makes the node not ready, until that ends', async () => {
    const nabo = await start([], { secret: false })
    assert.equal((await readiness(nabo)).status, 200)
    const node = { id: nabo.id, url: nabo.peer }
    const target = NODE_PROTOCOL.announce.path
    const member = await TestMember.create([])
    await (await member.ask(node, '/v2/')).arrayBuffer()
    const head = () => {
      const signed = member.authentication.signer.sign(nabo.id, { method: 'POST', target, headers: {}, body: BODY })
      const lines = Object.entries(signed?.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`)
      return `POST ${target} HTTP/1.1\r\nHost: x\r\n${lines.join('')}Content-Length: ${BODY.length}\r\n\r\n`
    }
    const holders = await dialMany(nabo.peer, 8, 128)
    await new Promise<void>((resolve) => {
      let written = 0
      for (const socket of holders) socket.write(head(), () => (written += 1) === holders.length && resolve())
    })
    const refused = await eventually('a new connection of another address is refused', async () => {
      await dialMany(nabo.peer, 1, 1, 99)
      const now = await readiness(nabo)
      return now.status === 503 && now
    })
    assert.match(refused.text, /the peer listener refuses connections of members/)
    for (const socket of sockets.splice(0)) socket.destroy()
    await eventually('it is ready again', async () => (await readiness(nabo)).status === 200)
  })
})
