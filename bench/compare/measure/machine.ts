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

/** The commit of this checkout; undefined if it is none. */
export async function revision(): Promise<string | undefined> {
  const directory = join(import.meta.dirname, '../../..')
  const { code, stdout } = await execute('git', ['-C', directory, 'describe', '--always', '--dirty', '--abbrev=12'])
  return code === 0 ? stdout.trim() : undefined
}

async function osName(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '')
  return /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(text)?.[1] ?? os.type()
}
