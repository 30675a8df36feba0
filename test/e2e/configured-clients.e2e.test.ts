// The real clients, told by `nabo configure` to ask Nabo, and by `nabo restore` not to.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { Child } from '../support/child.ts'
import { type Containerd, findContainerd, startContainerd } from '../support/containerd.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { findTool } from '../support/debian-tool.ts'
import { Dockerd } from '../support/dockerd.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { makeImage } from '../support/image-maker.ts'
import { execute } from '../support/netns/commands.ts'
import { eventually } from '../support/poll.ts'

const image = makeImage({ layers: [{ size: 20_000, seed: 'configured' }] })
const NAME = 'docker.io/org/app:1'
const ELSEWHERE = 'ghcr.io/org/app:1'

const NABO = fileURLToPath(new URL('../../bin/nabo', import.meta.url))
const containerd = await findContainerd()
const dockerdTool = await findTool('docker.io')
const noDockerd = 'skip' in containerd ? containerd.skip : 'skip' in dockerdTool ? dockerdTool.skip : false
const podmanTool = await findTool('podman')
const skopeoTool = await findTool('skopeo')
const isRoot = process.getuid?.() === 0
/** Debian has no BuildKit, and its dockerd has runc, which buildkitd wants to see. */
const hasBuildkit = !('skip' in dockerdTool) && (await execute('buildkitd', ['--version'])).code === 0
const noBuildkit = hasBuildkit ? false : 'needs root, and buildkitd and buildctl on PATH'

