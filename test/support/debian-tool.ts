import { join } from 'node:path'

import { execute } from './netns/commands.ts'

export type FoundTool = { readonly binDir: string } | { readonly skip: string }

/** What Debian's suites carry: bookworm, trixie and sid (there 2.1 or a later 2.x). */
export type ContainerdVersion = '1.6' | '1.7' | '2.1'

export type ToolName =
  | 'buildah'
  | 'busybox-static'
  | 'containerd'
  | `containerd@${ContainerdVersion}`
  | 'docker-registry'
  | 'docker.io'
  | 'kubernetes-node'
  | 'nftables'
  | 'nginx'
  | 'podman'
  | 'prometheus'
  | 'skopeo'

/** The directory of a tool, fetched once if need be, or why it cannot be had here: a reason to skip. */
export async function findTool(name: ToolName): Promise<FoundTool> {
  const script = join(import.meta.dirname, '../../scripts/debian-tools.sh')
  const { code, stdout, stderr } = await execute('sh', [script, name], { timeoutMs: 300_000 })
  const binDir = stdout.trim().split('\n').at(-1) ?? ''
  if (code === 0 && binDir !== '') return { binDir }
  return { skip: stderr.trim().split('\n').at(-1) ?? `${name} cannot be had here` }
}
