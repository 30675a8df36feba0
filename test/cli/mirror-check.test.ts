import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { VERSION, VERSION_HEADER } from '../../src/version.ts'
import { runDaemon } from '../support/daemon.ts'
import { fileTree } from '../support/file-tree.ts'
import { freePort } from '../support/free-port.ts'
import { localFetch, NaboProcess } from '../support/nabo-process.ts'
import { execute } from '../support/netns/commands.ts'
import { eventually } from '../support/poll.ts'

const NABO = fileURLToPath(new URL('../../bin/nabo', import.meta.url))
const RUNTIMES = ['containerd', 'docker', 'buildkit', 'podman'] as const
const NOBODY = 65_534

describe('nabo configure, before it sends clients to an address', async () => {
  let root: string
  let servers: Server[]
  let children: ChildProcess[]

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabo-cli-'))
    servers = []
    children = []
  })
  afterEach(async () => {
    for (const server of servers) server.close()
    for (const child of children) child.kill('SIGKILL')
    await rm(root, { recursive: true, force: true })
  })

  const listening = async (server: Server, host = '127.0.0.1'): Promise<string> => {
    servers.push(server)
    server.listen(0, host)
    await once(server, 'listening')
    return String((server.address() as AddressInfo).port)
  }
  const web = (listener: RequestListener, host?: string) => listening(createHttpServer(listener), host)
  /** A server in a process of its own, under a name that no other process has. */
  const spawned = async (script: string, prefix: readonly string[] = []): Promise<{ port: number; pid: number }> => {
    const port = await freePort()
    const [command, ...args] = [...prefix, process.execPath, '-e', script, String(port)]
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    await once(child.stdout, 'data')
    return { port, pid: child.pid ?? 0 }
  }
  const where: Record<(typeof RUNTIMES)[number], () => string[]> = {
    containerd: () => ['--config-dir', join(root, 'certs.d')],
    docker: () => ['--config-file', join(root, 'daemon.json')],
    buildkit: () => ['--config-file', join(root, 'buildkitd.toml')],
    podman: () => ['--config-dir', join(root, 'containers')],
  }
  const configure = (runtime: (typeof RUNTIMES)[number], url: string, ...flags: readonly string[]) =>
    execute(NABO, ['configure', runtime, ...where[runtime](), '--mirror-url', url, ...flags], {
      env: { PATH: process.env['PATH'], HTTP_PROXY: 'http://127.0.0.1:1', NODE_USE_ENV_PROXY: '1' },
    })

  it('refuses an address where another program answers, names it and writes nothing', async () => {
    const port = await web((_request, response) =>
      response.setHeader('docker-distribution-api-version', 'registry/2.0').end('{}'),
    )
    const refused = await Promise.all(
      RUNTIMES.flatMap((runtime) => [[runtime], [runtime, '--dry-run']] as const).map(([runtime, ...flags]) =>
        configure(runtime, `http://127.0.0.1:${port}`, ...flags),
      ),
    )
    const title = (await readFile('/proc/self/comm', 'utf8')).trim()
    for (const { code, stdout, stderr } of refused) {
      assert.equal(code, 1)
      assert.equal(stdout, '')
      assert.equal(
        stderr,
        `nabo: another program answers at 127.0.0.1:${port}: ${title} (pid ${process.pid}, ${process.execPath}, user ${process.getuid?.()}). ` +
          'Nothing was changed. End that program, or choose another address with --mirror-addr of nabo serve and --mirror-url here.\n',
      )
    }
    assert.deepEqual(await fileTree(root), {})
  })

  it('restores whatever answers', async () => {
    const port = await web((_request, response) => response.end('{}'))
    assert.equal((await configure('docker', 'http://127.0.0.1:1')).code, 0)
    const restored = await execute(NABO, ['restore', 'docker', ...where.docker()], {
      env: { PATH: process.env['PATH'], NABO_MIRROR_URL: `http://127.0.0.1:${port}` },
    })
    assert.equal(restored.code, 0, restored.stderr)
    assert.deepEqual(await fileTree(root), {})
  })

  it('refuses a program that is silent, speaks no HTTP, or closes', async () => {
    const ports = await Promise.all([
      listening(createServer((socket) => socket.on('error', () => {}).resume())),
      listening(createServer((socket) => socket.on('error', () => {}).end('SSH-2.0-x\r\n'))),
      listening(createServer((socket) => socket.destroy())),
      // A byte now and then, for ever.
      listening(
        createServer((socket) => {
          const timer = setInterval(() => socket.write('X'), 500)
          socket.on('error', () => {}).once('close', () => clearInterval(timer))
          socket.write('HTTP/1.1 200 OK\r\nX: ')
        }),
      ),
    ])
    for (const { code, stderr } of await Promise.all(
      ports.map((port) => configure('docker', `http://127.0.0.1:${port}`)),
    )) {
      assert.equal(code, 1)
      assert.match(stderr, /^nabo: another program answers at 127\.0\.0\.1:\d+: .*Nothing was changed\./)
    }
    assert.deepEqual(await fileTree(root), {})
  })

  it('finds a program behind a wildcard, and at an IPv6 address', async () => {
    const everywhere = await web((_request, response) => response.end(), '::')
    for (const host of ['127.0.0.1', '[::1]', 'localhost', '127.1.2.3']) {
      const { code, stderr } = await configure('containerd', `http://${host}:${everywhere}`)
      assert.equal(code, 1)
      assert.match(stderr, new RegExp(`pid ${process.pid}, `), host)
    }
  })

  const names = (await lookup('localhost', { all: true })).map(({ address }) => address)
  const both = names.length > 1 ? false : `localhost is ${names.join()} alone on this machine`
  it('asks every address of a name', { skip: both }, async () => {
    const nabo = await runDaemon()
    try {
      const { port } = new URL(nabo.mirror)
      const url = `http://localhost:${port}`
      assert.equal((await configure('docker', url, '--dry-run')).code, 0)
      const server = createHttpServer((_request, response) => response.end())
      servers.push(server.listen(Number(port), '::1'))
      assert.match((await configure('docker', url)).stderr, /answers at \[::1\]/)
    } finally {
      await nabo.stop()
    }
  })

  it('goes on where Nabo answers, with or without a token and whatever its version, and where nothing does', async () => {
    const token = join(root, 'token')
    await writeFile(token, 'a token of some length\n')
    const seen: IncomingMessage[] = []
    const before010 = await web((request, response) => {
      seen.push(request)
      const message = 'a mirror must not be its own upstream: check --upstream'
      response.writeHead(404).end(JSON.stringify({ errors: [{ code: 'NOT_FOUND', message }] }))
    })
    const nabos = await Promise.all([runDaemon(), runDaemon(['--mirror-token-file', token])])
    try {
      for (const { mirror } of nabos)
        for (const path of ['/v2/', '/', '/v2/app/blobs/sha256:0', '/v2/app/manifests/1?ns=localhost:1']) {
          const answers = await Promise.all(['GET', 'POST'].map((method) => fetch(`${mirror}${path}`, { method })))
          for (const { headers } of answers) assert.equal(headers.get(VERSION_HEADER), VERSION, path)
        }
      const urls = [...nabos.map(({ mirror }) => mirror), `http://127.0.0.1:${before010}`, 'http://127.0.0.1:1']
      for (const url of [...urls, 'http://nabo.invalid:7950']) {
        const { code, stdout, stderr } = await configure('containerd', url, '--mirror-token-file', token)
        assert.equal(code, 0, stderr)
        assert.match(stdout, /hosts\.toml: (?:created|changed)/)
      }
      assert.deepEqual(
        seen.map(({ method, url, headers }) => [method, url, headers['nabo-token'], headers.authorization]),
        [['GET', '/v2/', undefined, undefined]],
      )
    } finally {
      await Promise.all(nabos.map((nabo) => nabo.stop()))
    }
  })

  it('takes a daemon that has bound its port and does not answer yet for Nabo', async () => {
    // The chart runs configure while the daemon starts. A process of the same program that only listens stands for it.
    const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
    const preload = join(root, 'listen.mjs')
    await writeFile(
      preload,
      `import { createServer } from 'node:net'
      createServer(() => {}).listen(Number(process.env.PORT), '127.0.0.1', () => console.log('listens'))
      await new Promise(() => {})`,
    )
    const port = await freePort()
    const child = spawn(process.execPath, ['--import', preload, main, 'serve'], {
      env: { ...process.env, PORT: String(port) },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    await once(child.stdout, 'data')
    const { code, stderr } = await configure('docker', `http://127.0.0.1:${port}`)
    assert.equal(code, 0, stderr)
  })

  const skip = process.getuid?.() === 0 ? false : 'needs root, to become another user'
  it('says what is known of the program of another user', { skip }, async () => {
    const script = `require('node:http').createServer((_, r) => r.end()).listen(process.argv[1], '127.0.0.1', () => console.log('listens'))`
    const user = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups']
    const { port, pid } = await spawned(script, user)
    const url = `http://127.0.0.1:${port}`
    assert.match((await configure('docker', url)).stderr, new RegExp(`\\(pid ${pid}, \\S+, user ${NOBODY}\\)`))
    const own = await web((_request, response) => response.end())
    const asNobody = await execute(user[0] ?? '', [
      ...[...user.slice(1), NABO, 'configure', 'docker', ...where.docker()],
      ...['--mirror-url', `http://127.0.0.1:${own}`],
    ])
    assert.match(asNobody.stderr, /: a process of user 0, which this user or container cannot see\. Nothing/)
    await assert.rejects(access(join(root, 'daemon.json')))
    children[0]?.kill('SIGKILL')
    await eventually('it has gone', async () => (await configure('docker', url, '--dry-run')).code === 0)
  })

  it('can wait until Nabo listens', async () => {
    const port = await freePort()
    const configure = ['configure', 'containerd', ...where.containerd(), '--mirror-url', `http://127.0.0.1:${port}`]
    const late = await execute(NABO, [...configure, '--wait', '300ms'])
    assert.equal(late.code, 1)
    assert.match(late.stderr, /^nabo: nothing answers at 127\.0\.0\.1:\d+ after 0\.3 s/)
    assert.deepEqual(await fileTree(root), {})
    const waiting = execute(NABO, [...configure, '--wait', '20s'])
    const daemon = await runDaemon(['--mirror-addr', `127.0.0.1:${port}`])
    assert.equal((await waiting).code, 0)
    await daemon.stop()
    assert.notDeepEqual(await fileTree(root), {})
  })
})

