import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { type BareContainerd, criConfig, startBareContainerd } from '../support/bare-containerd.ts'
import { findContainerd } from '../support/containerd.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { makeImage } from '../support/image-maker.ts'
import { localFetch, NaboProcess } from '../support/nabo-process.ts'
import { execute } from '../support/netns/commands.ts'

const bin = fileURLToPath(new URL('../../bin/nabo', import.meta.url))
/** Without a socket it asks no other daemon of this machine for its flags. */
const doctor = (flags: readonly string[]) => execute(bin, ['doctor', '--admin-socket', 'none', ...flags])
const SECRET = 'a secret that nobody may see'

const found = await findContainerd()

describe('nabo doctor on a node with everything', { skip: 'skip' in found ? found.skip : false }, () => {
  let directory: string
  let hub: Hub
  let containerd: BareContainerd
  let nabo: NaboProcess
  let flags: string[]
  let mirror: string

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-doc-'))
    const certs = join(directory, 'certs.d')
    hub = await createHub({ quota: { anonymous: 100 } })
    // As Docker Hub has it, so that everybody can look at the quota.
    await hub.publish('ratelimitpreview/test', 'latest', makeImage({ layers: [{ size: 100, seed: 'quota' }] }))
    const binDir = 'binDir' in found ? found.binDir : ''
    containerd = await startBareContainerd({
      root: join(directory, 'c'),
      binDir,
      config: criConfig({ configPath: certs }),
    })
    const secret = join(directory, 'secret')
    await writeFile(secret, `${SECRET}\n`, { mode: 0o600 })
    const shared = [
      ...['--containerd-socket', containerd.socket, '--containerd-config', containerd.configFile],
      ...['--config-dir', certs, '--cluster-secret-file', secret, '--upstream', `docker.io=${hub.registryUrl}`],
    ]
    const free = ['mirror', 'peer', 'router', 'admin'].flatMap((name) => [`--${name}-addr`, '127.0.0.1:0'])
    nabo = new NaboProcess({ flags: [...shared, ...free], fetch: localFetch })
    await nabo.ready()
    const addresses = await nabo.listening()
    mirror = addresses.mirror[0] ?? ''
    flags = [...shared, '--admin-addr', addresses.admin[0] ?? '']
    await mkdir(join(certs, 'docker.io'), { recursive: true })
    await configure(certs)
  })
  after(async () => {
    await nabo.stop()
    await containerd.stop()
    await hub[Symbol.asyncDispose]()
    await rm(directory, { recursive: true, force: true })
  })

  const configure = async (certs: string) => {
    const configured = await execute(bin, [
      'configure',
      'containerd',
      '--config-dir',
      certs,
      '--mirror-url',
      `http://${mirror}`,
    ])
    assert.equal(configured.code, 0, configured.stderr)
  }

  it('says that all is right, and ends with 0', async () => {
    const { code, stdout, stderr } = await doctor(flags)
    assert.equal(stderr, '')
    assert.equal(code, 0, stdout)
    const titles = stdout.split('\n').flatMap((line) => /^ok {2}(.*?) {2,}/.exec(line)?.[1] ?? [])
    assert.deepEqual(titles, [
      ...['containerd', 'config_path', 'hosts.toml', 'layers are kept', 'content', 'free space', 'ports'],
      ...['cluster secret', 'other nodes', 'clock', 'registries', 'certificates', 'quota', 'no loop'],
    ])
    assert.match(stdout, /\nAll is right\.\n$/)
    assert.doesNotMatch(stdout, new RegExp(SECRET))
  })

  it('gives the same as JSON', async () => {
    const { code, stdout } = await doctor([...flags, '--json'])
    assert.equal(code, 0, stdout)
    const { level, findings } = JSON.parse(stdout) as { level: string; findings: { id: string; level: string }[] }
    assert.equal(level, 'ok')
    assert.equal(findings.find(({ id }) => id === 'hosts-toml')?.level, 'ok')
  })

  it('ends with 3 for a warning, and with 1 for an error', async () => {
    const warned = await doctor([...flags, '--upstream', 'docker.io=http://127.0.0.1:1'])
    assert.equal(warned.code, 3, warned.stdout)
    assert.match(warned.stdout, /^warning +registries +127\.0\.0\.1:1 cannot be used/m)
    const file = join(directory, 'certs.d/docker.io/hosts.toml')
    await writeFile(file, '[host.\n')
    const broken = await doctor(flags)
    assert.equal(broken.code, 1, broken.stdout)
    assert.match(broken.stdout, /^error +hosts\.toml +containerd ignores .*\n +fix: put /m)
    await rm(file)
    await configure(join(directory, 'certs.d'))
  })

  it('ends with 2 for a wrong flag', async () => {
    for (const wrong of [['--timeout', 'long'], ['--no-such'], ['surplus'], ['--mirror-addr', 'x:y']]) {
      const { code, stderr } = await doctor(wrong)
      assert.equal(code, 2, stderr)
    }
  })

  it('is what the daemon finds itself', async () => {
    const { body } = await nabo.adminGet('/api/v1/checks')
    const { findings } = JSON.parse(Buffer.from(body).toString('utf8')) as {
      findings: { id: string; level: string; says: string }[]
    }
    const level = (id: string) => findings.find((finding) => finding.id === id)?.level
    for (const id of ['containerd', 'config-path', 'unpacked-layers', 'content', 'space', 'secret', 'loop'])
      assert.equal(level(id), 'ok', JSON.stringify(findings))
  })
})

