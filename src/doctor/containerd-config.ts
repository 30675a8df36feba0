import { glob, readFile, stat } from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'

import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'

import { followLinks } from './follow-links.ts'
import { type ContainerdVersion, type ImageSettings, imageSettings, isAtLeast } from './containerd-settings.ts'

/** What containerd's configuration file says, with the files that it imports. */
export type ContainerdConfig =
  | { readonly state: 'missing'; readonly file: string }
  | { readonly state: 'denied'; readonly file: string }
  | HiddenConfig
  | { readonly state: 'invalid'; readonly file: string; readonly says: string }
  | ({
      readonly state: 'read'
      readonly files: readonly string[]
      /** The newest change of any of them, in milliseconds since the epoch. */
      readonly changedAt: number
    } & ImageSettings)

/** What is not mounted into the container that looks: `file` may be there or not, and may be a pattern. */
export interface HiddenConfig {
  readonly state: 'hidden'
  readonly file: string
  readonly importedBy?: string
  /** Where symbolic links lead from `file`, or from its directory for a pattern; absent if there are none on the way. */
  readonly target?: string
}

export interface ReadConfigOptions {
  /** Of the containerd that reads it; undefined if it is not known. */
  readonly running?: ContainerdVersion | undefined
  /** Whether files of a directory are those of the node. True for all if absent, as outside of a container. */
  readonly isVisible?: (directory: string) => Promise<boolean>
}

const MAX_FILES = 100
const MAX_BYTES = 4 * 1024 * 1024
/** The working directory of containerd under systemd and the like. */
const WORKING_DIRECTORY = '/'

const documentSchema = z.object({
  version: z.number().optional(),
  imports: z.array(z.string()).default([]),
  plugins: z.record(z.string(), z.unknown()).default({}),
})
type Document = z.infer<typeof documentSchema>
type Failure = Exclude<ContainerdConfig, { state: 'read' }>

/** Reads a configuration as the running containerd does. Rejects only for what cannot be foreseen. */
export async function readContainerdConfig(file: string, options: ReadConfigOptions = {}): Promise<ContainerdConfig> {
  const { running, isVisible = async () => true } = options
  const documents: { path: string; document: Document; changedAt: number }[] = []
  const pending: { path: string; importedBy?: string }[] = [{ path: file }]
  while (pending.length > 0 && documents.length < MAX_FILES) {
    const { path, importedBy } = pending.shift() ?? { path: '' }
    if (documents.some((read) => read.path === path)) continue
    const read = await readDocument(path)
    if ('state' in read) {
      if (read.state !== 'missing') return read
      const target = await followLinks(path)
      return (await isVisible(dirname(target))) ? read : hidden({ file: path, importedBy, path, target })
    }
    documents.push({ path, ...read })
    for (const pattern of patternsOf(path, read.document.imports, running)) {
      if (!pattern.includes('*')) {
        pending.push({ path: pattern, importedBy: path })
        continue
      }
      const directory = dirname(pattern.slice(0, pattern.indexOf('*') + 1))
      const target = await followLinks(directory)
      if (!(await isVisible(target))) return hidden({ file: pattern, importedBy: path, path: directory, target })
      for (const match of (await Array.fromAsync(glob(pattern))).toSorted())
        pending.push({ path: match, importedBy: path })
    }
  }
  const settings = imageSettings(
    documents.map(({ document: { version, plugins } }) => ({ version, plugins })),
    running,
  )
  return {
    state: 'read',
    files: documents.map(({ path }) => path),
    changedAt: Math.max(...documents.map((read) => read.changedAt)),
    ...settings,
  }
}

function hidden(found: { file: string; importedBy: string | undefined; path: string; target: string }): HiddenConfig {
  const { file, importedBy, path, target } = found
  return {
    state: 'hidden',
    file,
    ...(importedBy === undefined ? {} : { importedBy }),
    ...(target === path ? {} : { target }),
  }
}

async function readDocument(path: string): Promise<{ document: Document; changedAt: number } | Failure> {
  try {
    const found = await stat(path)
    if (!found.isFile() || found.size > MAX_BYTES)
      return { state: 'invalid', file: path, says: 'it is no file of TOML' }
    return { document: documentSchema.parse(parse(await readFile(path, 'utf8'))), changedAt: found.mtimeMs }
  } catch (error) {
    return whyNot(error, path)
  }
}

/** Relative paths are those beside the file; until 1.6.29 and 1.7.16 a relative pattern was one of the working directory (`resolveImports`). */
function patternsOf(
  parent: string,
  imports: readonly string[],
  running: ContainerdVersion | undefined,
): readonly string[] {
  const isOld =
    running !== undefined && !isAtLeast(running, 1, 7, 16) && !(running.minor === 6 && isAtLeast(running, 1, 6, 29))
  return imports.map((path) => {
    if (isAbsolute(path)) return path
    return join(isOld && path.includes('*') ? WORKING_DIRECTORY : dirname(parent), path)
  })
}

function whyNot(error: unknown, file: string): Failure {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' || code === 'ENOTDIR') return { state: 'missing', file }
  if (code === 'EACCES' || code === 'EPERM') return { state: 'denied', file }
  return { state: 'invalid', file, says: tomlError(error) }
}

/** One line for what is wrong with a file; what the file says there is not repeated. */
export function tomlError(error: unknown): string {
  if (error instanceof TomlError) {
    const what = error.message.replace(/^Invalid TOML document: /, '').split('\n')[0] ?? ''
    return `line ${error.line}: ${what}`
  }
  if (error instanceof z.ZodError) {
    const issue = error.issues[0]
    return `${issue?.path.join('.') || 'it'}: ${issue?.message ?? 'not what is expected'}`
  }
  return (error as NodeJS.ErrnoException).code ?? 'it cannot be read'
}
