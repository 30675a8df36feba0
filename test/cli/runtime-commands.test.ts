import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { fileTree } from '../support/file-tree.ts'
import { execute } from '../support/netns/commands.ts'

const NABO = fileURLToPath(new URL('../../bin/nabo', import.meta.url))

describe('nabo configure and nabo restore of docker, buildkit and podman', () => {
  let root: string

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabo-cli-'))
  })
  afterEach(() => rm(root, { recursive: true, force: true }))

  const nabo = async (args: readonly string[], env: NodeJS.ProcessEnv = {}) => {
    const { code, stdout, stderr } = await execute(NABO, args, { env: { PATH: process.env['PATH'], ...env } })
    const relative = (text: string) => text.replaceAll(`${root}/`, '')
    return { code, out: relative(stdout), err: relative(stderr) }
  }
  const where = () => ({
    docker: ['--config-file', join(root, 'daemon.json')],
    buildkit: ['--config-file', join(root, 'buildkitd.toml')],
    podman: ['--config-dir', join(root, 'containers')],
  })

  it('say which files they changed, and what makes the runtime read them', async () => {
    const drop = 'containers/registries.conf.d/00-nabo.conf'
    const expected = {
      docker: { files: ['daemon.json', 'daemon.json.nabo'], after: 'systemctl reload docker' },
      buildkit: { files: ['buildkitd.toml'], after: 'systemctl restart buildkit' },
      podman: { files: [drop], after: 'systemctl reload crio' },
    }
    for (const [name, { files, after }] of Object.entries(expected)) {
      const flags = where()[name as keyof typeof expected]
      const made = await nabo(['configure', name, ...flags])
      assert.equal(made.code, 0, made.err)
      assert.deepEqual(
        made.out.split('\n').slice(0, -2),
        files.map((file) => `${file}: created`),
      )
      assert.match(made.out, new RegExp(`${after}\n$`))
      assert.match((await nabo(['configure', name, ...flags])).out, /^\S+: unchanged\n$/)
      const restored = await nabo(['restore', name, ...flags])
      assert.deepEqual(restored.out.split('\n').slice(0, -2).sort(), files.map((file) => `${file}: removed`).sort())
      assert.match(restored.out, new RegExp(`${after}\n$`))
      assert.match((await nabo(['restore', name, ...flags])).out, /^nothing of Nabo is in \S+\n$/)
    }
    assert.deepEqual(await fileTree(root), {})
  })

  it('show with --dry-run what they would do, and do nothing', async () => {
    await writeFile(join(root, 'daemon.json'), '{\n  "debug": true,\n  "registry-mirrors": []\n}\n')
    const before = await fileTree(root)
    const { code, out } = await nabo(['configure', 'docker', ...where().docker, '--dry-run'])
    assert.equal(code, 0)
    assert.match(out, /^daemon\.json: would be changed\n {2}\+ {3}"registry-mirrors": \["http:\/\/127.0.0.1:7950"\]\n/)
    assert.match((await nabo(['configure', 'podman', ...where().podman, '--dry-run'])).out, /would be created/)
    assert.deepEqual(await fileTree(root), before)
  })

  it('take their flags from the environment as well', async () => {
    const NABO_BUILDKIT_CONFIG_FILE = join(root, 'x.toml')
    const env = { NABO_BUILDKIT_CONFIG_FILE, NABO_MIRROR_URL: 'http://127.0.0.1:1', NABO_REGISTRIES: 'ghcr.io' }
    assert.equal((await nabo(['configure', 'buildkit'], env)).code, 0)
    assert.match(
      await readFile(NABO_BUILDKIT_CONFIG_FILE, 'utf8'),
      /\[registry\."ghcr\.io"\]\n {2}mirrors = \["127\.0\.0\.1:1"\]/,
    )
  })

  it("do not take containerd's directory, which the daemon has in its environment, for Podman's", async () => {
    const env = { NABO_CONFIG_DIR: join(root, 'certs.d'), NABO_PODMAN_CONFIG_DIR: join(root, 'containers') }
    assert.equal((await nabo(['configure', 'podman'], env)).code, 0)
    assert.deepEqual(
      Object.keys(await fileTree(root)).filter((path) => path.endsWith('.conf')),
      ['containers/registries.conf.d/00-nabo.conf'],
    )
  })

  it('leave no folder behind when a file cannot be written, and end where folders cannot be made', async () => {
    const script = `ulimit -f 0; "${NABO}" configure podman --config-dir "${root}/a/b"`
    const full = await execute('sh', ['-c', script], { env: { PATH: process.env['PATH'] } })
    assert.equal(full.code, 1)
    assert.match(full.stderr, /^nabo: \S+00-nabo\.conf cannot be created: [^\n]+\n$/)
    assert.deepEqual(await fileTree(root), {})
    const nowhere = await nabo(['configure', 'podman', '--config-dir', '/proc/self/none'])
    assert.deepEqual(
      [nowhere.code, nowhere.err],
      [1, 'nabo: /proc/self/none/registries.conf.d/00-nabo.conf cannot be created: its directory is not there\n'],
    )
  })

  it('end quietly with who reads what they say, and with one sentence when that cannot be written', async () => {
    const args = `restore docker --config-file "${root}/daemon.json"`
    for (const [script, expected] of [
      // The reader has gone before the command begins.
      [`{ "${NABO}" ${args}; echo "$?" >&2; } | :`, /^0\n$/],
      [`"${NABO}" ${args} > /dev/full; echo "$?" >&2`, /^nabo: standard output cannot be written to: ENOSPC\n1\n$/],
    ] as const)
      assert.match((await execute('sh', ['-c', script], { env: { PATH: process.env['PATH'] } })).stderr, expected)
  })

  it('end with 1 and one sentence when a file is left alone, and with 2 when a flag is wrong', async () => {
    await writeFile(join(root, 'daemon.json'), '{')
    const refused = await nabo(['configure', 'docker', ...where().docker])
    assert.equal(refused.code, 1)
    assert.match(refused.err, /^nabo: daemon\.json was left alone: it is not valid JSON[^\n]*\n$/)
    assert.equal(await readFile(join(root, 'daemon.json'), 'utf8'), '{')
    for (const [args, message] of [
      [['configure', 'docker', '--mirror-url', 'http://127.0.0.1:7950/path'], /a URL without a path is expected/],
      [['configure', 'podman', '--mirror-url', 'http://nabo'], /a dot or a port/],
      [['configure', 'buildkit', '--registries', 'all'], /BuildKit knows no setting for all registries/],
      [['configure', 'podman', '--registries', 'not/one'], /is not a registry/],
      [['restore', 'docker', 'more'], /too many arguments/],
    ] as const) {
      const { code, err } = await nabo(args)
      assert.equal(code, 2, err)
      assert.match(err, message)
    }
  })
})
