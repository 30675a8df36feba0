import { basename } from 'node:path'

import { DEFAULT_REGISTRY, directoryNames, listHostDirectories } from '../runtimes/containerd/host-directories.ts'
import type { ContainerdLook } from '../store/containerd/running-containerd.ts'
import type { ContainerdConfig } from './containerd-config.ts'
import { isAtLeast } from './containerd-settings.ts'
import type { Node } from './node.ts'

/** How a containerd understands a `config_path` that lists several directories (`/etc/containerd/certs.d:/etc/docker/certs.d`). */
export type ListReading = 'each directory' | 'as one name' | 'unknown'

/**
 * The transfer service, which pulls for the CRI from 2.1 on, takes the whole list for the name of one directory (`registry.WithHostDir`, 2.1.0 to 2.4.2
 * at least). The CRI itself reads each directory (`registryHosts`). All versions read a `config_path` with one directory.
 */
export function readingOfList(configPath: string, look: ContainerdLook, file: ContainerdConfig): ListReading {
  if (directoriesIn(configPath).length < 2) return 'each directory'
  if (look.state !== 'answers') return 'unknown'
  const discards = look.cri.state === 'shown' && look.cri.discardsLayers
  const pullsLocally = discards || (file.state === 'read' && file.pullsLocally)
  return !isAtLeast(look, 2, 1) || pullsLocally ? 'each directory' : 'as one name'
}

/** Whether Nabo's directory of hosts.toml files is one of those in a `config_path`. */
export async function listsOurs(node: Node, configPath: string): Promise<boolean> {
  return (await indexOfOurs(node, directoriesIn(configPath))) >= 0
}

/** The hosts directories of mirrored registries in those directories of the list that come before Nabo's: containerd uses the first one that exists. */
export async function directoriesBeforeOurs(node: Node, configPath: string): Promise<readonly string[]> {
  const paths = directoriesIn(configPath)
  const earlier = paths.slice(0, Math.max(0, await indexOfOurs(node, paths)))
  const { registries } = node.settings
  const isMirrored = (name: string) =>
    typeof registries === 'string' ||
    name === DEFAULT_REGISTRY ||
    [...registries].some((registry) => directoryNames(registry).includes(name))
  // A directory that cannot be read has no hosts for containerd either.
  const found = await Promise.all(earlier.map((path) => listHostDirectories(path).catch(() => [])))
  return found.flat().filter((path) => isMirrored(basename(path)))
}

function directoriesIn(configPath: string): readonly string[] {
  return configPath.split(':').filter((path) => path !== '')
}

async function indexOfOurs(node: Node, paths: readonly string[]): Promise<number> {
  const isOurs = await Promise.all(paths.map((path) => node.isSameDirectory(node.settings.configDir, path)))
  return isOurs.indexOf(true)
}
