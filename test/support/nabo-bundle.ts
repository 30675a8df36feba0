import { execFile } from 'node:child_process'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

import type { NaboOptions } from './nabo-process.ts'

const root = resolve(import.meta.dirname, '../..')
const run = promisify(execFile)

/** Makes this checkout's bundle in `directory`, which is emptied. V8 compiles it when it is run. */
export async function makeBundle(directory: string): Promise<void> {
  await run(process.execPath, [join(root, 'scripts/bundle.ts'), '--outdir', directory])
}

/** Makes in `directory` what the image of this checkout has, compiled ahead, and says how the image runs it. */
export async function makeImageProgram(directory: string): Promise<Required<Pick<NaboOptions, 'program' | 'env'>>> {
  await makeBundle(directory)
  await run(process.execPath, [join(root, 'scripts/image/compile.ts'), directory])
  return {
    program: [process.execPath, '--disable-warning=ExperimentalWarning', join(directory, 'nabo.js')],
    env: { ...process.env, MALLOC_ARENA_MAX: '2' },
  }
}
