import { cp, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'

import { execute } from './netns/commands.ts'

/** The conformance tests of the distribution specification at v1.1.1; the module has no tags of its own. */
const MODULE = 'github.com/opencontainers/distribution-spec/conformance'
const VERSION = 'v0.0.0-20250123160558-a139cc423184'
const BINARY = 'conformance.test'

export type ConformanceTests = { readonly binary: string } | { readonly skip: string }

const downloadSchema = z.object({ Dir: z.string().optional(), Error: z.string().optional() })

/** Builds the published tests once, into `.nabo/` of the repository; or says why they cannot be had here. */
export async function conformanceTests(): Promise<ConformanceTests> {
  const cache = join(import.meta.dirname, '../../.nabo/conformance')
  const binary = join(cache, VERSION, BINARY)
  if (await exists(binary)) return { binary }
  if ((await execute('go', ['version'])).code !== 0) return { skip: 'Go is not installed' }
  // `-json` also reports its errors on standard output.
  const { stdout, stderr } = await execute('go', ['mod', 'download', '-json', `${MODULE}@${VERSION}`])
  const download = parseDownload(stdout)
  if (download?.Dir === undefined) {
    const reason = (download?.Error ?? stderr).trim().split('\n').at(-1) ?? ''
    return { skip: `the Go module proxy does not give ${MODULE}@${VERSION}: ${reason.trim()}` }
  }
  await mkdir(cache, { recursive: true })
  const work = await mkdtemp(join(cache, 'building-'))
  try {
    // The module cache is read-only, and a test is built in the module that it belongs to.
    await cp(download.Dir, work, { recursive: true, mode: 0 })
    const built = await execute('go', ['-C', work, 'test', '-c', '-o', BINARY, '.'], { timeoutMs: 280_000 })
    if (built.code !== 0) return { skip: `the conformance tests cannot be built here: ${built.stderr.trim()}` }
    await execute('chmod', ['-R', 'u+w', work])
    await rename(work, join(cache, VERSION)).catch(ignoreLostRace)
    return { binary }
  } finally {
    await execute('chmod', ['-R', 'u+w', work])
    await rm(work, { recursive: true, force: true })
  }
}

/** Two that build at once are both right: the first one's is kept. */
function ignoreLostRace(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
}

function parseDownload(text: string): z.infer<typeof downloadSchema> | undefined {
  try {
    return downloadSchema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
