import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { readContainerdConfig } from '../../src/doctor/containerd-config.ts'

const V1 = { major: 1, minor: 7, patch: 24 }
const V2 = { major: 2, minor: 1, patch: 9 }

describe("containerd's configuration", () => {
  let directory: string
  let file: string

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-config-'))
    file = join(directory, 'config.toml')
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  const read = async (files: Record<string, string>, major?: number) => {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(directory, name)), { recursive: true })
      await writeFile(join(directory, name), text)
    }
    const config = await readContainerdConfig(file, { running: major === 2 ? V2 : V1 })
    assert.equal(config.state, 'read', JSON.stringify(config))
    return config
  }

  it('is read in each version of its format', async () => {
    for (const [version, section, major] of [
      ['', 'plugins.cri', 1],
      ['version = 1', 'plugins.cri', 1],
      ['version = 2', 'plugins."io.containerd.grpc.v1.cri"', 1],
      ['version = 2', 'plugins."io.containerd.grpc.v1.cri"', 2],
      ['version = 3', "plugins.'io.containerd.cri.v1.images'", 2],
    ] as const) {
      const text = `${version}\n[${section}.registry]\nconfig_path = "/certs"\n`
      const { configPath, isMisplaced } = await read({ 'config.toml': text }, major)
      assert.deepEqual({ configPath, isMisplaced }, { configPath: '/certs', isMisplaced: false }, section)
    }
  })

  it('is not taken from where the running version does not look', async () => {
    for (const [version, section, major] of [
      ['version = 3', 'plugins."io.containerd.grpc.v1.cri"', 2],
      ['version = 2', "plugins.'io.containerd.cri.v1.images'", 1],
    ] as const) {
      const text = `${version}\n[${section}.registry]\nconfig_path = "/certs"\n`
      const { configPath, isMisplaced } = await read({ 'config.toml': text }, major)
      assert.deepEqual({ configPath, isMisplaced }, { configPath: '', isMisplaced: true }, section)
    }
  })

  it('says whether layers are thrown away, and which mirrors of the old kind there are', async () => {
    const old = `version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
discard_unpacked_layers = true
[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
endpoint = ["http://127.0.0.1:5000"]
`
    const { discardsLayers, inlineMirrors } = await read({ 'config.toml': old }, 1)
    assert.deepEqual({ discardsLayers, inlineMirrors }, { discardsLayers: true, inlineMirrors: ['docker.io'] })
    const text = `version = 3\n[plugins."io.containerd.cri.v1.images"]\ndiscard_unpacked_layers = true\n`
    assert.equal((await read({ 'config.toml': text }, 2)).discardsLayers, true)
  })

  it('includes what it imports, by name and by pattern, once each', async () => {
    const plugin = (text: string) => `version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n${text}\n`
    const config = await read(
      {
        'config.toml': `imports = ["conf.d/*.toml", "last.toml"]\n${plugin('config_path = "/first"')}`,
        'conf.d/a.toml': plugin('config_path = "/a"'),
        'conf.d/b.toml': `imports = ["../config.toml"]\n${plugin('config_path = "/b"')}`,
        'last.toml': 'version = 2\n',
      },
      2,
    )
    assert.equal(config.configPath, '/b')
    assert.deepEqual(
      config.files.map((path) => path.slice(directory.length + 1)),
      ['config.toml', 'conf.d/a.toml', 'conf.d/b.toml', 'last.toml'],
    )
  })

  it('loses a section to an imported one of the same plugin before 2.0, and only its keys from then on', async () => {
    const files = {
      'config.toml': `version = 2\nimports = ["more.toml"]\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/certs"\n`,
      'more.toml': `version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "pause"\n`,
    }
    assert.equal((await read(files, 1)).configPath, '')
    assert.equal((await read(files, 2)).configPath, '/certs')
  })

  it('is missing, or invalid with its line, and an imported one is named', async () => {
    assert.deepEqual(await readContainerdConfig(file, { running: V1 }), { state: 'missing', file })
    await writeFile(file, 'version = 2\nplugins = = 3\n')
    assert.deepEqual(await readContainerdConfig(file, { running: V1 }), {
      state: 'invalid',
      file,
      says: 'line 2: invalid value',
    })
    await writeFile(file, 'version = 2\nimports = ["none.toml"]\n')
    assert.deepEqual(await readContainerdConfig(file, { running: V1 }), {
      state: 'missing',
      file: join(directory, 'none.toml'),
    })
    await writeFile(file, 'version = "two"\n')
    assert.equal((await readContainerdConfig(file, { running: V1 })).state, 'invalid')
  })

  it('is not known in a container that does not see the file, or one that it imports', async () => {
    const outside = join(directory, 'outside')
    const isVisible = async (path: string) => !path.startsWith(outside) && path.startsWith(directory)
    const options = { running: V2, isVisible }
    const hidden = join(outside, 'config.toml')
    assert.deepEqual(await readContainerdConfig(hidden, options), { state: 'hidden', file: hidden })
    assert.deepEqual(await readContainerdConfig(file, options), { state: 'missing', file })
    for (const pattern of [join(outside, '*.toml'), join(outside, 'deep/*/a.toml'), join(outside, 'a.toml')]) {
      await writeFile(file, `version = 2\nimports = [${JSON.stringify(pattern)}]\n`)
      const expected = { state: 'hidden', file: pattern, importedBy: file }
      assert.deepEqual(await readContainerdConfig(file, options), expected)
    }
    // A directory that is visible, and not there, has nothing to import.
    await writeFile(file, 'version = 2\nimports = ["conf.d/*.toml"]\n')
    assert.equal((await readContainerdConfig(file, options)).state, 'read')
  })

  it('is not known in a container if a symbolic link leaves what is mounted there', async () => {
    const outside = join(directory, 'outside')
    const isVisible = async (path: string) => !path.startsWith(outside) && path.startsWith(directory)
    const options = { running: V2, isVisible }
    // Absolute, relative, over another link, and to a file that nothing in the container has.
    await symlink(join(outside, 'real.toml'), join(directory, 'hop.toml'))
    for (const [link, target] of [
      [join(outside, 'real.toml'), 'real.toml'],
      ['outside/real.toml', 'real.toml'],
      ['hop.toml', 'real.toml'],
      [join(outside, 'deep/a.toml'), 'deep/a.toml'],
    ] as const) {
      await rm(file, { force: true })
      await symlink(link, file)
      const expected = { state: 'hidden', file, target: join(outside, target) }
      assert.deepEqual(await readContainerdConfig(file, options), expected, link)
    }
    // What the link leads to is visible, and not there.
    await rm(file)
    await symlink('none.toml', file)
    assert.deepEqual(await readContainerdConfig(file, options), { state: 'missing', file })
    await rm(file)
    await symlink('config.toml', file)
    assert.equal((await readContainerdConfig(file, options)).state, 'invalid')
  })

  it('is not known in a container if an imported file or directory is such a link', async () => {
    const outside = join(directory, 'outside')
    const isVisible = async (path: string) => !path.startsWith(outside) && path.startsWith(directory)
    const options = { running: V2, isVisible }
    await writeFile(file, 'version = 2\nimports = ["conf.d/*.toml"]\n')
    await mkdir(join(directory, 'conf.d'))
    const dropIn = join(directory, 'conf.d/a.toml')
    await symlink(join(outside, 'a.toml'), dropIn)
    assert.deepEqual(await readContainerdConfig(file, options), {
      state: 'hidden',
      file: dropIn,
      importedBy: file,
      target: join(outside, 'a.toml'),
    })
    await rm(join(directory, 'conf.d'), { recursive: true })
    await symlink(outside, join(directory, 'conf.d'))
    assert.deepEqual(await readContainerdConfig(file, options), {
      state: 'hidden',
      file: join(directory, 'conf.d/*.toml'),
      importedBy: file,
      target: outside,
    })
  })

  it('names no directory by itself before 2.2, and a list from then on', async () => {
    await writeFile(file, 'version = 3\n')
    for (const [minor, path] of [
      [1, ''],
      [2, '/etc/containerd/certs.d:/etc/docker/certs.d'],
    ] as const) {
      const config = await readContainerdConfig(file, { running: { major: 2, minor, patch: 0 } })
      assert.equal(config.state === 'read' && config.configPath, path)
    }
  })

  it('is translated file by file from 2.3 on, of each format before its newest', async () => {
    const running = { major: 2, minor: 3, patch: 4 }
    const old = 'plugins."io.containerd.grpc.v1.cri"'
    for (const text of [
      '[plugins.cri.registry]\nconfig_path = "/certs"\n',
      `version = 3\n[${old}.registry]\nconfig_path = "/certs"\n`,
    ]) {
      await writeFile(file, text)
      const config = await readContainerdConfig(file, { running })
      assert.equal(config.state === 'read' && config.configPath, '/certs', text)
    }
  })
})
