import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { WarmNodeLine } from '../../src/contracts/admin/warm.ts'
import { WarmView } from '../../src/cli/warm-view.ts'

class Pipe {
  readonly isTTY: boolean
  readonly rows = 4
  readonly columns = 60
  text = ''

  constructor(isTTY: boolean) {
    this.isTTY = isTTY
  }

  write(text: string): void {
    this.text += text
  }
}

const line = (n: number, state: WarmNodeLine['state'], extra: Partial<WarmNodeLine> = {}): WarmNodeLine => ({
  type: 'node',
  node: `id-${n}`,
  address: `10.0.0.${n}:7951`,
  state,
  ...extra,
})

function show(lines: readonly WarmNodeLine[], options: { tty?: boolean; json?: boolean } = {}) {
  const [out, err] = [new Pipe(false), new Pipe(options.tty === true)]
  const view = new WarmView({ json: options.json === true, out, err })
  for (const each of lines) {
    view.raw(each)
    view.update(each)
  }
  view.finish()
  return { out: out.text, err: err.text }
}

const MIB = 2 ** 20

describe('what nabo warm shows', () => {
  it('is a line for each change of state, and a table in which what went wrong comes first', () => {
    const { out, err } = show([
      line(10, 'queued'),
      line(2, 'queued'),
      line(10, 'pulling', { bytes: 0, total: 4 * MIB }),
      line(10, 'pulling', { bytes: 2 * MIB, total: 4 * MIB }),
      line(2, 'failed', { message: 'no space\u001B[31m left' }),
      line(10, 'done', {
        bytes: 4 * MIB,
        total: 4 * MIB,
        fromPeers: 3 * MIB,
        fromUpstream: MIB,
        seconds: 2.5,
        zone: 'a',
      }),
    ])
    assert.deepEqual(err.split('\n'), [
      '10.0.0.10:7951 queued',
      '10.0.0.2:7951 queued',
      '10.0.0.10:7951 pulling',
      '10.0.0.2:7951 failed: no space\uFFFD[31m left',
      '10.0.0.10:7951 done',
      '',
    ])
    const rows = out
      .trimEnd()
      .split('\n')
      .map((row) => row.split(/\s{2,}/))
    assert.deepEqual(rows[0], ['NODE', 'ZONE', 'RESULT', 'SIZE', 'FROM NODES', 'FROM REGISTRY', 'TIME', 'NOTE'])
    assert.deepEqual(rows[1]?.slice(0, 3), ['10.0.0.2:7951', '-', 'failed'])
    assert.deepEqual(rows[2], ['10.0.0.10:7951', 'a', 'done', '4.0 MiB', '3.0 MiB', '1.0 MiB', '2.5 s'])
  })

  it('fits a terminal, and leaves nothing of itself there', () => {
    const many = Array.from({ length: 20 }, (_, n) => line(n, 'pulling', { bytes: MIB, total: 2 * MIB }))
    const { out, err } = show(many, { tty: true })
    assert.ok(err.startsWith('0 of 1 node done\n'))
    assert.ok(err.includes('50 % of 2.0 MiB'))
    assert.ok(err.endsWith('\u001B[2A\u001B[0J'))
    assert.equal(out.trimEnd().split('\n').length, 21)
  })

  it('is for programs what the daemon says, and nothing else', () => {
    const { out, err } = show([line(1, 'done')], { json: true })
    assert.deepEqual(JSON.parse(out), line(1, 'done'))
    assert.equal(err, '')
  })
})
