import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { execute } from '../netns/commands.ts'

const ROOT = resolve(import.meta.dirname, '../../..')
const REASON = 'nabo: cannot build Kubernetes: its modules cannot be had'
/** In place of `sh`: no program of Kubernetes can be built. */
const SHELL = `#!/bin/sh
case $1 in
  *kubernetes-programs.sh) printf '%s\\n' 'go: the module lookup fails' '${REASON}' >&2; exit 69 ;;
esac
exec /bin/sh "$@"
`

describe('a run of the tests on Kubernetes that cannot build its programs', () => {
  let directory: string

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-skip-'))
    await addProgram('sh', SHELL)
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  const addProgram = async (name: string, text: string) => {
    await mkdir(directory, { recursive: true })
    await writeFile(join(directory, name), text)
    await chmod(join(directory, name), 0o755)
  }
  const run = async (environment: NodeJS.ProcessEnv) => {
    const PATH = [directory, dirname(process.execPath), '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(delimiter)
    const { CI: _, ...rest } = process.env
    const { code, stdout, stderr } = await execute('/bin/sh', [join(ROOT, 'scripts/test-kubernetes.sh'), '--quick'], {
      env: { ...rest, PATH, ...environment },
    })
    return { code, lines: stdout.trim().split('\n'), errors: stderr.trim() }
  }

  it('says why in one line and succeeds, outside of CI and on a machine of CI without Go', async () => {
    for (const environment of [{}, { CI: 'true' }]) {
      const { code, lines, errors } = await run(environment)
      assert.deepEqual(
        { code, lines, errors },
        { code: 0, lines: [`skipped: ${REASON}`, '', '0 passed, 0 failed, 1 skipped'], errors: '' },
      )
    }
  })

  it('has failed on a machine of CI that has Go', async () => {
    await addProgram('go', '#!/bin/sh\nexit 1\n')
    assert.equal((await run({})).code, 0)
    const { code, lines } = await run({ CI: 'true' })
    assert.equal(code, 1)
    assert.equal(lines[0], `failed, since CI is set and Go is on PATH: ${REASON}`)
    assert.equal(lines.at(-1), '0 passed, 1 failed, 0 skipped')
  })
})
