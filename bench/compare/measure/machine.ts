import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'

import { findContainerd } from '../../../test/support/containerd.ts'
import { execute } from '../../../test/support/netns/commands.ts'
import type { Machine } from '../results.ts'
import { fileSystemOf } from './file-system.ts'

/** Describes this machine and what all contenders have in common. */
export async function describeMachine(): Promise<Machine> {
  const containerd = await findContainerd()
  const path = 'skip' in containerd ? 'containerd' : join(containerd.binDir, 'containerd')
  const [load = 0] = os.loadavg()
  const { stdout } = await execute(path, ['--version'])
  // Clusters keep their content stores there.
  const fileSystem = await fileSystemOf(os.tmpdir())
  return {
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    os: await osName(),
    kernel: os.release(),
    ...(fileSystem === undefined ? {} : { fileSystem }),
    loadAtStart: Math.round(load * 100) / 100,
    software: {
      node: process.versions.node,
      containerd: stdout.trim().split(/\s+/)[2] ?? 'unknown',
    },
  }
}

/**
 * The commit of this checkout; undefined if it is none. With changed files their hash is added, so that results of the same changes belong
 * together, and others do not.
 */
export async function revision(): Promise<string | undefined> {
  const directory = join(import.meta.dirname, '../../..')
  const { code, stdout } = await execute('git', ['-C', directory, 'describe', '--always', '--dirty', '--abbrev=12'])
  if (code !== 0) return undefined
  const commit = stdout.trim()
  if (!commit.endsWith('-dirty')) return commit
  const changes = await execute('git', ['-C', directory, 'diff', '--binary', 'HEAD'])
  // Without it the revision is `-dirty` alone, which is not taken for the same as any other.
  return changes.code === 0
    ? `${commit}-${createHash('sha256').update(changes.stdout).digest('hex').slice(0, 8)}`
    : commit
}

async function osName(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '')
  return /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(text)?.[1] ?? os.type()
}