describe('clients that nabo configure has set up', () => {
  let hub: Hub
  let daemon: TestDaemon
  let directory: string
  /** A proxy that is not there: what does not come from this node's Nabo comes from nowhere. */
  const env = { ...process.env, HTTPS_PROXY: 'http://127.0.0.1:1', NO_PROXY: '127.0.0.1' }

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-cc-'))
    hub = await createHub({})
    await hub.publish('org/app', '1', image)
    const upstreams = ['docker.io', 'ghcr.io'].flatMap((name) => ['--upstream', `${name}=${hub.registryUrl}`])
    daemon = await runDaemon([...upstreams, '--fallback', 'docker.io,ghcr.io'])
  })
  after(async () => {
    await daemon.stop()
    await hub.close()
    await rm(directory, { recursive: true, force: true })
  })

  async function nabo(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await execute(NABO, args)
    assert.equal(code, 0, stderr)
    return stdout
  }

  const blobsGiven = () => daemon.requests().filter(({ kind, status }) => kind === 'blob' && status === 200).length

  describe('dockerd', { skip: noDockerd }, () => {
    const original = '{\n\t"debug": false,\n\t"registry-mirrors": []\n}\n'
    let runtime: Containerd
    let dockerd: Dockerd
    let configFile: string

    before(async () => {
      configFile = join(directory, 'daemon.json')
      await writeFile(configFile, original)
      const binDirs = [dockerdTool, containerd].flatMap((found) => ('skip' in found ? [] : found.binDir))
      runtime = await startContainerd({ root: join(directory, 'c'), binDir: binDirs.at(-1) ?? '' })
      dockerd = await Dockerd.start({ root: join(directory, 'd'), binDirs, containerd: runtime.socket, configFile })
    })
    after(async () => {
      await dockerd[Symbol.asyncDispose]()
      await runtime.stop()
    })

    it('pulls through it after the reload that configure names, and no more after restore and another', async () => {
      assert.deepEqual(await dockerd.mirrors(), [])
      assert.ok(await dockerd.pull('org/app', '1'))

      const said = await nabo('configure', 'docker', '--config-file', configFile, '--mirror-url', daemon.mirror)
      assert.match(said, /systemctl reload docker/)
      dockerd.reload()
      await eventually('it has the mirror', async () => (await dockerd.mirrors()).includes(`${daemon.mirror}/`))
      const before = blobsGiven()
      assert.equal(await dockerd.pull('org/app', '1'), undefined)
      assert.deepEqual(await dockerd.repoDigests('org/app:1'), [`org/app@${image.manifest.descriptor.digest}`])
      assert.ok(blobsGiven() > before)

      await nabo('restore', 'docker', '--config-file', configFile)
      assert.equal(await readFile(configFile, 'utf8'), original)
      dockerd.reload()
      await eventually('it has no mirror', async () => (await dockerd.mirrors()).length === 0)
    })
  })

  for (const [name, tool] of [
    ['podman', podmanTool],
    ['skopeo', skopeoTool],
  ] as const) {
    describe(name, { skip: 'skip' in tool ? tool.skip : !isRoot && name === 'podman' ? 'needs root' : false }, () => {
      let home: string
      let configDir: string
      let count = 0

      beforeEach(async () => {
        home = join(directory, `${name}${count++}`)
        configDir = join(home, '.config/containers')
        await mkdir(configDir, { recursive: true })
        await writeFile(join(configDir, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}')
      })

      async function pull(image: string): Promise<string> {
        const binDir = 'skip' in tool ? '' : tool.binDir
        const conmon = existsSync(join(binDir, 'conmon')) ? ['--conmon', join(binDir, 'conmon')] : []
        // A pull runs nothing, but Podman wants to know what it would run.
        const storage = [
          '--runtime',
          process.execPath,
          '--root',
          join(home, 'r'),
          '--runroot',
          join(home, 'rr'),
          '--storage-driver',
          'vfs',
        ]
        const args =
          name === 'podman'
            ? [...conmon, ...storage, '--events-backend', 'none', '--cgroup-manager', 'cgroupfs', 'pull', image]
            : ['copy', `docker://${image}`, `dir:${join(home, `to${count++}`)}`]
        const place = { ...env, HOME: home, XDG_RUNTIME_DIR: home }
        const { code, stderr } = await execute(join(binDir, name), args, { env: place, timeoutMs: 60_000 })
        return code === 0 ? 'pulled' : stderr
      }

      const where = () => ['--config-dir', configDir, '--mirror-url', daemon.mirror]
      const configure = () => nabo('configure', 'podman', ...where(), '--registries', 'docker.io,ghcr.io')

      it('pulls through it with the drop-in of configure, at once, and no more after restore', async () => {
        assert.notEqual(await pull(NAME), 'pulled')
        await configure()
        for (const image of [NAME, ELSEWHERE]) {
          const before = blobsGiven()
          assert.equal(await pull(image), 'pulled')
          // Podman has the layers of the first one, and looks only at the manifest of the second.
          if (name === 'skopeo' || image === NAME) assert.ok(blobsGiven() > before)
        }
        await nabo('restore', 'podman', '--config-dir', configDir)
        assert.notEqual(await pull(NAME), 'pulled')
      })

      it('asks it by digest alone where the entry of somebody else says so, which configure warns of', async () => {
        const file = join(configDir, 'registries.conf')
        await writeFile(file, '[[registry]]\nlocation = "docker.io"\nmirror-by-digest-only = true\n')
        assert.match(await configure(), /^warning: mirror-by-digest-only = true in line 3 of .* keeps pulls by tag /m)
        const before = daemon.requests().length
        assert.notEqual(await pull(NAME), 'pulled')
        assert.equal(daemon.requests().length, before)
        assert.equal(await pull(`docker.io/org/app@${image.manifest.descriptor.digest}`), 'pulled')
        assert.ok(daemon.requests().length > before)
      })

      it('keeps the mirrors that a file of somebody else names for the registry, behind Nabo', async () => {
        const other = '[[registry]]\nlocation = "docker.io"\n\n[[registry.mirror]]\nlocation = "127.0.0.1:1/nobody"\n'
        await mkdir(join(configDir, 'registries.conf.d'))
        await writeFile(join(configDir, 'registries.conf.d/50-mine.conf'), other)
        await configure()
        assert.equal(await pull(NAME), 'pulled')
        await nabo('restore', 'podman', '--config-dir', configDir)
        assert.equal(await readFile(join(configDir, 'registries.conf.d/50-mine.conf'), 'utf8'), other)
      })
    })
  }

  describe('BuildKit', { skip: noBuildkit }, () => {
    it('builds from an image that comes through it, with the tables and mirrors of others in its file', async () => {
      const configFile = join(directory, 'buildkitd.toml')
      await writeFile(configFile, '[registry."docker.io"]\n  mirrors = ["127.0.0.1:1/nobody"] # down\n')
      const registries = ['--registries', 'docker.io,ghcr.io']
      await nabo('configure', 'buildkit', '--config-file', configFile, '--mirror-url', daemon.mirror, ...registries)
      const root = join(directory, 'b')
      await mkdir(join(root, 'context'), { recursive: true })
      const address = `unix://${join(root, 's.sock')}`
      const worker = ['--containerd-worker=false', '--oci-worker-snapshotter=native', '--oci-worker-net=host']
      const path = `${process.env['PATH'] ?? ''}:${'skip' in dockerdTool ? '' : dockerdTool.binDir}`
      const child = new Child('buildkitd', ['--config', configFile, '--addr', address, '--root', root, ...worker], {
        env: { ...env, PATH: path },
      })
      const [before, requestsBefore] = [blobsGiven(), daemon.requests().length]
      try {
        const ctl = (...args: readonly string[]) => execute('buildctl', ['--addr', address, ...args])
        await eventually('buildkitd answers', async () => {
          return child.exit !== undefined || (await ctl('debug', 'workers')).code === 0
        })
        const context = ['--local', `context=${root}/context`, '--local', `dockerfile=${root}/context`]
        const to = ['--output', `type=oci,dest=${root}/image.tar`]
        for (const name of [NAME, ELSEWHERE]) {
          await writeFile(join(root, 'context/Dockerfile'), `FROM ${name}\n`)
          const built = await ctl('build', '--frontend', 'dockerfile.v0', ...context, ...to)
          assert.equal(built.code, 0, `${built.stderr}\n${child.lines.slice(-20).join('\n')}`)
        }
        assert.ok(blobsGiven() > before)
        const asked = new Set(
          daemon
            .requests()
            .slice(requestsBefore)
            .map(({ repository }) => repository),
        )
        assert.deepEqual(asked, new Set(['docker.io/org/app', 'ghcr.io/org/app']))
      } finally {
        await child.stop()
      }
    })
  })
})
