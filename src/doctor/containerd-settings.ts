import { z } from 'zod'

/** The version of a containerd, as far as the meaning of its configuration depends on it. */
export interface ContainerdVersion {
  readonly major: number
  readonly minor: number
  readonly patch: number
}

/** One file of a configuration. */
export interface ConfigDocument {
  /** Of the file's format; undefined if it does not say. */
  readonly version: number | undefined
  readonly plugins: Table
}

/** What containerd takes from its files for pulls. */
export interface ImageSettings {
  /** Of the format of all files together, as containerd counts it. */
  readonly version: number
  readonly configPath: string
  readonly discardsLayers: boolean
  /** The CRI fetches images by itself; otherwise, in 2.1 and newer, the transfer service does. */
  readonly pullsLocally: boolean
  /** `config_path` stands where this version of containerd does not look. */
  readonly isMisplaced: boolean
  readonly inlineMirrors: readonly string[]
}

type Table = Readonly<Record<string, unknown>>

const OLDEST = 'cri'
const OLD = 'io.containerd.grpc.v1.cri'
const NEW = 'io.containerd.cri.v1.images'
/** What 2.2 and newer take where the files name nothing (`DefaultImageConfig`). */
export const DEFAULT_PATH = '/etc/containerd/certs.d:/etc/docker/certs.d'
/** `max_concurrent_downloads`, unless a file says something else. */
const DEFAULT_DOWNLOADS = 3
const NEWEST_1: ContainerdVersion = { major: 1, minor: 7, patch: 99 }
const NEWEST_2: ContainerdVersion = { major: 2, minor: 4, patch: 2 }

const table = z.record(z.string(), z.unknown())

/** Where `config_path` goes, as a line of a configuration of this version. */
export function registrySection(version: number): string {
  if (version >= 3) return `[plugins."${NEW}".registry]`
  return version === 2 ? `[plugins."${OLD}".registry]` : `[plugins.${OLDEST}.registry]`
}

/**
 * The settings of files in the order in which containerd reads them, the main one first. `running` is undefined if it is not known: the newest
 * version that reads the format then.
 */
export function imageSettings(
  documents: readonly ConfigDocument[],
  running: ContainerdVersion | undefined,
): ImageSettings {
  const said = documents.findLast(({ version }) => (version ?? 0) > 0)?.version
  const containerd = running ?? ((said ?? 1) >= 3 ? NEWEST_2 : NEWEST_1)
  const version = said ?? 1
  const images = containerd.major < 2 ? imagesOf1(documents, version) : imagesOf2(documents, containerd)
  const registry = tableIn(images, 'registry')
  const mirrors = Object.keys(tableIn(registry, 'mirrors'))
  const path = registry['config_path']
  const isSet = typeof path === 'string' && path !== ''
  const byDefault = isAtLeast(containerd, 2, 2) && mirrors.length === 0 ? DEFAULT_PATH : ''
  return {
    version,
    configPath: isSet ? path : byDefault,
    discardsLayers: images['discard_unpacked_layers'] === true,
    pullsLocally: !isAtLeast(containerd, 2, 1) || needsLocalPull(images),
    isMisplaced: !isSet && documents.some(({ plugins }) => [OLDEST, OLD, NEW].some((name) => namesPath(plugins[name]))),
    inlineMirrors: mirrors,
  }
}

/** Set to pull locally, or to something that the transfer service does not support (`CheckLocalImagePullConfigs`, 2.1.0 to 2.4.2 at least). */
function needsLocalPull(images: Table): boolean {
  const registry = tableIn(images, 'registry')
  return (
    images['use_local_image_pull'] === true ||
    images['disable_snapshot_annotations'] === false ||
    images['discard_unpacked_layers'] === true ||
    images['image_pull_with_sync_fs'] === true ||
    (images['max_concurrent_downloads'] ?? DEFAULT_DOWNLOADS) !== DEFAULT_DOWNLOADS ||
    ['mirrors', 'configs', 'auths'].some((key) => Object.keys(tableIn(registry, key)).length > 0)
  )
}

/** An imported file's section replaces the whole section of the plugin (`mergeConfig` of 1.x). */
function imagesOf1(documents: readonly ConfigDocument[], version: number): Table {
  const plugins = Object.assign({}, ...documents.map((document) => document.plugins)) as Table
  const cri = tableIn(plugins, version === 1 ? OLDEST : OLD)
  return { ...cri, ...tableIn(cri, 'containerd') }
}

/**
 * An imported file's section replaces the keys that it has. Files of older formats are translated: up to 2.2 all files together, by the version
 * that the last of them names, and from 2.3 on each file by its own. Up to 2.2 a file of version 1, or of none, counts as one of the version
 * before it, which is 3 for the first file (`LoadConfig`).
 */
function imagesOf2(documents: readonly ConfigDocument[], containerd: ContainerdVersion): Table {
  const renamed = documents.map(({ version = 0, plugins: { [OLDEST]: oldest, ...plugins } }) => ({
    version,
    plugins: oldest !== undefined && version < 2 ? { [OLD]: oldest, ...plugins } : plugins,
  }))
  if (isAtLeast(containerd, 2, 3)) return merged(renamed.map(({ plugins, version }) => translated(plugins, version, 4)))
  const version = documents.findLast((document) => (document.version ?? 0) > 1)?.version ?? 3
  return translated(merged(renamed.map(({ plugins }) => plugins)), version, 3)
}

/** `newest`: the format of which this containerd takes the new name alone. */
function translated(plugins: Table, version: number, newest: number): Table {
  const images = tableIn(plugins, NEW)
  return version >= newest ? images : { ...images, ...translatedFromOld(tableIn(plugins, OLD)) }
}

/** Without runtimes in the section nothing else of `containerd` is taken over (`migrateConfig` of 2.x, up to 2.4.2 at least). */
function translatedFromOld(cri: Table): Table {
  const containerd = tableIn(cri, 'containerd')
  return {
    ...picked(cri, ['registry', 'max_concurrent_downloads', 'image_pull_with_sync_fs']),
    ...(containerd['runtimes'] === undefined
      ? {}
      : picked(containerd, ['disable_snapshot_annotations', 'discard_unpacked_layers'])),
  }
}

function picked(section: Table, keys: readonly string[]): Table {
  return Object.fromEntries(keys.filter((key) => section[key] !== undefined).map((key) => [key, section[key]]))
}

function merged(tables: readonly Table[]): Table {
  const all: Record<string, unknown> = {}
  for (const one of tables)
    for (const [key, value] of Object.entries(one)) {
      const [before, after] = [table.safeParse(all[key]), table.safeParse(value)]
      all[key] = before.success && after.success ? merged([before.data, after.data]) : value
    }
  return all
}

function namesPath(section: unknown): boolean {
  const parsed = table.safeParse(section)
  const path = parsed.success ? tableIn(parsed.data, 'registry')['config_path'] : undefined
  return typeof path === 'string' && path !== ''
}

function tableIn(parent: Table, key: string): Table {
  const parsed = table.safeParse(parent[key])
  return parsed.success ? parsed.data : {}
}

export function isAtLeast(version: ContainerdVersion, major: number, minor: number, patch = 0): boolean {
  if (version.major !== major) return version.major > major
  return version.minor === minor ? version.patch >= patch : version.minor > minor
}
