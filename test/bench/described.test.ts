import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { MirrorFailure, type Site } from '../../bench/compare/contenders/contender.ts'
import { described } from '../../bench/compare/contenders/described.ts'
import { parseDescription } from '../../bench/compare/contenders/description.ts'
import { freePort } from '../../bench/micro/support/servers.ts'
import { Child } from '../support/child.ts'
import type { ClusterNode } from '../support/cluster-node.ts'
import { eventually } from '../support/poll.ts'

/** Answers with its own arguments. */
const SERVER = `
  const [port, ip, ...rest] = process.argv.slice(1)
  require('node:http').createServer((request, response) => response.end(JSON.stringify(rest))).listen(Number(port), ip)
`

describe('a mirror that is known by its description', () => {
  let directory: string
  let children: Child[]
  let port: number

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-described-'))
    children = []
    port = await freePort()
  })
  afterEach(async () => {
    await Promise.all(children.map((child) => child.kill()))
    await rm(directory, { recursive: true })
  })

  /** Nodes without a network of their own: addresses of loopback. */
  const site = (count: number): Site => {
    const nodes = Array.from({ length: count }, (_, number) => {
      const node = {
        name: `node-${number}`,
        ip: `127.0.0.${11 + number}`,
        directory: join(directory, `node-${number}`),
        containerd: { socket: '/none.sock', contentPath: '/none' },
        fetch: async (url: string) => ({ status: (await fetch(url)).status }),
        spawn: (command: string, args: readonly string[], options: object) => {
          const child = new Child(command, args, options)
          children.push(child)
          return child
        },
      }
      return node as unknown as ClusterNode
    })
    return { nodes, cluster: { hubUrl: 'http://hub', secretFile: '/secret' }, host: {} } as unknown as Site
  }

  const contender = (changes: object) =>
    described(
      parseDescription({
        id: 'other',
        title: 'Another mirror',
        place: 'each-node',
        command: [process.execPath, '-e', SERVER, String(port), '{ip}', { each: ['--peer', '{name}:{ip}'] }],
        readyUrl: `http://{ip}:${port}/`,
        mirrorUrl: `http://{ip}:${port}`,
        ...changes,
      }),
    )

  it('gets words for each other node', async () => {
    const { nodes, ...rest } = site(3)
    const mirror = await contender({}).start({ nodes, ...rest })
    const urls = nodes.map((node) => mirror.urlFor(node) ?? '')
    assert.deepEqual(urls, [`http://127.0.0.11:${port}`, `http://127.0.0.12:${port}`, `http://127.0.0.13:${port}`])
    const words = await Promise.all(urls.map(async (url) => (await fetch(url)).json()))
    assert.deepEqual(words[1], ['--peer', 'node-0:127.0.0.11', '--peer', 'node-2:127.0.0.13'])
    await mirror.processes[0]?.kill()
    assert.match(mirror.processes[0]?.ended() ?? '', /^SIGKILL/)
  })

  it('is killed with what stands behind a shell', async () => {
    const script = `'${process.execPath}' -e "$1" ${port} "$2"; echo over`
    const mirror = await contender({ command: ['/bin/sh', '-c', script, 'sh', SERVER, '{ip}'] }).start(site(1))
    const url = `http://127.0.0.11:${port}`
    assert.equal((await fetch(url)).status, 200)
    await mirror.processes[0]?.kill()
    await eventually('nobody answers', () =>
      fetch(url).then(
        () => false,
        () => true,
      ),
    )
  })

  it('fails with its exit code and its last words when it ends at once', async () => {
    const script = 'console.error("starting"); console.error("no such flag: --peers"); process.exit(3)'
    const failed = contender({ command: [process.execPath, '-e', script] }).start(site(1))
    await assert.rejects(failed, (error) => {
      assert.ok(error instanceof MirrorFailure)
      assert.match(
        error.message,
        /Another mirror did not become ready: it ended on node-0 \(exit code 3: starting \/ no/,
      )
      assert.match(error.log, /node-0: no such flag: --peers/)
      return true
    })
  })

  it('fails when it ends while it is given time to find the others', async () => {
    const shortLived = `
      const server = require('node:http').createServer((request, response) => {
        response.end('ready')
        response.on('close', () => { console.log('nobody there'); process.exit(4) })
      }).listen(${port}, process.argv[1])
    `
    const command = [process.execPath, '-e', shortLived, '{ip}']
    const failed = contender({ command, settleSeconds: 2 }).start(site(1))
    await assert.rejects(failed, /it ended on node-0 \(exit code 4: nobody there\)/)
  })
})
