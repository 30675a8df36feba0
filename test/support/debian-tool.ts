import { globSync } from 'node:fs'
import { join } from 'node:path'

import { execute } from './netns/commands.ts'

export type FoundTool = { readonly binDir: string } | { readonly skip: string }

/** What Debian's suites carry: bookworm, trixie and sid (there 2.1 or a later 2.x). */
type DebianContainerd = '1.6' | '1.7' | '2.1'

export type ToolName =
  | 'buildah'
  | 'busybox-static'
  | 'containerd'
  | `containerd@${DebianContainerd}`
  | 'docker-registry'
  | 'docker.io'
  | 'faketime'
  | 'kubernetes-node'
  | 'nftables'
  | 'nginx'
  | 'podman'
  | 'prometheus'
  | 'skopeo'

/** The directory of a tool, fetched once if need be, or why it cannot be had here: a reason to skip. */
export async function findTool(name: ToolName): Promise<FoundTool> {
  return printedBy('debian-tools.sh', name, 300_000)
}

/** The environment of a program whose clock differs from that of this machine by so many minutes, or why there can be none. */
export async function clockOff(
  minutes: number,
): Promise<{ readonly env: NodeJS.ProcessEnv } | { readonly skip: string }> {
  const found = await findTool('faketime')
  if ('skip' in found) return found
  const [library] = globSync(join(found.binDir, '../lib/*/faketime/libfaketime.so.1'))
  if (library === undefined) return { skip: `there is no libfaketime beside ${found.binDir}` }
  // Timers go by the monotonic clock, which no clock that is set wrong changes.
  const fake = { LD_PRELOAD: library, FAKETIME: `${minutes > 0 ? '+' : ''}${minutes}m`, DONT_FAKE_MONOTONIC: '1' }
  return { env: { ...process.env, ...fake } }
}

/** The directory that a script of this repository prints for its argument, or why it cannot: what it says last. */
export async function printedBy(script: string, argument: string, timeoutMs: number): Promise<FoundTool> {
  const path = join(import.meta.dirname, '../../scripts', script)
  const { code, stdout, stderr } = await execute('sh', [path, argument], { timeoutMs })
  const binDir = stdout.trim().split('\n').at(-1) ?? ''
  if (code === 0 && binDir !== '') return { binDir }
  return { skip: stderr.trim().split('\n').at(-1) ?? `${argument} cannot be had here` }
}
