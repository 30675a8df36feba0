import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { findTool } from '../../support/debian-tool.ts'
import { execute } from '../../support/netns/commands.ts'

/** What a cluster is made of. */
export interface Programs {
  /** Kubernetes' programs and CoreDNS: scripts/kubernetes-programs.sh. */
  readonly kubernetes: string
  /** etcd, nft, iptables and CNI plugins of Debian's packages: `usr/bin` of their tree. */
  readonly debian: string
  /** `usr/bin/busybox`, which needs no library. */
  readonly busybox: string
  readonly helm: string
}

const BUILD_TIMEOUT_MS = 45 * 60_000

/** Builds and fetches what is not there yet; or says in a sentence why a cluster cannot be had on this machine. */
export async function findPrograms(): Promise<Programs | { readonly skip: string }> {
  const root = join(import.meta.dirname, '../../..')
  const scripts: Record<string, string> = {}
  for (const name of ['kubernetes-programs', 'helm']) {
    const script = join(root, 'scripts', `${name}.sh`)
    const { code, stdout, stderr } = await execute('sh', [script], { timeoutMs: BUILD_TIMEOUT_MS })
    const last = (text: string) => text.trim().split('\n').at(-1) ?? ''
    // 69 is for what this machine lacks; anything else is a fault.
    if (code === 69) return { skip: last(stderr) }
    if (code !== 0) throw new Error(`${name}.sh failed:\n${stderr}`)
    scripts[name] = last(stdout)
  }
  const debian = await findTool('kubernetes-node')
  if ('skip' in debian) return debian
  const busybox = await findTool('busybox-static')
  if ('skip' in busybox) return busybox
  return {
    kubernetes: scripts['kubernetes-programs'] ?? '',
    helm: scripts['helm'] ?? '',
    debian: debian.binDir,
    busybox: join(busybox.binDir, 'busybox'),
  }
}

/**
 * Makes a directory with `nft`, `iptables` and `ip6tables` that find the libraries which came with them. All of a node's programs have it on
 * their PATH, and no library of another suite in their environment.
 */
export async function makeNetworkTools(directory: string, { debian }: Programs): Promise<string> {
  const tree = join(debian, '../..')
  const { stdout } = await execute('find', [tree, '-name', '*.so*', '-printf', '%h\n'])
  const libraries = [...new Set(stdout.trim().split('\n'))].join(':')
  const { stdout: extensions } = await execute('find', [tree, '-type', 'd', '-name', 'xtables'])
  await mkdir(directory, { recursive: true })
  const commands = { nft: 'nft', iptables: 'xtables-nft-multi iptables', ip6tables: 'xtables-nft-multi ip6tables' }
  for (const [name, command] of Object.entries(commands)) {
    const file = join(directory, name)
    const environment = `LD_LIBRARY_PATH=${libraries} XTABLES_LIBDIR=${extensions.trim()}`
    await writeFile(file, `#!/bin/sh\n${environment} exec ${debian}/${command} "$@"\n`)
    await chmod(file, 0o755)
  }
  return directory
}
