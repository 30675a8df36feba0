import { lstat, readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'

import type { TomlTable } from 'smol-toml'

import { DOCKER_HUB, looksLikeRegistry } from '../../oci/reference.ts'
import { FileError, codeOf, explained, readForEdit } from '../edited-file.ts'
import { othersPartOf } from './hosts-file.ts'

/** containerd's name for all registries that have no directory. */
export const DEFAULT_REGISTRY = '_default'

/** Every registry: those that have a directory and, by `_default`, all others. */
export const ALL_REGISTRIES = 'all'

/** Where containerd looks for a registry's hosts. */
export interface HostDirectory {
  readonly path: string
  readonly exists: boolean
}

/** The names that containerd looks for, in its order; it takes the first that is there, and then `_default`. */
export function directoryNames(registry: string): readonly string[] {
  const colon = registry.lastIndexOf(':')
  return colon > 0 ? [`${registry.slice(0, colon)}_${registry.slice(colon + 1)}_`, registry] : [registry]
}

/** The directory that containerd reads for a registry, or the one to create. Throws FileError. */
export async function findHostDirectory(configDir: string, registry: string): Promise<HostDirectory> {
  for (const name of directoryNames(registry)) {
    const path = join(configDir, name)
    if (await isDirectory(path)) return { path, exists: true }
  }
  return { path: join(configDir, registry), exists: false }
}

/** The directories with hosts in them, links to directories too. Throws FileError. */
export async function listHostDirectories(configDir: string): Promise<readonly string[]> {
  const names = await explained(configDir, 'cannot be read', () => readdir(configDir).catch(noneIfAbsent))
  const found: string[] = []
  for (const name of names.sort()) {
    const path = join(configDir, name)
    const info = name.startsWith('.nabo-') ? undefined : await stat(path).catch(() => undefined)
    if (info?.isDirectory() === true) found.push(path)
  }
  return found
}

/** The registries that have a directory, and `_default`. Throws FileError. */
export async function everyRegistry(configDir: string): Promise<readonly string[]> {
  const names = (await listHostDirectories(configDir)).map((path) => basename(path).replace(/^(.+)_(\d+)_$/, '$1:$2'))
  return [DEFAULT_REGISTRY, ...new Set(names.filter(looksLikeRegistry))]
}

/**
 * What containerd goes by as long as a registry has no hosts.toml: certificates in its directory, else what `_default` says,
 * and the registry itself. With a hosts.toml it looks at neither. A directory is others' if Nabo did not make it. Throws FileError.
 */
export async function settingsWithoutFile(
  configDir: string,
  registry: string,
  directory: { readonly path: string; readonly isOthers: boolean },
): Promise<TomlTable> {
  // Behind a link the same file may be several registries': containerd knows each by itself.
  const isLinked = (await isLink(directory.path)) || (await isLink(join(directory.path, 'hosts.toml')))
  const server = isLinked ? {} : serverOf(registry)
  const own = asSettings(await certificatesIn(directory.path, ''))
  if (directory.isOthers || registry === DEFAULT_REGISTRY || Object.keys(own).length > 0) return { ...server, ...own }
  const path = join(configDir, DEFAULT_REGISTRY)
  const file = await readForEdit(join(path, 'hosts.toml'))
  const others = file === undefined ? undefined : othersPartOf(file.bytes.toString('utf8'))
  if (others !== undefined && Object.keys(others).length > 0) return { ...server, ...rebased(others) }
  return { ...server, ...asSettings(await certificatesIn(path, `../${DEFAULT_REGISTRY}/`)) }
}

/** containerd finds registries on this machine by itself, with HTTP or HTTPS: none is named for them. */
function serverOf(registry: string): TomlTable {
  if (registry === DEFAULT_REGISTRY || /^(localhost|127\.[0-9.]+|\[::1\])(:|$)/.test(registry)) return {}
  return { server: registry === DOCKER_HUB ? 'https://registry-1.docker.io' : `https://${registry}` }
}

/** Paths of certificate authorities, and of client certificates with their keys. */
export interface Certificates {
  readonly ca: string[]
  readonly client: [string, string][]
}

/** Files as Docker lays them out, which containerd takes for the registry itself: https://docs.docker.com/engine/security/certificates */
export async function certificatesIn(directory: string, prefix: string): Promise<Certificates> {
  const names: string[] = await explained(directory, 'cannot be read', () => readdir(directory).catch(noneIfAbsent))
  const ca = names.filter((name) => name.endsWith('.crt')).sort()
  const client = names.filter((name) => name.endsWith('.cert')).sort()
  const all = new Set<string>(names)
  const pairOf = (cert: string): [string, string] => {
    const key = cert.replace(/\.cert$/, '.key')
    // Without a file of its own the key is in the certificate's.
    return [`${prefix}${cert}`, `${prefix}${all.has(key) ? key : cert}`]
  }
  return { ca: ca.map((name) => `${prefix}${name}`), client: client.map(pairOf) }
}

function asSettings({ ca, client }: Certificates): TomlTable {
  return { ...(ca.length === 0 ? {} : { ca }), ...(client.length === 0 ? {} : { client }) }
}

/** What `_default` says, as another directory has to say it: paths of certificates are relative to the directory. */
function rebased(table: TomlTable): TomlTable {
  const entries = Object.entries(table).map(([key, value]) => {
    if (key === 'ca' || key === 'client') return [key, rebasedPaths(value)]
    if (key !== 'host' || typeof value !== 'object') return [key, value]
    return [key, Object.fromEntries(Object.entries(value).map(([url, host]) => [url, rebased(host as TomlTable)]))]
  })
  return Object.fromEntries(entries) as TomlTable
}

function rebasedPaths(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(rebasedPaths)
  return typeof value === 'string' && !value.startsWith('/') ? `../${DEFAULT_REGISTRY}/${value}` : value
}

async function isDirectory(path: string): Promise<boolean> {
  return explained(path, 'cannot be looked at', async () => {
    const link = await lstat(path).catch(noneIfAbsent)
    if (Array.isArray(link)) return false
    const info = await stat(path).catch(noneIfAbsent)
    if (Array.isArray(info)) throw new FileError(`${path} is a symbolic link to nothing`)
    if (!info.isDirectory()) throw new FileError(`${path} is not a directory`)
    return true
  })
}

async function isLink(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined))?.isSymbolicLink() === true
}

function noneIfAbsent(error: unknown): [] {
  if (codeOf(error) === 'ENOENT') return []
  throw error
}
