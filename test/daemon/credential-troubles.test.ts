// What an administrator is told of credentials that do not work.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { makeImage } from '../support/image-maker.ts'
import { execute } from '../support/netns/commands.ts'
import { eventually } from '../support/poll.ts'
import { SmallRegistry } from '../support/small-registry.ts'

const BIN = fileURLToPath(new URL('../../bin/nabo', import.meta.url))
const REGISTRY = 'registry.example'

interface Finding {
  readonly id: string
  readonly level: string
  readonly says: string
  readonly fix?: string
}

describe('credentials that do not work', () => {
  const image = makeImage({ layers: [{ size: 20_000, seed: 'troubles' }] })
  let directory: string
  let file: string
  let daemon: TestDaemon | undefined
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-troubles-'))
    file = join(directory, 'config.json')
  })
  after(() => rm(directory, { recursive: true, force: true }))
  afterEach(async () => {
    await daemon?.stop()
    daemon = undefined
  })

  const write = (config: object) => writeFile(file, JSON.stringify(config), { mode: 0o600 })
  const auths = (password: string) => ({ auths: { [REGISTRY]: { username: 'ann', password } } })
  const start = async (registry: SmallRegistry) => {
    daemon = await runDaemon([
      ...['--fallback', 'all', '--upstream', `${REGISTRY}=${registry.url}`, '--credentials-file', file],
    ])
    return daemon
  }
  const pull = async ({ mirror }: TestDaemon) => {
    const response = await fetch(`${mirror}/v2/org/app/manifests/1?ns=${REGISTRY}`, {
      headers: { accept: image.root.descriptor.mediaType },
    })
    await response.arrayBuffer()
    return response.status
  }
  const finding = async ({ admin }: TestDaemon): Promise<Finding | undefined> => {
    const { findings } = (await (await fetch(`${admin}/api/v1/checks`)).json()) as { findings: Finding[] }
    return findings.find(({ id }) => id === 'credentials')
  }
  const found = (node: TestDaemon, level: string) =>
    eventually(`the check says ${level}`, async () => {
      const now = await finding(node)
      return now?.level === level ? now : undefined
    })
  const metric = async ({ admin }: TestDaemon) =>
    (await (await fetch(`${admin}/metrics`)).text())
      .split('\n')
      .filter((line) => line.startsWith('nabo_credential_troubles{'))

  it('are named by check, /readyz and metric: a wrong password, until it is right', async () => {
    await using registry = await SmallRegistry.start({ users: { ann: 'right' } })
    registry.publish('org/app', '1', image)
    registry.allow('org/app', ['ann'])
    await write(auths('wrong'))
    const node = await start(registry)
    assert.equal((await finding(node))?.level, 'ok')
    await pull(node)
    const refused = await found(node, 'warning')
    assert.match(refused.says, /^registry\.example \(127\.0\.0\.1:\d+\) refuses credentials of this node$/)
    assert.ok(refused.fix?.includes(file))
    const { ready, warnings } = (await (await fetch(`${node.admin}/readyz`)).json()) as {
      ready: boolean
      warnings: string[]
    }
    assert.equal(ready, true)
    assert.ok(warnings.includes(`credentials: ${refused.says}`), warnings.join('; '))
    assert.deepEqual(await metric(node), [
      'nabo_credential_troubles{reason="refused",registry=""} 0',
      'nabo_credential_troubles{reason="program",registry=""} 0',
      'nabo_credential_troubles{reason="file",registry=""} 0',
      `nabo_credential_troubles{reason="refused",registry="${REGISTRY}"} 1`,
    ])
    await pull(node)
    const said = node.lines.filter(({ msg }) => /refuses the user and password/.test(String(msg)))
    assert.deepEqual(
      said.map(({ registry, account }) => [registry, account]),
      [[REGISTRY, 'ann']],
    )
    // Account names are for the operator.
    for (const path of ['status', 'checks']) {
      const text = await (await fetch(`${node.admin}/api/v1/${path}`)).text()
      assert.ok(!text.includes('ann"') && !text.includes('account ann'), text)
    }
    const operator = await execute(BIN, ['doctor', '--json', '--admin-socket', node.adminSocket])
    assert.match(operator.stdout, /refuses the account ann of this node/)

    await write(auths('right'))
    await eventually('the pull works', async () => (await pull(node)) === 200)
    await found(node, 'ok')
  })

  it('are named: a helper that is missing, and a file that is broken', async () => {
    await using registry = await SmallRegistry.start({ users: { ann: 'right' } })
    registry.publish('org/app', '1', image)
    registry.allow('org/app', ['ann'])
    await write({ credHelpers: { [REGISTRY]: 'none-of-that-name' } })
    const node = await start(registry)
    await pull(node)
    assert.match((await found(node, 'warning')).says, /^docker-credential-none-of-that-name gives no credentials: /)
    await writeFile(file, '{"auths": {')
    const both = await eventually('the file is named too', async () => {
      await pull(node)
      const now = await finding(node)
      return now?.says.includes('is not a Docker config.json') === true ? now : undefined
    })
    assert.match(both.says, /so what it said before is used/)
  })
})
