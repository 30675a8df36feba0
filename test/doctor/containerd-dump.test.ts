// What is read from containerd's files, against what each real containerd makes of them.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { parse } from 'smol-toml'

import { readContainerdConfig } from '../../src/doctor/containerd-config.ts'
import { imageSettings } from '../../src/doctor/containerd-settings.ts'
import { comparedVersions, findContainerd } from '../support/containerd.ts'
import { execute } from '../support/netns/commands.ts'

const OLDEST = 'plugins.cri'
const OLD = 'plugins."io.containerd.grpc.v1.cri"'
const NEW = 'plugins."io.containerd.cri.v1.images"'

const registry = (section: string, path: string) => `[${section}.registry]\nconfig_path = "${path}"\n`
const discards = (section: string, value: boolean) =>
  `[${section}${section === NEW ? '' : '.containerd'}]\ndiscard_unpacked_layers = ${value}\n`
const imports = (version: number, ...paths: string[]) => `version = ${version}\nimports = ${JSON.stringify(paths)}\n`

/** Files by name; `@` is their directory. */
const LAYOUTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'one file of version 1': { 'config.toml': registry(OLDEST, '/a') + discards(OLDEST, true) },
  'one file of version 2': { 'config.toml': `version = 2\n${registry(OLD, '/a')}${discards(OLD, true)}` },
  'nothing about images': { 'config.toml': 'version = 2\n' },
  'the old name and the new one in one file': {
    'config.toml': `version = 2\n${registry(OLD, '/a')}${registry(NEW, '/b')}${discards(NEW, true)}`,
  },
  'a false that is imported over a true': {
    'config.toml': `${imports(2, 'more.toml')}${registry(OLD, '/a')}${discards(OLD, true)}`,
    'more.toml': `version = 2\n${discards(OLD, false)}`,
  },
  'another key of the plugin that is imported': {
    'config.toml': `${imports(2, '@/more.toml')}${registry(OLD, '/a')}${discards(OLD, true)}`,
    'more.toml': `version = 2\n[${OLD}]\nenable_selinux = true\n`,
  },
  'another plugin that is imported': {
    'config.toml': `${imports(2, '@/more.toml')}${registry(OLD, '/a')}`,
    'more.toml': `version = 2\n[plugins."io.containerd.gc.v1.scheduler"]\nmutation_threshold = 90\n`,
  },
  'a relative pattern': {
    'config.toml': `${imports(2, 'conf.d/*.toml')}${registry(OLD, '/a')}`,
    'conf.d/a.toml': `version = 2\n${registry(OLD, '/first')}`,
    'conf.d/b.toml': `version = 2\n${registry(OLD, '/last')}${discards(OLD, true)}`,
    'conf.d/c.part': 'no TOML at all',
  },
  'a pattern in the middle, and a file that imports': {
    'config.toml': `${imports(2, '@/*/a.toml')}${registry(OLD, '/a')}`,
    'one/a.toml': `${imports(2, 'deep.toml')}${registry(OLD, '/one')}`,
    'one/deep.toml': `version = 2\n${registry(OLD, '/deep')}`,
    'two/a.toml': `version = 2\n${registry(OLD, '/two')}`,
  },
}
const LAYOUTS_OF_2: typeof LAYOUTS = {
  'files of the versions 2 and 1': {
    'config.toml': `${imports(2, '@/more.toml')}${registry(OLD, '/a')}`,
    'more.toml': registry(OLDEST, '/b'),
  },
  'layers that are thrown away beside runtimes, in a file of version 2': {
    'config.toml': `version = 2\n${discards(OLD, true)}[${OLD}.containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n`,
  },
  'what the transfer service does not support, without runtimes': {
    'config.toml': `version = 2\n[${OLD}]\nmax_concurrent_downloads = 5\n[${OLD}.containerd]\ndisable_snapshot_annotations = false\n`,
  },
  'what the transfer service does not support, beside runtimes': {
    'config.toml': `version = 2\n[${OLD}.containerd]\ndisable_snapshot_annotations = false\n[${OLD}.containerd.runtimes.runc]\n`,
  },
  'credentials in the old way': {
    'config.toml': `version = 2\n[${OLD}.registry.configs."a.example".auth]\nusername = "a"\n`,
  },
  'one file of version 3': { 'config.toml': `version = 3\n${registry(NEW, '/a')}${discards(NEW, true)}` },
  'the old name in a file of version 3': { 'config.toml': `version = 3\n${registry(OLD, '/a')}` },
  'version 3 that is imported into version 2': {
    'config.toml': `${imports(2, '@/more.toml')}${registry(OLD, '/a')}`,
    'more.toml': `version = 3\n${discards(NEW, true)}`,
  },
  'version 2 that is imported into version 3': {
    'config.toml': `${imports(3, '@/more.toml')}${registry(NEW, '/a')}${discards(NEW, true)}`,
    'more.toml': `version = 2\n${registry(OLD, '/b')}`,
  },
  'a drop-in without a version': {
    'config.toml': `${imports(3, '@/conf.d/*.toml')}${registry(NEW, '/a')}${discards(NEW, true)}`,
    'conf.d/keep.toml': discards(NEW, false),
  },
}

for (const version of comparedVersions()) {
  const found = await findContainerd({ version })
  describe(`the files of containerd ${version}`, { skip: 'skip' in found ? found.skip : false }, () => {
    const containerd = join('binDir' in found ? found.binDir : '', 'containerd')
    let root: string
    let running: { major: number; minor: number; patch: number }

    before(async () => {
      root = await mkdtemp(join(tmpdir(), 'nabo-dump-'))
      const { stdout } = await execute(containerd, ['--version'])
      const [, major = 0, minor = 0, patch = 0] = (/ v?(\d+)\.(\d+)\.(\d+)/.exec(stdout) ?? []).map(Number)
      running = { major, minor, patch }
      assert.equal(`${major}.${minor}`, version, stdout)
    })
    after(() => rm(root, { recursive: true, force: true }))

    for (const [name, files] of Object.entries({ ...LAYOUTS, ...(version.startsWith('2.') ? LAYOUTS_OF_2 : {}) })) {
      it(`mean the same to the doctor: ${name}`, async () => {
        const directory = await mkdtemp(join(root, 'l'))
        for (const [path, text] of Object.entries(files)) {
          await mkdir(dirname(join(directory, path)), { recursive: true })
          await writeFile(join(directory, path), text.replaceAll('@', directory))
        }
        const file = join(directory, 'config.toml')
        // Its working directory is not that of the files, as under systemd.
        const dumped = await execute(containerd, ['--config', file, 'config', 'dump'])
        assert.equal(dumped.code, 0, dumped.stderr)
        const read = await readContainerdConfig(file, { running })
        assert.ok(read.state === 'read', JSON.stringify(read))
        const { version: format, plugins } = parse(dumped.stdout) as { version: number; plugins: object }
        // The dump of each version is a file of its newest format, with all defaults.
        const expected = imageSettings([{ version: format, plugins: { ...plugins } }], running)
        for (const key of ['configPath', 'discardsLayers', 'pullsLocally'] as const)
          assert.equal(read[key], expected[key], key)
      })
    }
  })
}
