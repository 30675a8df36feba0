import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { createHub } from '../support/hub/create-hub.ts'
import { makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const blocker = fileURLToPath(new URL('../support/block-event-loop.ts', import.meta.url))

/** A daemon in a process of its own, as an operator starts it. */
class Process {
  readonly child: ChildProcess
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  stdout = ''
  stderr = ''

  constructor(
    flags: readonly string[],
    options: { nodeArguments?: readonly string[]; env?: Record<string, string>; uid?: number } = {},
  ) {
    this.child = spawn(process.execPath, [...(options.nodeArguments ?? []), main, ...flags], {
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
    })
    this.child.stdout?.on('data', (chunk: Buffer) => (this.stdout += chunk.toString('utf8')))
    this.child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString('utf8')))
    this.exited = once(this.child, 'close').then(([code, signal]) => ({ code, signal }))
  }

  lines(): Record<string, unknown>[] {
    return this.stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  }

  /** Where it listens, once it does. */
  serving(): Promise<{ mirror: string; admin: string }> {
    return eventually('nabo serves', () => {
      assert.equal(this.child.exitCode, null, this.stderr)
      const line = this.stdout.endsWith('\n') ? this.lines().find(({ msg }) => msg === 'nabo serves') : undefined
      return (
        line && {
          mirror: `http://${(line['mirror'] as string[])[0]}`,
          admin: `http://${(line['admin'] as string[])[0]}`,
        }
      )
    })
  }
}

