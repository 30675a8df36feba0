import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { findContainerdCertificates } from '../../src/daemon/containerd-certificates.ts'

describe("containerd's certificates for a registry", () => {
  let configDir: string
  beforeEach(async () => {
    configDir = await mkdtemp(join(tmpdir(), 'nabo-certs-'))
  })
  afterEach(() => rm(configDir, { recursive: true, force: true }))

  const add = async (directory: string) => {
    await mkdir(join(configDir, directory))
    await writeFile(join(configDir, directory, 'ca.crt'), 'x')
  }
  const found = async (registry: string) =>
    (await findContainerdCertificates(configDir, registry)).hosts.map(({ from, urls }) => [from, urls[0]?.href])

  it('may be in a directory with the default port', async () => {
    await add('r.example:443')
    await add('s.example_443_')
    await add('localhost:443')
    assert.deepEqual(await found('r.example'), [[join(configDir, 'r.example:443'), 'https://r.example/']])
    assert.deepEqual(await found('s.example'), [[join(configDir, 's.example_443_'), 'https://s.example/']])
    assert.deepEqual(await found('r.example:5000'), [])
    assert.deepEqual(await found('localhost'), [])
    await add('r.example')
    assert.deepEqual(await found('r.example'), [[join(configDir, 'r.example'), 'https://r.example/']])
  })
})