describe('nabo wait', () => {
  it('returns when the daemon listens, or fails when the time is over', async () => {
    const port = await freePort()
    const wait = (duration: string) =>
      execute(NABO, ['wait', duration], {
        env: { PATH: process.env['PATH'], NABO_MIRROR_URL: `http://127.0.0.1:${port}` },
      })
    const late = await wait('300ms')
    assert.equal(late.code, 1)
    assert.match(late.stderr, /^nabo: nothing answers at 127\.0\.0\.1:\d+ after 0\.3 s: see the log of nabo serve$/m)
    const waiting = wait('20s')
    const daemon = await runDaemon(['--mirror-addr', `127.0.0.1:${port}`])
    assert.deepEqual(await waiting, { code: 0, stdout: '', stderr: '' })
    await daemon.stop()
    assert.equal((await wait('soon')).code, 2)
  })

  it('fails at once if another program has the address', async () => {
    const other = createHttpServer((_request, response) => response.end('hello'))
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as AddressInfo
    const env = { PATH: process.env['PATH'], NABO_MIRROR_URL: `http://127.0.0.1:${port}` }
    const { code, stderr } = await execute(NABO, ['wait', '60s'], { env })
    other.close()
    assert.equal(code, 1)
    assert.match(stderr, /^nabo: another program answers at 127\.0\.0\.1:\d+/)
    assert.doesNotMatch(stderr, /Nothing was changed/)
  })

  it('does not return for a daemon that hangs, and leaves no warning in the log of a healthy one', async () => {
    const port = await freePort()
    const directory = await mkdtemp(join(tmpdir(), 'nabo-wait-'))
    const free = ['peer', 'router', 'admin'].flatMap((name) => [`--${name}-addr`, '127.0.0.1:0'])
    const flags = [
      '--mirror-addr',
      `127.0.0.1:${port}`,
      ...free,
      '--store',
      'directory',
      '--cache-dir',
      join(directory, 'cache'),
    ]
    const nabo = new NaboProcess({ flags, fetch: localFetch, cwd: directory })
    const env = { PATH: process.env['PATH'], NABO_MIRROR_URL: `http://127.0.0.1:${port}` }
    try {
      await nabo.ready()
      assert.equal((await execute(NABO, ['wait', '20s'], { env })).code, 0)
      assert.doesNotMatch(nabo.logs.join('\n'), /must not be its own upstream/)
      process.kill(nabo.pid, 'SIGSTOP')
      const { code, stderr } = await execute(NABO, ['wait', '1s'], { env })
      assert.equal(code, 1)
      assert.match(
        stderr,
        /^nabo: Nabo \(pid \d+\) listens at .* gave no answer within 1 s: it hangs, or is still starting$/m,
      )
    } finally {
      process.kill(nabo.pid, 'SIGCONT')
      await nabo.stop()
      await rm(directory, { recursive: true, force: true })
    }
  })
})