describe('the process', () => {
  let directory: string
  let running: Process[]

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-process-'))
    running = []
  })
  afterEach(async () => {
    for (const { child, exited } of running) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await exited
    }
    await rm(directory, { recursive: true, force: true })
  })

  const start = (flags: readonly string[], options?: ConstructorParameters<typeof Process>[1]) => {
    const started = new Process(flags, options)
    running.push(started)
    return started
  }
  const free = () => [
    ...[
      '--mirror-addr',
      '127.0.0.1:0',
      '--peer-addr',
      '127.0.0.1:0',
      '--router-addr',
      '127.0.0.1:0',
      '--admin-addr',
      '127.0.0.1:0',
    ],
    ...['--store', 'directory', '--cache-dir', join(directory, 'cache'), '--admin-socket', 'none'],
  ]

  it('ends with 0 on SIGTERM, after the transfers under way', async () => {
    const image = makeImage({ layers: [{ size: 2_000_000, seed: 'drain' }] })
    await using hub = await createHub()
    await hub.publish('app', '1', image)
    await hub.setFaults({ cdn: { bytesPerSecond: 2_000_000 } })
    const nabo = start(['serve', ...free(), '--upstream', `docker.io=${hub.registryUrl}`])
    const { mirror, admin } = await nabo.serving()
    const response = await fetch(`${mirror}/v2/library/app/blobs/${image.layers[0]?.descriptor.digest}`)
    nabo.child.kill('SIGTERM')
    await eventually('it takes no new connections', async () => {
      const gone = await fetch(`${mirror}/v2/`).then(
        () => false,
        () => true,
      )
      return gone
    })
    // Its probes are answered until its end.
    const unready = await fetch(`${admin}/readyz`)
    assert.equal(unready.status, 503)
    assert.match(await unready.text(), /the daemon is stopping/)
    assert.equal((await fetch(`${admin}/readyz?stopping=ok`)).status, 200)
    assert.equal((await response.arrayBuffer()).byteLength, image.layers[0]?.descriptor.size)
    assert.deepEqual(await nabo.exited, { code: 0, signal: null })
    assert.equal(nabo.lines().at(-1)?.['msg'], 'stopped')
  })

  it('is ended by the watchdog when its event loop stands still', async () => {
    const nabo = start(['serve', ...free()], { nodeArguments: ['--import', blocker] })
    await nabo.serving()
    nabo.child.kill('SIGUSR2')
    assert.deepEqual(await nabo.exited, { code: null, signal: 'SIGKILL' })
    assert.match(nabo.stderr, /the event loop stood still/)
  })

  it('survives being stopped and continued', async () => {
    const nabo = start(['serve', ...free()])
    const { admin } = await nabo.serving()
    for (let round = 0; round < 3; round += 1) {
      nabo.child.kill('SIGSTOP')
      nabo.child.kill('SIGCONT')
      assert.equal((await fetch(`${admin}/livez`)).status, 200)
    }
  })

  it('says in one sentence what is wrong with a flag, and ends with 2', async () => {
    for (const [flags, sentence] of [
      [['serve', '--store', 'floppy'], /--store.*floppy.*is invalid/],
      [['serve', '--mirror-addr', 'nonsense:port'], /an address such as 127\.0\.0\.1:7950/],
      [['serve', '--cache-size', 'much'], /a size such as 20GiB/],
      [['serve', '--bootstrap', 'pigeon:home'], /--bootstrap/],
      [['serve', '--peer-tls'], /does not support it yet/],
      [['serve', '--no-such-flag'], /unknown option '--no-such-flag'/],
      [['serve', 'surplus'], /too many arguments/],
    ] as const) {
      const nabo = start(flags)
      assert.equal((await nabo.exited).code, 2, nabo.stderr)
      assert.match(nabo.stderr.split('\n')[0] ?? '', sentence)
      assert.doesNotMatch(nabo.stderr, /\bat .*:\d+:\d+/)
    }
  })

  it('says in one sentence why it cannot start, and ends with 1', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    try {
      await writeFile(join(directory, 'short'), 'short\n')
      await writeFile(join(directory, 'file'), '')
      for (const [flags, sentence] of [
        [['--mirror-addr', `127.0.0.1:${port}`], /127\.0\.0\.1:\d+ is taken by another program.*--mirror-addr/],
        [
          ['--peer-addr', '192.0.2.77:7951', '--insecure-without-secret'],
          /192\.0\.2\.77:7951 is no address of this machine.*--peer-addr/,
        ],
        [['--peer-addr', '0.0.0.0:0'], /--peer-addr 0\.0\.0\.0:0 needs a cluster secret.*--insecure-without-secret/],
        [['--router-addr', '[::]:0'], /--router-addr \[::\]:0 needs a cluster secret.*--cluster-secret-file/],
        [['--bootstrap', 'static:10.0.0.1'], /--bootstrap names other machines.*--cluster-secret-file/],
        [['--cluster-secret-file', join(directory, 'none')], /cluster secret file .* cannot be read: ENOENT/],
        [['--cluster-secret-file', join(directory, 'short')], /at least 16 characters/],
        [['--credentials-file', join(directory, 'short')], /is not a Docker config\.json/],
        [['--cache-dir', join(directory, 'file')], /cache directory/],
      ] as const) {
        const nabo = start(['serve', ...free(), ...flags])
        assert.equal((await nabo.exited).code, 1, nabo.stderr)
        assert.match(nabo.stderr, sentence)
        assert.equal(nabo.stderr.trim().split('\n').length, 1, nabo.stderr)
      }
    } finally {
      taken.close()
    }
  })

  const nobody = 65_534
  const isReadable =
    spawnSync(process.execPath, ['-e', ''], { uid: nobody, gid: nobody, cwd: dirname(main) }).status === 0
  const asNobody =
    process.getuid?.() !== 0 || !isReadable ? { skip: 'needs root and a checkout that everybody can read' } : {}
  it('says to a user without the rights which flag or user helps', asNobody, async () => {
    await chmod(directory, 0o755)
    const cache = join(directory, 'root')
    const root = start(['serve', ...free(), '--cache-dir', cache])
    await root.serving()
    root.child.kill('SIGTERM')
    await root.exited
    const socket = join(directory, 'c.sock')
    const containerd = createServer().listen(socket)
    await once(containerd, 'listening')
    await chmod(socket, 0o660)
    try {
      for (const [flags, sentence] of [
        [['--cache-dir', cache], /^nabo: the cache directory \S+ cannot be written \(.*--cache-dir\): EACCES\n$/],
        [
          ['--store', 'auto', '--containerd-socket', socket],
          /^nabo: this user may not talk to containerd at \S+ \(run Nabo as root, or .*--store directory\): EACCES\n$/,
        ],
      ] as const) {
        const nabo = start(['serve', ...free(), ...flags], { uid: nobody })
        assert.equal((await nabo.exited).code, 1, nabo.stdout)
        assert.match(nabo.stderr, sentence)
      }
    } finally {
      containerd.close()
    }
  })

  it('says that Nabo already runs, and names the process', async () => {
    const first = start(['serve', ...free()])
    const { mirror } = await first.serving()
    const second = start(['serve', ...free(), '--mirror-addr', new URL(mirror).host])
    assert.equal((await second.exited).code, 1)
    assert.match(
      second.stderr,
      new RegExp(`^nabo: Nabo already runs on this machine \\(pid ${first.child.pid}, .*: nabo status shows it\n$`),
    )
  })

  it('says that Nabo already runs, as another user', asNobody, async () => {
    await chmod(directory, 0o755)
    const first = start(['serve', ...free()])
    const { mirror } = await first.serving()
    const { host } = new URL(mirror)
    const second = start(['serve', ...free(), '--mirror-addr', host, '--cache-dir', '/nonexistent'], { uid: nobody })
    assert.equal((await second.exited).code, 1)
    assert.equal(
      second.stderr,
      `nabo: Nabo already runs on this machine (as user 0, who has ${host}): as that user nabo status shows it\n`,
    )
  })

  it('says that Nabo already runs, also where another listener is refused first', asNobody, async () => {
    await chmod(directory, 0o755)
    const taken = async () => {
      const probe = createServer().listen(0, '127.0.0.1')
      await once(probe, 'listening')
      const { port } = probe.address() as { port: number }
      probe.close()
      await once(probe, 'close')
      return `127.0.0.1:${port}`
    }
    const flags = ['--mirror-addr', await taken(), '--router-addr', await taken()]
    await start(['serve', ...free(), ...flags]).serving()
    const second = start(['serve', ...free(), ...flags, '--cache-dir', join(directory, 'second')], { uid: nobody })
    assert.equal((await second.exited).code, 1)
    assert.match(second.stderr, /^nabo: Nabo already runs on this machine \(as user 0, who has \S+\)/)
  })

  it('names the flag and the user for files that it may not use', asNobody, async () => {
    await chmod(directory, 0o755)
    const secret = join(directory, 'secret')
    await writeFile(secret, 'a secret that all nodes share\n', { mode: 0o600 })
    const data = join(directory, 'data')
    const owned = join(directory, 'cache')
    await mkdir(owned)
    await chown(owned, nobody, nobody)
    for (const [flags, sentence] of [
      [
        ['--data-dir', data],
        /^nabo: cannot keep the identity in \S+data\/identity\.key \(run Nabo as root, or set --data-dir to a directory that this user may write\): EACCES\n$/,
      ],
      [
        ['--cluster-secret-file', secret],
        /^nabo: the cluster secret file \S+ cannot be read \(run Nabo as root, or let this user read the file of --cluster-secret-file\): EACCES\n$/,
      ],
    ] as const) {
      const nabo = start(['serve', ...free(), '--cache-dir', owned, ...flags], { uid: nobody })
      assert.equal((await nabo.exited).code, 1, nabo.stdout)
      assert.match(nabo.stderr, sentence)
    }
  })

  it('warns of a variable that looks like one of its own', async () => {
    const nabo = start(['serve', ...free()], { env: { NABO_UPSTREM: 'docker.io=http://127.0.0.1:1' } })
    await nabo.serving()
    const [warning] = nabo.lines().filter(({ msg }) => /these variables are none of Nabo/.test(String(msg)))
    assert.deepEqual(warning?.['variables'], ['NABO_UPSTREM'])
  })

  it('warns of it in the commands that read these variables too, and of none that they read', async () => {
    const commands = [
      ['doctor', '--json', '--timeout', '300ms', '--admin-addr', '127.0.0.1:1', '--admin-socket', 'none'],
      ['configure', 'docker', '--dry-run', '--config-file', join(directory, 'daemon.json')],
    ]
    for (const command of commands) {
      const env = {
        NABO_UPSTREM: 'docker.io=http://127.0.0.1:1',
        NABO_MIRROR_ADDR: '127.0.0.1:1',
        NABO_PORT: 'tcp://x',
      }
      const nabo = start(command, { env })
      await nabo.exited
      const [warning] = nabo.stderr.split('\n')
      assert.equal(
        warning,
        'nabo: NABO_UPSTREM is no variable of Nabo and has no effect: see nabo serve --help for the names',
      )
    }
  })

  it('waits for a port that another process is about to free, as long as it is told', async () => {
    for (const flag of ['--mirror-addr', '--router-addr']) {
      const taken = createServer().listen(0, '127.0.0.1')
      await once(taken, 'listening')
      const { port } = taken.address() as { port: number }
      const flags = [...free(), flag, `127.0.0.1:${port}`, '--port-wait']
      const impatient = start(['serve', ...flags, '300ms', '--cache-dir', join(directory, 'impatient')])
      assert.equal((await impatient.exited).code, 1, impatient.stderr)
      assert.match(impatient.stderr, new RegExp(`127\\.0\\.0\\.1:${port} is taken by another program.*${flag}`))
      const patient = start(['serve', ...flags, '60s'])
      const told = start(['serve', ...flags, '60s', '--cache-dir', join(directory, 'told')])
      for (const one of [patient, told])
        await eventually('it says that it waits', () => one.stdout.includes('another process has the port'))
      told.child.kill('SIGTERM')
      assert.deepEqual(await told.exited, { code: 0, signal: null }, 'it can be stopped meanwhile')
      taken.close()
      await patient.serving()
      patient.child.kill('SIGKILL')
      await patient.exited
    }
  })

  it('reads its flags from the environment too', async () => {
    const wrong = start(['serve'], { env: { NABO_STORE: 'floppy' } })
    assert.equal((await wrong.exited).code, 2)
    assert.match(wrong.stderr, /NABO_STORE/)
    const overruled = start(['serve', ...free()], { env: { NABO_STORE: 'containerd' } })
    await overruled.serving()
    assert.equal(overruled.lines().at(-1)?.['store'], 'directory')
    const open = { NABO_PEER_ADDR: '0.0.0.0:0' }
    const refused = start(['serve'], { env: open })
    assert.equal((await refused.exited).code, 1)
    assert.match(refused.stderr, /--peer-addr 0\.0\.0\.0:0 needs a cluster secret/)
    const flags = [...free(), '--peer-addr', '0.0.0.0:0', '--cache-dir', join(directory, 'other')]
    const allowed = start(['serve', ...flags], { env: { NABO_INSECURE_WITHOUT_SECRET: 'true' } })
    await allowed.serving()
  })

  it('is ready without containerd only when containerd is there, and says why not', async () => {
    const socket = join(directory, 'no.sock')
    const nabo = start(['serve', ...free(), '--store', 'containerd', '--containerd-socket', socket])
    const { admin } = await nabo.serving()
    const response = await fetch(`${admin}/readyz`)
    assert.equal(response.status, 503)
    assert.match(await response.text(), new RegExp(`containerd.*${socket}`))
    assert.equal((await fetch(`${admin}/livez`)).status, 200)
  })
})
