// What is said of a `config_path` of versions of containerd that this machine need not have.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import type { ContainerdLook } from '../../src/store/containerd/running-containerd.ts'
import { examine } from '../support/doctor.ts'

const DEFAULT_LIST = '/etc/containerd/certs.d:/etc/docker/certs.d'

describe('a containerd whose file has no config_path', () => {
  let directory: string
  let file: string
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-config-path-'))
    file = join(directory, 'config.toml')
    await writeFile(join(directory, 'c.sock'), '')
  })
  after(() => rm(directory, { recursive: true, force: true }))

  const finding = async (version: string, text: string) => {
    await writeFile(file, text)
    const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number)
    const look: ContainerdLook = {
      state: 'answers',
      ...{ version: `v${version}`, major, minor, patch },
      ...{ contentRoot: undefined, startedAt: undefined, configFile: file },
      cri: { state: 'hidden' },
    }
    const flags = ['--store', 'containerd', '--containerd-config', file, '--config-dir', '/etc/containerd/certs.d']
    const options = { checks: ['config-path'], sources: { containerd: async () => look } }
    const all = await examine([...flags, '--containerd-socket', join(directory, 'c.sock')], options)
    return all.get('config-path') ?? assert.fail('nothing was found')
  }

  for (const version of ['2.2.0', '2.2.4', '2.3.0', '2.3.2'])
    it(`reads no hosts.toml with ${version}: its default is a list`, async () => {
      for (const text of ['version = 3\n', 'version = 2\n', '']) {
        const { level, says, fix } = await finding(version, text)
        const [major, minor] = version.split('.')
        const what = `containerd ${major}.${minor} takes its default list ${DEFAULT_LIST} for the name of one directory, and reads no hosts.toml`
        assert.deepEqual([level, says], ['error', what], text)
        assert.match(fix ?? '', /config_path = "\/etc\/containerd\/certs\.d"; then restart containerd/)
      }
    })

  for (const version of ['1.7.27', '2.0.5', '2.1.4'])
    it(`reads no hosts.toml with ${version}: it has no default`, async () => {
      const { level, says } = await finding(version, 'version = 2\n')
      assert.deepEqual([level, says], ['error', `config_path is not set in ${file}`])
    })

  it('reads it where the file names one directory, and the list where the CRI pulls by itself', async () => {
    const images = '[plugins."io.containerd.cri.v1.images"'
    const one = `version = 3\n${images}.registry]\nconfig_path = "/etc/containerd/certs.d"\n`
    assert.equal((await finding('2.2.0', one)).level, 'ok')
    assert.equal((await finding('2.3.0', `version = 3\n${images}]\nuse_local_image_pull = true\n`)).level, 'ok')
  })
})
