import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { Spool, SpoolError } from '../../../src/delivery/integrity/spool.ts'

describe('a directory for temporary files', () => {
  let directory: string

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-spool-'))
  })
  after(() => rm(directory, { recursive: true, force: true }))

  it('keeps what is written without a name, and is created if it is missing', async () => {
    const inner = join(directory, 'a', 'b')
    const file = await new Spool(inner).create(10)
    await file.write(Buffer.from('01234'), 0)
    await file.write(Buffer.from('56789'), 5)
    assert.deepEqual(await readdir(inner), [])
    const target = Buffer.alloc(10)
    assert.equal(await file.read(target, 4, 3), 4)
    assert.equal(target.toString('utf8', 0, 4), '3456')
    await file.close()
    await assert.rejects(file.write(Buffer.from('x'), 0), SpoolError)
  })

  it('promises no more than half of what is free, all files together', async () => {
    const { bavail, bsize, type } = await statfs(directory)
    const spool = new Spool(directory)
    await assert.rejects(spool.create(bavail * bsize * 0.6), SpoolError)
    // On a tmpfs 64 MiB are the limit.
    const part = type === 0x01021994 ? 40 * 1024 * 1024 : bavail * bsize * 0.3
    const first = await spool.create(part)
    await assert.rejects(spool.create(part), SpoolError)
    await first.close()
    await (await spool.create(part)).close()
  })

  it('says why it cannot be written', async () => {
    await assert.rejects(new Spool('/proc/nowhere').create(1), /no temporary file in \/proc\/nowhere: /)
  })
})
