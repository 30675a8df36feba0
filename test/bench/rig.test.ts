import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { logsOf } from '../../bench/compare/rig/logs.ts'
import { busiest, possibleVictims } from '../../bench/compare/rig/victim.ts'
import { batchesOf } from '../../bench/compare/scenarios/all.ts'

const NODES = ['node-0', 'node-1', 'node-2']

function mirror(node: string, end?: string, lines: readonly string[] = []) {
  return { node, ended: () => end, log: () => lines }
}

describe('the mirror that is killed', () => {
  const possible = (processes: ReturnType<typeof mirror>[]) =>
    possibleVictims(processes, ['node-0', 'node-1'], NODES).map(({ node }) => node)

  it('is on a node that had the image', () => {
    assert.deepEqual(possible(NODES.map((node) => mirror(node))), ['node-0', 'node-1'])
  })

  it('is the cache where no node has a mirror, and nobody where there is none', () => {
    assert.deepEqual(possible([mirror('cache')]), ['cache'])
    assert.deepEqual(possible([]), [])
  })

  it('is none that ended by itself, nor one of a node that only pulls', () => {
    assert.deepEqual(possible([mirror('node-0', 'exit 1'), mirror('node-1'), mirror('node-2')]), ['node-1'])
    assert.deepEqual(possible([mirror('node-2')]), [])
  })

  it('is the one that has sent most, the first of equals', () => {
    const victims = [
      { node: 'a', sentBytes: 0 },
      { node: 'b', sentBytes: 9 },
      { node: 'c', sentBytes: 9 },
    ]
    assert.equal(busiest(victims)?.node, 'b')
    assert.equal(busiest([]), undefined)
  })
})

describe('the logs of mirrors', () => {
  const many = Array.from({ length: 100 }, (_, i) => `line ${i}`)
  const none = new Set<string>()

  it('are of those that ended by themselves, if there are any', () => {
    const processes = [
      mirror('node-0', undefined, many),
      mirror('node-1', 'SIGKILL', many),
      mirror('node-2', '1', ['bad']),
    ]
    assert.deepEqual(logsOf(processes, new Set(['node-1'])), ['node-2: bad'])
  })

  it('are otherwise the ends of all, as much of each', () => {
    const logs = logsOf([mirror('a', undefined, many), mirror('b', undefined, many)], none, 60)
    assert.deepEqual(logs, ['a: line 98', 'a: line 99', 'b: line 98', 'b: line 99'])
  })

  it('have the begin of a last line that is too long', () => {
    assert.deepEqual(logsOf([mirror('a', undefined, ['first', 'x'.repeat(100)])], none, 10), [`a: ${'x'.repeat(7)}`])
  })
})

describe('a rolling update', () => {
  it('takes a fifth of the nodes at a time, rounded up', () => {
    const sizes = (nodes: number) => batchesOf(Array.from({ length: nodes }, (_, i) => i)).map(({ length }) => length)
    assert.deepEqual(
      [2, 3, 5].map(sizes),
      [2, 3, 5].map((nodes) => Array.from({ length: nodes }, () => 1)),
    )
    assert.deepEqual(sizes(6), [2, 2, 2])
    assert.deepEqual(sizes(11), [3, 3, 3, 2])
    assert.deepEqual(batchesOf([7, 8, 9, 4, 5, 6]).flat(), [7, 8, 9, 4, 5, 6])
  })
})
