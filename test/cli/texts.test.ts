import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { formatBytes, formatDuration, formatShare } from '../../src/cli/amounts.ts'
import { findText } from '../../src/cli/find.ts'
import type { PeerAnswer } from '../../src/contracts/admin/peers.ts'
import { peersText } from '../../src/cli/peers.ts'
import { printable } from '../../src/cli/printable.ts'
import { barProgress } from '../../src/cli/pull/progress.ts'
import type { PullContent } from '../../src/cli/pull/pull-image.ts'
import { fields, table } from '../../src/cli/table.ts'
import { type FindAnswer, find as findCall } from '../../src/contracts/admin/find.ts'
import { parseDigest } from '../../src/oci/digest.ts'

const digest = `sha256:${'ab'.repeat(32)}`

describe('tables', () => {
  it('align their columns, numbers to the right', () => {
    const text = table(
      ['NAME', { title: 'SIZE', align: 'right' }, 'NOTE'],
      [
        ['a', '1', ''],
        ['longer', '1000', 'x'],
      ],
      { bold: false },
    )
    assert.equal(text, 'NAME    SIZE  NOTE\na          1\nlonger  1000  x\n')
  })

  it('let nothing through that steers a terminal', () => {
    const hostile = 'a\u001B[2Jb\u0007\r\nc\u009Bd\u202Ee\u200Bf'
    const text = table(['NAME'], [[hostile]], { bold: false }) + fields([['x', hostile]])
    assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u)
    assert.equal(text.split('\n').length, 4)
  })
})

describe('amounts', () => {
  it('are short', () => {
    assert.deepEqual([0, 1023, 1024, 10_188, 10_300, 1_048_000, 3 * 1024 ** 3].map(formatBytes), [
      '0 B',
      '1023 B',
      '1.0 KiB',
      '9.9 KiB',
      '10 KiB',
      '1023 KiB',
      '3.0 GiB',
    ])
    assert.deepEqual([-5, 300, 42_000, 180_000, 7_200_000, 864_000_000].map(formatDuration), [
      '0.0 s',
      '0.3 s',
      '42 s',
      '3 min',
      '2 h',
      '10 days',
    ])
  })

  it('are never all before the end', () => {
    assert.deepEqual([formatShare(999, 1000), formatShare(1000, 1000), formatShare(0, 0)], ['99 %', '100 %', '0 %'])
  })
})

describe('the text of find', () => {
  const content = { kind: 'layer', digest, size: 2048, here: false, holders: [], complete: true, arriving: [] } as const
  const textOf = (changes: object) => {
    const answer: FindAnswer = findCall.answer.parse({
      reference: 'docker.io/library/app:1',
      contents: [{ ...content, ...changes }],
      bytes: 2048,
      silent: 0,
    })
    return findText(answer, { now: 0, full: false }).split('\n').at(-2)
  }

  it('tells nobody from nobody who could be asked', () => {
    assert.equal(textOf({}), 'layer 1/1  sha256:abababababab  2.0 KiB  nobody')
    assert.equal(textOf({ complete: false }), 'layer 1/1  sha256:abababababab  2.0 KiB  unknown')
    assert.equal(textOf({ here: undefined }), 'layer 1/1  sha256:abababababab  2.0 KiB  unknown')
    assert.match(textOf({ here: true, complete: false }) ?? '', / {2}this node, perhaps others$/)
  })

  it('names some of many nodes, and who is getting it', () => {
    const holders = Array.from({ length: 12 }, (_, at) => ({ id: `${at}`, address: `10.0.0.${at + 1}:7951` }))
    assert.match(textOf({ holders }) ?? '', / {2}10\.0\.0\.1:7951, 10\.0\.0\.2:7951, .*, 10\.0\.0\.5:7951, 7 more$/)
    const arriving = [{ address: '[fd00::2]:7951', self: false, position: 1024, size: 2048, from: '10.0.0.1:7951' }]
    assert.match(textOf({ arriving }) ?? '', / {2}nobody {3}\[fd00::2\]:7951 \(50 % from 10\.0\.0\.1:7951\)$/)
  })
})

describe('the text of peers', () => {
  it('says how each of them is', () => {
    const peer: PeerAnswer = {
      ...{ id: 'x', address: '10.0.0.10:7951', isHeard: true, isFailing: false },
      answer: 'ok',
      findings: [],
    }
    const says = 'its clock is 20 minutes ahead of that of this node'
    const finding = { id: 'clock', title: 'clock', level: 'warning', says, fix: 'set the clock' } as const
    const reported = { ...finding, says: 'clock: \u001B[31mwrong', seenBy: ['10.0.0.9:7951'] }
    const text = peersText([peer, { ...peer, address: '10.0.0.9:7951', knowsUs: false, findings: [finding, reported] }])
    assert.deepEqual(
      text.split('\n').map((line) => line.split(/ {2,}/).slice(0, 5)),
      [
        ['ADDRESS', 'ZONE', 'HEALTH', 'ROUND TRIP', 'IN SYNC'],
        ['10.0.0.9:7951', '-', 'warning', '-', 'it lacks some of ours'],
        ['10.0.0.10:7951', '-', 'well', '-', 'yes'],
        [''],
        ['10.0.0.9:7951'],
        ['', 'warning: its clock is 20 minutes ahead of that of this node'],
        ['', 'fix: set the clock'],
        ['', `warning: clock: ${printable('\u001B')}[31mwrong (it reports)`],
        ['', 'fix: set the clock'],
        [''],
      ],
    )
    assert.equal(peersText([]), 'No other node is known.\n')
    const refused = { host: '10.0.0.7', mismatch: 'secret' } as const
    assert.match(
      peersText([], [refused]),
      /^No other node is known\.\n\n10\.0\.0\.7 has another cluster secret than this node: /,
    )
  })
})

describe('the bars of a pull', () => {
  it('stay within the terminal, and leave a line for what has come whole', () => {
    const written: string[] = []
    const screen = { columns: 60, rows: 5, write: (text: string) => written.push(text) }
    const progress = barProgress(screen)
    const contents = Array.from({ length: 6 }, (): PullContent => {
      return { kind: 'layer', digest: parseDigest(digest) ?? assert.fail(), size: 1000 }
    })
    progress.event({ event: 'planned', contents })
    const origin = { source: 'peer', peer: '10.0.0.1:7951' } as const
    for (const content of contents) progress.event({ event: 'started', content, origin })
    const [first = assert.fail()] = contents
    progress.event({ event: 'progress', content: first, bytes: 1000 })
    progress.event({ event: 'done', content: first, origin, ms: 10 })
    progress.end()
    // oxlint-disable-next-line no-control-regex -- what moves the cursor
    const plain = written.map((text) => text.replaceAll(/\u001B\[\d*[A-Z]|\r/g, ''))
    assert.match(plain[0] ?? '', /^layer {6}sha256:abababababab/)
    assert.ok(plain.every((text) => text.split('\n').length <= 5 && text.split('\n').every((line) => line.length < 60)))
    assert.match(plain[0] ?? '', /total {6}1000 B of 5\.9 KiB, 17 %\n$/)
  })
})
