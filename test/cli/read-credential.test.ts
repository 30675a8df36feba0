import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { describe, it } from 'node:test'

import { readCredential } from '../../src/cli/pull/read-credential.ts'

const read = (text: string) => readCredential(Readable.from([Buffer.from(text)]), 'http://127.0.0.1:7950')

describe('the credentials on standard input', () => {
  it('may hold anything but a line break at their end', async () => {
    for (const credential of [
      'ann:x',
      '_json_key:{\n  "type": "service_account"\n}',
      ':token',
      'token:',
      'ann:\u0000\t:x',
    ]) {
      for (const end of ['', '\n', '\r\n']) assert.equal(await read(credential + end), credential)
    }
  })

  it('are refused without a colon, empty, or too long', async () => {
    for (const text of ['', 'ann', ':', ':\n']) await assert.rejects(read(text), /expects user:password/)
    await assert.rejects(read(`ann:${'x'.repeat(17_000)}`), /too long/)
  })
})
