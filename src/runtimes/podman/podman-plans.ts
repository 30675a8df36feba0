import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

import { isRegistry, looksLikeRegistry } from '../../oci/reference.ts'
import { explained as explainedFile, FileError } from '../edited-file.ts'
import { changing, explained, type MarkedFile, newFoldersOf, readMarked } from '../marked-file.ts'
import type { FileChange, Plan } from '../text-file.ts'
import { type ConfText, type MirrorLimit, mirrorUseIn } from './mirror-limits.ts'
import { entriesOf, type RegistryEntry, withNabo } from './registries-conf.ts'

export interface PodmanOptions {
  /** /etc/containers */
  readonly configDir: string
  /** `127.0.0.1:7950` */
  readonly mirror: string
  readonly plainHttp: boolean
  readonly registries: readonly string[]
}

const MAIN = 'registries.conf'
const FOLDER = 'registries.conf.d'
/** Read before all others of the folder, so that it never replaces what they say about a registry. */
const DROP_IN = '00-nabo.conf'

interface ConfFile extends MarkedFile {
  readonly entries: readonly RegistryEntry[]
}

interface Additions {
  readonly mirrors: Map<number, string>
  readonly entries: Map<string, string>
}

/**
 * What has Podman, Buildah, Skopeo and CRI-O ask Nabo first. The last file with an entry for a registry replaces all earlier ones, so that
 * entry gets the mirror; a registry without one gets an entry in a file of Nabo's. Throws FileError; nothing has been changed then.
 */
export async function planConfigurePodman(options: PodmanOptions): Promise<Plan> {
  const { configDir, mirror, plainHttp: insecure } = options
  const files = (await readFiles(configDir)).map(withEntries)
  const additions = new Map(
    files.map((file): [ConfFile, Additions] => [file, { mirrors: new Map(), entries: new Map() }]),
  )
  const dropIn = files.find(({ file }) => file.path === join(configDir, FOLDER, DROP_IN))
  for (const registry of options.registries) {
    const winner = files.findLast(({ entries }) => entries.some(({ prefix }) => prefix === registry))
    if (winner === undefined && dropIn !== undefined)
      additions.get(dropIn)?.entries.set(registry, `${mirror}/${registry}`)
    for (const [index, entry] of winner?.entries.entries() ?? []) {
      if (entry.prefix !== registry || winner === undefined) continue
      additions.get(winner)?.mirrors.set(index, `${mirror}/${mirrored(winner.file.path, entry)}`)
    }
  }
  const changes: FileChange[] = []
  const confs: ConfText[] = []
  for (const [file, { mirrors, entries }] of additions) {
    const isEmpty = mirrors.size + entries.size === 0
    const newFolders = isEmpty ? undefined : await newFoldersOf(file)
    const text = explained(file.file.path, () => withNabo(file.unmarked, { mirrors, entries, insecure }, newFolders))
    changes.push(...changing(file, text))
    confs.push({ path: file.file.path, text })
  }
  const { limits } = mirrorUseIn(confs, (location) => location.startsWith(`${mirror}/`))
  const notes = limits.filter(({ prefix }) => options.registries.includes(prefix)).map(warningOf)
  return { changes, notes, files: files.map(({ file }) => file) }
}

/** The files of a directory, in the order in which clients read them. Throws FileError. */
export async function readConfs(configDir: string): Promise<readonly ConfText[]> {
  return (await readFiles(configDir)).map(({ file: { path, text } }) => ({ path, text }))
}

/** What a limit means for Nabo, in one sentence without its end. */
export function meaningOf({ path, line, prefix, setting, keepsAway }: MirrorLimit): string {
  const pulls = keepsAway === 'tags' ? 'pulls by tag' : 'pulls by digest'
  return `${setting} in line ${line} of ${path} keeps ${pulls} from ${prefix} away from Nabo`
}

/** What to change about a limit. */
export function remedyOf({ path, line, setting }: MirrorLimit): string {
  const others = setting.startsWith('mirror-by')
    ? '; a mirror that shall not be asked for tags gets pull-from-mirror = "digest-only"'
    : ''
  return `take ${setting} out of line ${line} of ${path}${others}`
}

function warningOf(limit: MirrorLimit): string {
  return `warning: ${meaningOf(limit)}: ${remedyOf(limit)}`
}

/** What takes Nabo out of all files again. Throws FileError; nothing has been changed then. */
export async function planRestorePodman({ configDir }: Pick<PodmanOptions, 'configDir'>): Promise<Plan> {
  const files = await readFiles(configDir)
  const changes = files.flatMap((file) => changing(file, file.unmarked.text))
  return { changes, notes: [], files: files.map(({ file }) => file) }
}

/** In the order in which Podman reads them; Nabo's own is there also if it does not exist. */
async function readFiles(configDir: string): Promise<readonly MarkedFile[]> {
  const folder = join(configDir, FOLDER)
  const names = await explainedFile(folder, 'cannot be read', () => readdir(folder).catch(noneIfMissing))
  const confs = new Set([DROP_IN, ...names.filter((name) => name.endsWith('.conf'))])
  const paths = [join(configDir, MAIN), ...[...confs].toSorted(byBytes).map((name) => join(folder, name))]
  return Promise.all(paths.map(readMarked))
}

function withEntries(marked: MarkedFile): ConfFile {
  return { ...marked, entries: explained(marked.file.path, () => entriesOf(marked.unmarked.text)) }
}

/** A registry that is really elsewhere is mirrored from there: Nabo takes the first part of a name for the registry. */
function mirrored(path: string, { prefix, location }: RegistryEntry): string {
  const host = location.split('/')[0] ?? ''
  if (isRegistry(host) && looksLikeRegistry(host)) return location
  throw new FileError(
    `${path} was left alone: it sends ${prefix} to ${JSON.stringify(location)}, which is no registry that Nabo can mirror`,
  )
}

function noneIfMissing(error: NodeJS.ErrnoException): string[] {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return []
  throw error
}

function byBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other))
}
