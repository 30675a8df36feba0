import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { pullErrors } from '../../bench/compare/report/pull-errors.ts'
import type { Run, RunNode } from '../../bench/compare/results.ts'

const contenders = [
  { id: 'none', title: 'No mirror' },
  { id: 'nabo', title: 'Nabo' },
]

function run(errors: (string | undefined)[], wish: Partial<Run> = {}): Run {
  const nodes = errors.map((error, index): RunNode => {
    const pull = { image: `bench/app-${index}:1`, at: 0, seconds: 1 }
    return { name: `n${index}`, pulls: [error === undefined ? { ...pull, ok: true } : { ...pull, ok: false, error }] }
  })
  const named = { scenario: 'e', variant: '1 kB', contender: 'nabo', repeat: 0 }
  return { ...named, images: [], nodes, wallSeconds: 1, ...wish }
}

function shown(errors: string[]): string[] {
  return pullErrors(contenders, [run(errors)]).flatMap((one) =>
    one.shown.map(({ error, count }) => `${count}: ${error}`),
  )
}

describe('why pulls failed', () => {
  it('is said once for pulls that differ in digest, address, port and image only', () => {
    const errors = [0, 1, 2].map(
      (index) =>
        `GET http://10.0.0.${index}:500${index}/v2/bench/app-${index}/manifests/sha256:${String(index).repeat(64)}:\n  dial tcp [fd00::${index}]:443, cache:3128${index}: refused`,
    )
    assert.deepEqual(shown(errors), ['3: GET http://…/v2/…/manifests/sha256:…: dial tcp …, cache:…: refused'])
  })

  it('is at most three sentences for a contender, the most frequent first', () => {
    const [errors, ...others] = pullErrors(contenders, [run(['one', 'two', 'three', 'four', 'four', 'five'])])
    assert.equal(others.length, 0)
    assert.equal(errors?.contender.title, 'Nabo')
    assert.deepEqual(
      errors.shown.map(({ error, count }) => [error, count]),
      [
        ['four', 2],
        ['one', 1],
        ['two', 1],
      ],
    )
    assert.equal(errors.others, 2)
  })

  it('keeps the beginning and the end of a long one', () => {
    const [line] = shown([`what was tried ${'and so on '.repeat(100)}429 Too Many Requests`])
    assert.match(line ?? '', /^1: what was tried .* … .*429 Too Many Requests$/u)
    assert.ok((line ?? '').length < 330)
  })

  it('is nothing where all pulls worked, or the benchmark itself failed', () => {
    assert.deepEqual(pullErrors(contenders, [run([undefined]), run(['x'], { repeat: 1, rigFailure: 'no space' })]), [])
  })
})
