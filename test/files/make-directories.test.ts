import assert from 'node:assert/strict'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { makeDirectories } from '../../src/files/make-directories.ts'

describe('making a directory', () => {
  let root: string
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabo-directories-'))
  })
  after(() => rm(root, { recursive: true }))

  it('makes the parents that are missing, with the same mode', async () => {
    const path = join(root, 'a', 'b', 'c')
    await makeDirectories(path, { mode: 0o700 })
    for (const made of [path, join(root, 'a')]) assert.equal((await stat(made)).mode & 0o777, 0o700)
    await makeDirectories(path)
    await Promise.all(Array.from({ length: 10 }, () => makeDirectories(join(root, 'x', 'y', 'z'))))
  })

  it('throws where no directory can be created', async () => {
    await assert.rejects(makeDirectories('/proc/nope'), { code: 'ENOENT' })
    await assert.rejects(makeDirectories('/proc/nope/deeper/still'), { code: 'ENOENT' })
    await writeFile(join(root, 'file'), '')
    await assert.rejects(makeDirectories(join(root, 'file')), { code: 'EEXIST' })
    await assert.rejects(makeDirectories(join(root, 'file', 'below')), { code: 'ENOTDIR' })
  })
})
