import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { peerIdFromPrivateKey } from '@libp2p/peer-id'

import { loadIdentity } from '../../../src/overlay/libp2p/identity.ts'

describe('identity', () => {
  let dir: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'nabo-identity-'))
  })
  afterEach(() => rm(dir, { recursive: true }))

  const idOf = async (dataDir: string | undefined) => peerIdFromPrivateKey(await loadIdentity(dataDir)).toString()

  it('is kept in the data directory', async () => {
    const data = join(dir, 'deep', 'data')
    assert.equal(await idOf(data), await idOf(data))
    assert.deepEqual(await readdir(data), ['identity.key'])
    assert.equal((await stat(join(data, 'identity.key'))).mode & 0o777, 0o600)
  })

  it('is a new one each time without a directory', async () => {
    assert.notEqual(await idOf(undefined), await idOf(undefined))
  })

  it('says what to do when the file is damaged', async () => {
    for (const content of ['', 'nonsense', Buffer.alloc(68, 8)]) {
      await writeFile(join(dir, 'identity.key'), content)
      await assert.rejects(loadIdentity(dir), /identity\.key is damaged: restore the file, or delete it/)
    }
  })

  it('says so when the directory cannot be used', async () => {
    const file = join(dir, 'file')
    await writeFile(file, '')
    await assert.rejects(loadIdentity(file), /^Error: cannot (?:read|keep) the identity in .*identity\.key/)
  })
})
