import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { Child } from '../support/child.ts'
import { findContainerd } from '../support/containerd.ts'
import { type FoundTool, findTool } from '../support/debian-tool.ts'
import { eventually } from '../support/poll.ts'

interface Micro {
  readonly name: string
  /** A column of its table. */
  readonly column: string
  /** What it cannot do without. */
  readonly needs?: () => Promise<FoundTool>
}

const nginx = () => findTool('nginx')

const MICROS: readonly Micro[] = [
  { name: 'provider-index', column: 'hit p50 ms' },
  { name: 'small-requests', column: 'p99 over nginx', needs: nginx },
  { name: 'idle', column: 'all announced ms' },
  { name: 'serve-blob', column: 'blob × clients', needs: nginx },
  { name: 'bandwidth', column: 'ratio' },
  { name: 'pass-through', column: 'over node:http pipe', needs: findContainerd },
]

// Most of them wait most of the time.
describe('a micro-benchmark that is told to be quick', { concurrency: 2 }, () => {
  for (const { name, column, needs } of MICROS) {
    it(`ends well and prints its table: ${name}`, async (context) => {
      const found = await needs?.()
      if (found !== undefined && 'skip' in found) return context.skip(found.skip)
      const program = join(import.meta.dirname, '../../bench/micro', name, 'run.ts')
      const child = new Child(process.execPath, [program, '--quick'])
      try {
        assert.deepEqual(await child.exited, { code: 0, signal: null }, child.lines.join('\n'))
        // Its last words may come after its end.
        const table = () => child.lines.some((line) => line.startsWith('│') && line.includes(` ${column} `))
        await eventually(`a table with ${column}`, table, { timeoutMs: 5_000 })
      } finally {
        await child.stop()
      }
    })
  }
})
