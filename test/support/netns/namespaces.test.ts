import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'

import { execute, runSync } from './commands.ts'
import { namespacesUnavailable, sweep } from './namespaces.ts'

const namespacesUrl = new URL('namespaces.ts', import.meta.url).href
const clean = { code: 0, stdout: '', stderr: '' }
const skip = namespacesUnavailable() ?? false

describe('what a killed test left behind', { skip }, () => {
  it('is removed, even by several processes at once', async () => {
    const { pid: ended } = spawnSync('true')
    const names = Array.from({ length: 12 }, (_, i) => `nabo-net-${ended}-0-n${i}`)
    for (const name of names) runSync('ip', 'netns', 'add', name)

    const other = ['--input-type=module', '-e', `(await import(${JSON.stringify(namespacesUrl)})).sweep()`]
    const [first, second] = await Promise.all([execute(process.execPath, other), execute(process.execPath, other)])

    assert.deepEqual([first, second], [clean, clean])
    await sweep()
    const left = runSync('ip', 'netns', 'list').split('\n')
    assert.deepEqual(
      left.filter((line) => line.startsWith(`nabo-net-${ended}-`)),
      [],
    )
  })
})
