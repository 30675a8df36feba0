import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { deriveKeys, readClusterSecrets } from '../../src/authentication/cluster-secret.ts'
import { errorText } from '../../src/telemetry/log.ts'

const OLD = 'the old secret of all nodes'
const NEW = 'the new secret of all nodes'

describe('a cluster secret file', () => {
  let directory: string
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-secret-'))
  })
  after(() => rm(directory, { recursive: true, force: true }))

  async function read(text: string) {
    const file = join(directory, 'secret')
    await writeFile(file, text)
    return readClusterSecrets(file)
  }

  it('holds one secret, whatever the editor put around it', async () => {
    for (const text of [OLD, `${OLD}\n`, `${OLD}\r\n`, `\n  ${OLD}  \n\n`]) {
      assert.deepEqual(await read(text), [deriveKeys(OLD)], JSON.stringify(text))
    }
  })

  it('holds two during a rotation, the current one first', async () => {
    assert.deepEqual(await read(`${NEW}\n${OLD}\n`), [deriveKeys(NEW), deriveKeys(OLD)])
  })

  it('gives each use a key of its own, the same on every node', () => {
    const { overlay, peer } = deriveKeys(OLD)
    assert.equal(overlay.length, 32)
    assert.equal(peer.length, 32)
    assert.notDeepEqual(overlay, peer)
    assert.deepEqual(deriveKeys(OLD), { overlay, peer })
    assert.notDeepEqual(deriveKeys(NEW).peer, peer)
  })

  it('that cannot be used says so in a sentence without a secret in it', async () => {
    for (const [text, sentence] of [
      ['', /must hold one secret, or two during a rotation; it holds 0/],
      ['\n \n', /it holds 0/],
      [`${OLD}\n${NEW}\n${OLD}x`, /it holds 3/],
      ['short', /at least 16 characters/],
      [`${OLD}\nshort`, /at least 16 characters/],
      ['x'.repeat(5000), /at most 4 KiB/],
      [`${OLD}\n${' '.repeat(5000)}`, /at most 4 KiB/],
    ] as const) {
      await assert.rejects(read(text), (error: Error) => {
        assert.match(error.message, sentence)
        assert.ok(!error.message.includes(OLD))
        return true
      })
    }
    await assert.rejects(readClusterSecrets(join(directory, 'none')), /none cannot be read: ENOENT/)
    await assert.rejects(readClusterSecrets(directory), /cannot be read: EISDIR/)
    const error: unknown = await readClusterSecrets(directory).catch((thrown: unknown) => thrown)
    assert.match(errorText(error), /cannot be read: EISDIR$/, 'once')
  })
})
