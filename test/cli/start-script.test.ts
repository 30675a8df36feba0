import assert from 'node:assert/strict'
import { chmod, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { execute } from '../support/netns/commands.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

describe('bin/nabo in a checkout without its packages', () => {
  let checkout: string
  before(async () => {
    checkout = await mkdtemp(join(tmpdir(), 'nabo-checkout-'))
    for (const name of ['bin', 'scripts', 'src', 'package.json'])
      await cp(join(ROOT, name), join(checkout, name), { recursive: true })
    await mkdir(join(checkout, 'new'))
    await symlink(process.execPath, join(checkout, 'new/node'))
    await mkdir(join(checkout, 'old'))
    await writeFile(join(checkout, 'old/node'), '#!/bin/sh\necho false\n')
    await chmod(join(checkout, 'old/node'), 0o755)
  })
  after(() => rm(checkout, { recursive: true, force: true }))

  for (const [age, sentence] of [
    ['new', /^nabo: its packages are not installed: run 'npm ci' in \S+nabo-checkout-\S+\n$/],
    ['old', /^nabo: needs Node 26 or newer; run 'npm ci' here, .*\n$/],
  ] as const) {
    it(`says in one sentence to run npm ci, with ${age === 'new' ? 'a Node that is new enough' : 'an old Node'}`, async () => {
      const env = { PATH: `${join(checkout, age)}:/usr/bin:/bin` }
      const { code, stdout, stderr } = await execute(join(checkout, 'bin/nabo'), ['status'], { env })
      assert.deepEqual([code, stdout], [69, ''])
      assert.match(stderr, sentence)
    })
  }
})
