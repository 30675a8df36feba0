import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createServer as createTcpServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'

const BIN = fileURLToPath(new URL('../../bin/nabo', import.meta.url))
const [os, arch] = ['linux', process.arch === 'x64' ? 'amd64' : process.arch]
const OTHER = arch === 'amd64' ? 'linux/arm64' : 'linux/amd64'

interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `bin/nabo`, which is killed after a minute. */
function begin(
  args: readonly string[],
  input = '',
  variables: NodeJS.ProcessEnv = {},
): { child: ChildProcess; ended: Promise<Result> } {
  const child = spawn(BIN, args, {
    timeout: 60_000,
    killSignal: 'SIGKILL',
    env: { PATH: process.env['PATH'], ...variables },
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const ended = new Promise<Result>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
  return { child, ended }
}

const nabo = (args: readonly string[], input = ''): Promise<Result> => begin(args, input).ended

describe('the commands that ask a running node', () => {
  let hub: Hub
  let image: Image
  let directory: string
  let nodes: TestDaemon[]

  before(async () => {
    image = makeImage({
      layers: [
        { size: 3_000_000, seed: 'x' },
        { size: 40_000, seed: 'y' },
      ],
      multiArch: true,
    })
    hub = await createHub({
      users: [{ name: 'ann', password: 'kept-to-herself', mayPull: ['org/hidden'] }],
      privateRepositories: ['org/hidden'],
      quota: { anonymous: 100 },
    })
    await hub.publish('app', '1', image)
    await hub.publish('org/hidden', '1', makeImage({ layers: [{ size: 5_000, seed: 'hidden' }] }))
  })
  after(() => hub.close())
  beforeEach(async () => {
    await hub.reset()
    directory = await mkdtemp(join(tmpdir(), 'nabo-commands-'))
    await writeFile(join(directory, 'secret'), 'a secret that all nodes share\n')
    nodes = []
  })
  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await rm(directory, { recursive: true, force: true })
  })

  async function start(flags: string[] = []): Promise<TestDaemon> {
    const others = nodes[0] === undefined ? [] : ['--bootstrap', `static:${nodes[0].router}`]
    const secret = ['--cluster-secret-file', `${directory}/secret`]
    const node = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`, ...secret, ...others, ...flags])
    nodes.push(node)
    return node
  }
  const together = () =>
    eventually('all nodes know all', async () => {
      const all = await Promise.all(nodes.map((node) => node.status()))
      return all.every((status) => status.peers === nodes.length - 1 && status.index.membersHeard === nodes.length - 1)
    })
  const settled = (node: TestDaemon, blobs: number) =>
    eventually('its content is announced', async () => {
      const status = await node.status()
      return status.blobs === blobs && status.index.peersInSync === nodes.length - 1
    })
  const address = (node: TestDaemon) => node.peer.replace('http://', '')
  const held = () => image.layers.length + 3
  const at = (node: TestDaemon) => ['--admin-socket', node.adminSocket]
  const through = (node: TestDaemon) => ['--mirror-url', node.mirror]

  it('show where an image is, and where a pull has it from: upstream, a neighbour, this node', async () => {
    const a = await start(['--zone', 'east'])
    const b = await start()
    await together()

    const nobody = await nabo(['find', 'app:1', ...at(b)])
    assert.equal(nobody.code, 1)
    assert.match(nobody.stdout, /^image {4}docker\.io\/library\/app:1$/m)
    assert.match(nobody.stdout, /^problem {2}no node is known to hold the manifest, .*--upstream asks docker\.io/m)
    assert.match(nobody.stdout, /^manifest {2}sha256:[0-9a-f]{12} +\? {2}nobody$/m)
    assert.equal((await hub.counters()).manifestGets, 0, 'to look for an image costs no quota')

    const first = await nabo(['pull', 'app:1', ...through(a)])
    assert.equal(first.code, 0, first.stderr)
    assert.match(first.stdout, /^index {6}sha256:.* from upstream$/m)
    assert.equal(first.stdout.match(/^layer .* from upstream$/gm)?.length, 2)
    assert.match(first.stdout, /^5 contents, 2\.9 MiB in .*: 100 % from upstream$/m)
    await settled(a, held())

    const one = await nabo(['find', 'app:1', ...at(b)])
    assert.equal(one.code, 0, one.stderr)
    assert.equal(one.stdout.match(new RegExp(`^(index|manifest|config|layer) .* ${address(a)}$`, 'gm'))?.length, 5)
    assert.match(one.stdout, new RegExp(`^platform {2}${os}/${arch}$`, 'm'))

    const named = await nabo(['find', `${b.mirror.replace('http://', '')}/docker.io/library/app:1`, '--json', ...at(b)])
    assert.equal((JSON.parse(named.stdout) as { reference: string }).reference, 'docker.io/library/app:1')
    const quota = (await hub.counters()).manifestGets
    const second = await nabo(['pull', 'app:1', '--json', ...through(b)])
    assert.equal(second.code, 0, second.stderr)
    const lines = second.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    assert.deepEqual(
      lines.map((line) => [line['event'], line['source'], line['peer']]),
      [...Array.from({ length: 5 }, () => ['content', 'peer', address(a)]), ['pulled', undefined, undefined]],
    )
    assert.equal(lines.at(-1)?.['digest'], image.root.descriptor.digest)
    assert.equal((await hub.counters()).manifestGets, quota)
    await settled(b, held())

    const both = await nabo(['find', 'app:1', ...at(b)])
    assert.equal(both.stdout.match(new RegExp(`^(.*) {2}this node, ${address(a)}$`, 'gm'))?.length, 5, both.stdout)
    const layer = image.layers[0]?.descriptor
    const blob = await nabo(['find', layer?.digest ?? '', '--json', ...at(a)])
    const found = JSON.parse(blob.stdout) as {
      contents: { here: boolean; size: number; holders: { address: string }[] }[]
    }
    assert.deepEqual(
      found.contents.map(({ here, size, holders }) => [here, size, holders.map((holder) => holder.address)]),
      [[true, layer?.size, [address(b)]]],
    )

    const third = await nabo(['pull', 'app:1', ...through(b)])
    assert.match(third.stdout, /: 100 % from this node$/m)
    assert.match((await nabo(['pull', 'app:1', '--quiet', ...through(b)])).stdout, /^sha256:[0-9a-f]{64}\n$/)

    const status = await nabo(['status', ...at(a)])
    assert.equal(status.code, 0)
    assert.match(status.stdout, /^ready +yes$/m)
    assert.match(status.stdout, /^cluster +1 other node$/m)
    assert.match(status.stdout, /^content +5 blobs, 2\.9 MiB of 20 GiB, in the directory /m)
    assert.match(
      status.stdout,
      /^quota +docker\.io: \d+ of 100 pulls left for .*; its window ends in .* at the latest$/m,
    )
    assert.match(
      status.stdout,
      /^delivered +2\.9 MiB to clients: 0 B from this node, 0 B from neighbours, 2\.9 MiB from upstream; 2\.9 MiB to neighbours$/m,
    )
    assert.match(
      (await nabo(['status', ...at(b)])).stdout,
      /^saved +8\.\d MiB that no registry had to send \(100 %\)$/m,
    )

    const peers = await nabo(['peers', ...at(b)])
    assert.match(peers.stdout, new RegExp(`^${address(a)} +east +well +[0-9.]+ ms +yes +0 +[0-9.]+ +12D3Koo`, 'm'))
  })

  it('find the image of another platform, and say which there are when there is none', async () => {
    const a = await start()
    const other = await nabo(['find', 'app:1', '--platform', OTHER, '--upstream', '--json', ...at(a)])
    const answer = JSON.parse(other.stdout) as { platform: string; contents: { kind: string }[] }
    assert.equal(answer.platform, OTHER)
    assert.deepEqual(
      answer.contents.map(({ kind }) => kind),
      ['index', 'manifest', 'config', 'layer'],
    )
    assert.equal(other.code, 1, 'its layers are nowhere')
    const none = await nabo(['pull', 'app:1', '--platform', 'linux/s390x', ...through(a)])
    assert.equal(none.code, 1)
    assert.match(none.stderr, /^nabo: the image is not for linux\/s390x, but for linux\/a\w+64, linux\/a\w+64\n$/)
    const all = await nabo(['pull', 'app:1', '--all-platforms', ...through(a)])
    assert.match(all.stdout, /^8 contents, /m)
  })

  it('say in one line what is wrong', async () => {
    const nothing = await nabo(['status', '--admin-url', 'http://[::1]:1'])
    assert.deepEqual(
      [nothing.code, nothing.stderr],
      [1, 'nabo: no Nabo answers at http://[::1]:1: is the daemon running?\n'],
    )
    const a = await start()
    assert.match(
      (await nabo(['find', 'NOT AN IMAGE', ...at(a)])).stderr,
      /^nabo: "NOT AN IMAGE" is not an image reference/,
    )
    assert.match(
      (await nabo(['find', 'sha256:1234', ...at(a)])).stderr,
      /^nabo: "sha256:1234" is not an image reference/,
    )
    for (const name of ['pull', 'warm']) {
      const { code, stderr } = await nabo([name, 'sha256:1234'])
      assert.equal(code, 2)
      assert.match(stderr, /'sha256:1234' is invalid/)
    }
    const elsewhere = await nabo(['pull', 'app:1', '--mirror-url', a.admin])
    assert.match(elsewhere.stderr, /^nabo: what answers at \S+ is no mirror: --mirror-url says where it is\n$/)
    const secret = await nabo(['status', '--admin-url', 'http://ann:kept-to-herself@127.0.0.1:1'])
    assert.equal(secret.code, 2)
    assert.doesNotMatch(secret.stderr, /kept-to-herself/)
    assert.equal((await nabo(['status', '--admin-url', 'ftp://x'])).code, 2)
    const absent = await nabo(['pull', 'app:none', ...through(a)])
    assert.deepEqual(
      [absent.code, absent.stderr],
      [1, 'nabo: docker.io/library/app:none does not exist at docker.io\n'],
    )
    assert.equal(
      (await nabo(['pull', 'app', '--mirror-url', 'http://127.0.0.1:1'])).stderr,
      'nabo: no mirror answers at http://127.0.0.1:1: is the daemon running?\n',
    )
  })

  it('take a variable that is empty, as charts set them, for none', async () => {
    const a = await start()
    const flags = ['MIRROR_TOKEN_FILE', 'PLATFORM', 'PARALLEL', 'QUIET', 'ADMIN_URL', 'JSON', 'FULL']
    const warm = ['ZONE', 'NODES', 'PLATFORM', 'NAMESPACE', 'PARALLEL', 'TIMEOUT'].map((name) => `WARM_${name}`)
    const empty = Object.fromEntries([...flags, ...warm].map((name) => [`NABO_${name}`, '']))
    for (const args of [
      ['pull', 'app:1', ...through(a)],
      ['warm', 'app:1', ...at(a)],
      ['find', 'app:1', ...at(a)],
    ]) {
      const { code, stdout, stderr } = await begin(args, '', empty).ended
      assert.equal(code, 0, stderr)
      assert.doesNotMatch(stdout, /^\{/, 'it is for people')
    }
  })

  it('say what came instead of an answer of Nabo', async () => {
    const [breaking, strange] = [
      createServer((_request, response) => {
        response.writeHead(200, { 'content-length': 100 })
        response.write('{"half":', () => response.destroy())
      }),
      createTcpServer((socket) => socket.end('SSH-2.0-other\r\n')),
    ]
    const listening = async (server: Server) => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return `http://127.0.0.1:${(server.address() as { port: number }).port}`
    }
    const urls = [await listening(breaking), await listening(strange)] as const
    try {
      assert.deepEqual(await nabo(['pull', 'app:1', '--mirror-url', urls[0]]), {
        code: 1,
        stdout: '',
        stderr: `nabo: the mirror at ${urls[0]} broke off inside a manifest\n`,
      })
      assert.equal(
        (await nabo(['pull', 'app:1', '--mirror-url', urls[1]])).stderr,
        `nabo: no mirror answers at ${urls[1]}: it speaks another protocol\n`,
      )
      assert.equal(
        (await nabo(['peers', '--admin-url', urls[1]])).stderr,
        `nabo: what answers at ${urls[1]} is no Nabo\n`,
      )
    } finally {
      for (const server of [breaking, strange]) server.close()
    }
  })

  it('pull what is not public with the credentials on standard input', async () => {
    const a = await start()
    const without = await nabo(['pull', 'org/hidden:1', ...through(a)])
    assert.equal(without.code, 1)
    assert.match(
      without.stderr,
      /^nabo: the image does not exist, or is not public: check its name; for a private image give .* --creds-stdin \(.*pull access denied.*\)\n$/,
    )
    const withThem = await nabo(['pull', 'org/hidden:1', '--creds-stdin', ...through(a)], 'ann:kept-to-herself\n')
    assert.equal(withThem.code, 0, withThem.stderr)
    assert.match(withThem.stdout, /^3 contents, /m)
    const elsewhere = await nabo(['pull', 'x', '--creds-stdin', '--mirror-url', 'http://192.0.2.1:7950'], 'ann:x')
    assert.match(elsewhere.stderr, /^nabo: credentials go over plain HTTP only to this machine/)
  })

  it('say of a name that the registry refuses that it does not exist, or is not public', async () => {
    const a = await start()
    for (const image of ['nosuch/thing:1', 'org/hidden:1', `nosuch/thing@sha256:${'1'.repeat(64)}`]) {
      const { code, stdout, stderr } = await nabo(['pull', image, ...through(a)])
      assert.equal(code, 1)
      assert.match(stdout + stderr, /does not exist, or is not public/)
      // Of a digest `find` says what the nodes hold.
      for (const command of image.includes('@') ? (['warm'] as const) : (['warm', 'find'] as const)) {
        const { code, stdout, stderr } = await nabo([command, image, ...at(a)])
        assert.equal(code, 1)
        assert.match(
          stdout + stderr,
          /denies access: 401 insufficient_scope; the image does not exist, or is not public/,
        )
      }
    }
  })

  it("say that the registry refuses the node's own credentials", async () => {
    const file = join(directory, 'config.json')
    const entry = { username: 'ann', password: 'mistyped' }
    await writeFile(file, JSON.stringify({ auths: { 'https://index.docker.io/v1/': entry } }), { mode: 0o600 })
    const a = await start(['--credentials-file', file])
    const b = await start(['--credentials-file', file])
    await together()
    for (const [command, flags] of [
      ['pull', through(a)],
      ['pull', through(b)],
      ['pull', through(a)],
      ['warm', at(a)],
      ['warm', at(b)],
      ['find', at(a)],
    ] as const) {
      const { code, stdout, stderr } = await nabo([command, 'org/hidden:1', ...flags])
      assert.equal(code, 1)
      assert.match(stderr, /it refuses this node's own credentials, see nabo doctor/, stdout)
      assert.doesNotMatch(stderr, /creds-stdin|mistyped|not public/)
    }
  })

  it('notice wrong bytes, show what is under way, and end when they are told to', async () => {
    const a = await start()
    const [layer] = image.layers
    const mirror = createServer((request, response) => {
      // A blob that differs in one bit, of the right length.
      const wrong = Buffer.from(layer?.bytes ?? '')
      wrong[100] = (wrong[100] ?? 0) ^ 1
      if (request.url?.includes(layer?.descriptor.digest ?? '-') === true) return void response.end(wrong)
      void fetch(`${a.mirror}${request.url}`, { headers: { accept: request.headers.accept ?? '*/*' } }).then(
        async (answer) => response.end(Buffer.from(await answer.arrayBuffer())),
      )
    })
    await new Promise<void>((resolve) => mirror.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = mirror.address() as { port: number }
      const wrong = await nabo(['pull', 'app:1', '--mirror-url', `http://127.0.0.1:${port}`])
      assert.equal(wrong.code, 1)
      assert.match(wrong.stderr, /^nabo: the mirror sent wrong bytes for sha256:[0-9a-f]{64}, from the mirror\n$/)
    } finally {
      mirror.close()
      mirror.closeAllConnections()
    }
    await hub.setFaults({ cdn: { bytesPerSecond: 20_000 } })
    const fresh = await start()
    await together()
    await a.stop()
    nodes.shift()
    const slow = begin(['pull', 'app:1', ...through(fresh)])
    await eventually('bytes flow', async () => {
      const status = (await (await fetch(`${fresh.admin}/api/v1/status`)).json()) as { transferCount: number }
      return status.transferCount > 0
    })
    const watched = await nabo(['find', 'app:1', ...at(fresh)])
    assert.match(watched.stdout, /^layer 1\/2 .* nobody +this node \(\d+ % from docker\.io\)$/m)
    assert.match(
      (await nabo(['status', ...at(fresh)])).stdout,
      /^sha256:[0-9a-f]{12} {2}docker\.io\/library\/app {2}docker\.io /m,
    )
    // bin/nabo has become the command itself.
    slow.child.kill('SIGINT')
    const { code, stderr } = await slow.ended
    assert.deepEqual([code, stderr], [130, 'nabo: interrupted\n'])
  })
})