describe('nabo doctor beside a daemon', () => {
  it('checks the settings of the daemon, and says where the given ones differ', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-doc-'))
    const socket = join(directory, 'admin.sock')
    const free = ['mirror', 'peer', 'router', 'admin'].flatMap((name) => [`--${name}-addr`, '127.0.0.1:0'])
    const nabo = new NaboProcess({
      flags: [...free, '--store', 'directory', '--admin-socket', socket],
      env: { ...process.env, NABO_CACHE_DIR: './cache', NABO_REGISTRIES: 'none' },
      cwd: directory,
      fetch: localFetch,
    })
    try {
      await nabo.ready()
      const asked = async (...flags: string[]) => {
        const { stdout } = await execute(bin, ['doctor', '--json', '--admin-socket', socket, ...flags])
        const { findings } = JSON.parse(stdout) as { findings: { id: string; level: string; says: string }[] }
        return new Map(findings.map((finding) => [finding.id, finding]))
      }
      const plain = await asked()
      assert.equal(plain.get('settings'), undefined)
      assert.equal(plain.get('content')?.says, `the cache is ${join(directory, 'cache')}`)
      assert.equal(plain.get('ports')?.level, 'ok')
      const other = await asked('--store', 'containerd', '--registries', 'none')
      assert.equal(other.get('settings')?.level, 'warning')
      assert.match(
        other.get('settings')?.says ?? '',
        /other flags than those given here: --store \(containerd here, directory there\); its own/,
      )
      assert.equal(other.get('content')?.says, plain.get('content')?.says)
      // As of a user who may not open the socket.
      const [admin = ''] = (await nabo.listening()).admin
      const { stdout } = await execute(bin, [
        ...['doctor', '--json', '--admin-socket', join(directory, 'other.sock'), '--admin-addr', admin],
        ...['--cache-dir', join(bin, 'none')],
      ])
      const shut = JSON.parse(stdout) as { findings: { id: string; level: string; says: string; fix?: string }[] }
      const of = (id: string) => shut.findings.find((finding) => finding.id === id)
      assert.match(
        of('settings')?.says ?? '',
        /^the flags of the daemon cannot be read, so its own findings are shown: /,
      )
      assert.match(of('settings')?.fix ?? '', /as the user of the daemon, with the --admin-socket of nabo serve/)
      assert.equal(of('content')?.says, plain.get('content')?.says)
      process.kill(nabo.pid, 'SIGSTOP')
      const frozen = await asked()
      process.kill(nabo.pid, 'SIGCONT')
      assert.deepEqual([...frozen.keys()], ['ports'])
      assert.match(frozen.get('ports')?.says ?? '', /^the daemon at .* takes connections and does not answer/)
    } finally {
      await nabo.stop()
      await rm(directory, { recursive: true, force: true })
    }
  })
})

describe('nabo doctor beside a program that takes a question and never answers', () => {
  const silent = createServer(() => {})
  let address: string
  before(async () => {
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    address = `127.0.0.1:${(silent.address() as { port: number }).port}`
  })
  after(() => {
    silent.close()
    silent.closeAllConnections()
  })

  const findingsOf = (stdout: string) => {
    const { findings } = JSON.parse(stdout) as { findings: { id: string; level: string; says: string }[] }
    return (id: string) => findings.find((finding) => finding.id === id)
  }

  it('checks the flags that it is given, where the program has the place of the daemon', async () => {
    const { stdout } = await execute(bin, [
      ...['doctor', '--json', '--timeout', '3s', '--admin-socket', join(tmpdir(), 'no-such.sock')],
      ...['--admin-addr', address, '--store', 'directory', '--cache-dir', bin],
      ...['--upstream', 'docker.io=http://127.0.0.1:1'],
    ])
    const of = findingsOf(stdout)
    assert.match(of('content')?.says ?? '', /is not a directory/)
    assert.match(of('upstream')?.says ?? '', /127\.0\.0\.1:1 cannot be used/)
  })

  it('names it, where it is the registry', async () => {
    const free = ['mirror', 'peer', 'router', 'admin'].flatMap((name) => [`--${name}-addr`, '127.0.0.1:0'])
    const flags = ['--store', 'directory', '--upstream', `docker.io=http://${address}`, '--json']
    const { stdout } = await doctor([...free, ...flags])
    const registries = findingsOf(stdout)('upstream')
    assert.equal(registries?.level, 'warning', stdout)
    assert.match(registries.says, new RegExp(`${address} cannot be used: `))
  })

  it('says so, and checks the rest', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-doc-'))
    try {
      const { stdout } = await doctor([
        ...['--admin-addr', address, '--mirror-addr', '127.0.0.1:0', '--peer-addr', '127.0.0.1:0'],
        ...['--router-addr', '127.0.0.1:0', '--store', 'directory', '--cache-dir', directory],
        ...['--registries', 'none', '--timeout', '2s', '--json'],
      ])
      const of = findingsOf(stdout)
      assert.equal(of('content')?.level, 'ok', stdout)
      assert.equal(of('ports')?.level, 'error', stdout)
      assert.ok(of('ports')?.says.includes(address), stdout)
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})
