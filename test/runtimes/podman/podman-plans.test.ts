import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { parse } from 'smol-toml'

import {
  type PodmanOptions,
  planConfigurePodman,
  planRestorePodman,
} from '../../../src/runtimes/podman/podman-plans.ts'
import { applyPlan } from '../../../src/runtimes/text-file.ts'
import { fileTree } from '../../support/file-tree.ts'

const HUB = '[[registry]]\nlocation = "docker.io"\n\n[[registry.mirror]]\nlocation = "a.example"\n'

describe('configure and restore of Podman', () => {
  let root: string
  let configDir: string

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabo-podman-'))
    configDir = join(root, 'containers')
    await mkdir(configDir)
  })
  afterEach(() => rm(root, { recursive: true, force: true }))

  const options = (more: Partial<PodmanOptions> = {}): PodmanOptions => ({
    ...{ configDir, mirror: '127.0.0.1:7950', plainHttp: true, registries: ['docker.io'] },
    ...more,
  })
  async function configure(more: Partial<PodmanOptions> = {}): Promise<string[]> {
    const plan = await planConfigurePodman(options(more))
    await applyPlan(plan)
    return plan.changes.map(({ before }) => before.path.slice(configDir.length + 1))
  }
  async function restore(): Promise<void> {
    await applyPlan(await planRestorePodman({ configDir }))
  }
  async function write(path: string, text: string): Promise<void> {
    await mkdir(dirname(join(configDir, path)), { recursive: true })
    await writeFile(join(configDir, path), text)
  }
  /** The mirrors of each entry of a file. */
  async function mirrors(path: string): Promise<unknown> {
    const { registry } = parse(await readFile(join(configDir, path), 'utf8')) as {
      registry?: { prefix?: string; location?: string; mirror?: { location: string }[] }[]
    }
    return (registry ?? []).map(({ prefix, location, mirror }) => [
      prefix ?? location,
      ...(mirror ?? []).map((each) => each.location),
    ])
  }

  it('warns, with file and line, of what keeps pulls from its registries away from Nabo', async () => {
    const digests = `${HUB.replace('\n\n', '\nmirror-by-digest-only = true\n\n')}[[registry]]\nlocation = "quay.io"\nmirror-by-digest-only = true\n`
    await write('registries.conf', `unqualified-search-registries = ["docker.io"]\n${digests}`)
    const file = join(configDir, 'registries.conf')
    const expected = [
      `warning: mirror-by-digest-only = true in line 4 of ${file} keeps pulls by tag from docker.io away from Nabo: take mirror-by-digest-only = true out of line 4 of ${file}; a mirror that shall not be asked for tags gets pull-from-mirror = "digest-only"`,
    ]
    assert.deepEqual((await planConfigurePodman(options())).notes, expected)
    await configure()
    // The line that an editor shows, beside the lines of Nabo.
    assert.deepEqual((await planConfigurePodman(options())).notes, expected)
    assert.deepEqual((await planConfigurePodman(options({ registries: ['ghcr.io'] }))).notes, [])
  })

  it('puts a tree back as it was, byte for byte, after any settings', async () => {
    await write('registries.conf', `unqualified-search-registries = ["docker.io"]\n${HUB}`)
    await write('registries.conf.d/50-mine.conf', '[[registry]]\nprefix = "ghcr.io"\nlocation = "ghcr.io"')
    await write('registries.conf.d/60-empty.conf', '')
    await write('registries.conf.d/README', '[[not toml')
    await chmod(join(configDir, 'registries.conf'), 0o600)
    const before = await fileTree(root)
    await configure({ registries: ['docker.io', 'ghcr.io', 'quay.io'] })
    await configure({ mirror: 'nabo.example:1', plainHttp: false, registries: ['quay.io'] })
    await configure()
    await restore()
    assert.deepEqual(await fileTree(root), before)
    await rm(configDir, { recursive: true })
    await configure()
    await restore()
    assert.deepEqual(await fileTree(root), {})
  })

  it('writes a file of its own that replaces nobody’s, and touches nothing the second time', async () => {
    await write('registries.conf.d/000-shortnames.conf', '[aliases]\n"a" = "docker.io/library/a"\n')
    assert.deepEqual(await configure(), ['registries.conf.d/00-nabo.conf'])
    assert.deepEqual(await mirrors('registries.conf.d/00-nabo.conf'), [['docker.io', '127.0.0.1:7950/docker.io']])
    const path = join(configDir, 'registries.conf.d/00-nabo.conf')
    const { mtimeNs, ino } = await stat(path, { bigint: true })
    assert.deepEqual(await configure(), [])
    const after = await stat(path, { bigint: true })
    assert.deepEqual([after.mtimeNs, after.ino], [mtimeNs, ino])
  })

  it('goes into the entry that counts: that of the last file with one for the registry', async () => {
    await write('registries.conf', HUB)
    await write('registries.conf.d/10-first.conf', HUB.replace('a.example', 'b.example'))
    await write('registries.conf.d/90-last.conf', `${HUB.replace('a.example', 'c.example')}\n${HUB}`)
    assert.deepEqual(await configure(), ['registries.conf.d/90-last.conf'])
    assert.deepEqual(await mirrors('registries.conf.d/90-last.conf'), [
      ['docker.io', '127.0.0.1:7950/docker.io', 'c.example'],
      ['docker.io', '127.0.0.1:7950/docker.io', 'a.example'],
    ])
  })

  it('moves when somebody has written an entry since', async () => {
    await configure({ registries: ['docker.io', 'ghcr.io'] })
    await write('registries.conf', HUB)
    assert.deepEqual(await configure({ registries: ['docker.io', 'ghcr.io'] }), [
      'registries.conf',
      'registries.conf.d/00-nabo.conf',
    ])
    assert.deepEqual(await mirrors('registries.conf'), [['docker.io', '127.0.0.1:7950/docker.io', 'a.example']])
    assert.deepEqual(await mirrors('registries.conf.d/00-nabo.conf'), [['ghcr.io', '127.0.0.1:7950/ghcr.io']])
    await configure()
    assert.deepEqual(Object.keys(await fileTree(configDir)), ['registries.conf'])
  })

  it('mirrors a registry from where it really is', async () => {
    const text = '[[registry]]\nprefix = "docker.io"\nlocation = "proxy.example/hub"\n'
    await write('registries.conf', text)
    await configure()
    assert.deepEqual(await mirrors('registries.conf'), [['docker.io', '127.0.0.1:7950/proxy.example/hub']])
    await write('registries.conf', text.replace('proxy.example', 'proxy'))
    await assert.rejects(configure, /sends docker.io to "proxy\/hub", which is no registry that Nabo can mirror/)
  })

  it('leaves all files alone if one is broken, and says which', async () => {
    await write('registries.conf', HUB)
    await write('registries.conf.d/50-bad.conf', '[[registry')
    const before = await fileTree(root)
    await assert.rejects(configure, /registries.conf.d\/50-bad.conf was left alone: it is not valid TOML/)
    await write('registries.conf.d/50-bad.conf', '[registries.insecure]\nregistries = []\n')
    await assert.rejects(configure, /50-bad.conf was left alone: it is in the first version of the format/)
    await write('registries.conf.d/50-bad.conf', '[[registry')
    assert.deepEqual(await fileTree(root), before)
  })

  it('takes itself out also where other files are broken', async () => {
    await write('registries.conf', HUB)
    await configure({ registries: ['docker.io', 'ghcr.io'] })
    await write('registries.conf.d/50-bad.conf', '[[registry')
    await restore()
    assert.equal(await readFile(join(configDir, 'registries.conf'), 'utf8'), HUB)
    assert.deepEqual(Object.keys(await fileTree(configDir)), [
      'registries.conf',
      'registries.conf.d',
      'registries.conf.d/50-bad.conf',
    ])
  })

  it('follows a link to the file, and leaves the link', async () => {
    await write('real.conf', HUB)
    await symlink('real.conf', join(configDir, 'registries.conf'))
    const before = await fileTree(root)
    await configure()
    assert.match(await readFile(join(configDir, 'real.conf'), 'utf8'), /7950/)
    await restore()
    assert.deepEqual(await fileTree(root), before)
  })
})
