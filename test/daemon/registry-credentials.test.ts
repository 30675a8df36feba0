// Credentials of every form, of clients and of the node, through whole daemons.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'

import { says, writeHelper } from '../support/credential-helper.ts'
import { providerConfig, replies, writeProvider } from '../support/credential-provider.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { SmallRegistry } from '../support/small-registry.ts'

const REGISTRY = 'registry.example'
/** The form of a Google service account's key, which is a password there. */
const KEY = JSON.stringify(
  { type: 'service_account', private_key: `-----BEGIN PRIVATE KEY-----\n${'MII\n'.repeat(400)}` },
  null,
  2,
)
const PASSWORDS: readonly (readonly [string, string])[] = [
  ['ann', 'plain'],
  ['_json_key', KEY],
  ['', 'a token alone'],
  ['a token alone', ''],
  ['ann', ':a:b\r\n\t:'],
  ['Jörg', 'Passwörter 🔑'],
]

describe('credentials', () => {
  const image = makeImage({ layers: [{ size: 20_000, seed: 'credentials' }] })
  let directory: string
  let daemons: TestDaemon[] = []
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-credentials-'))
  })
  after(() => rm(directory, { recursive: true, force: true }))
  afterEach(async () => {
    for (const daemon of daemons) await daemon.stop()
    daemons = []
  })

  const run = async (...flags: readonly string[]) => {
    const daemon = await runDaemon(['--fallback', 'all', ...flags])
    daemons.push(daemon)
    return daemon
  }
  const start = async (user: string, password: string) => {
    const registry = await SmallRegistry.start({ users: { [user]: password } })
    registry.publish('org/app', '1', image)
    registry.allow('org/app', [user])
    return registry
  }
  /** As containerd does: it sends its credentials once it is asked for them. Counts the answers with 401. */
  const pull = async ({ mirror }: TestDaemon, login?: string, ns = REGISTRY) => {
    let refused = 0
    const paths = ['manifests/1', ...image.blobs.map(({ descriptor }) => `blobs/${descriptor.digest}`)]
    for (const path of paths) {
      const ask = (headers: Record<string, string> = {}) =>
        fetch(`${mirror}/v2/org/app/${path}?ns=${ns}`, {
          headers: { accept: image.root.descriptor.mediaType, ...headers },
        })
      let response = await ask()
      if (response.status === 401 && login !== undefined) {
        refused += 1
        await response.arrayBuffer()
        response = await ask({ authorization: `Basic ${Buffer.from(login).toString('base64')}` })
      }
      assert.equal(response.status, 200, `${path}: ${await response.clone().text()}`)
      await response.arrayBuffer()
    }
    return refused
  }

  it('of a pull may hold anything, and cost what a plain password costs', async () => {
    const costs: unknown[] = []
    for (const [user, password] of PASSWORDS) {
      await using registry = await start(user, password)
      const first = await run('--upstream', `${REGISTRY}=${registry.url}`)
      const second = await run('--upstream', `${REGISTRY}=${registry.url}`, '--bootstrap', `static:${first.router}`)
      await eventually('both know each other', async () =>
        (await Promise.all(daemons.map((one) => one.status()))).every(({ peers }) => peers === 1),
      )
      const refused = [await pull(first, `${user}:${password}`)]
      await eventually('the first one announces it', async () => {
        const { blobs, index } = await first.status()
        return blobs === image.blobs.length + 1 && index.peersInSync === 1
      })
      const served = () => registry.requests('GET', 'blobs').filter(({ status }) => status === 200).length
      assert.equal(served(), image.blobs.length)
      refused.push(await pull(second, `${user}:${password}`))
      // The second node has its layers from the first one.
      assert.equal(served(), image.blobs.length)
      costs.push({ refused, requests: registry.seen.length })
      for (const daemon of daemons.splice(0)) await daemon.stop()
    }
    for (const cost of costs) assert.deepEqual(cost, costs[0])
  })

  it('of the node may hold anything', async () => {
    for (const [index, [user, password]] of PASSWORDS.entries()) {
      await using registry = await start(user, password)
      const file = join(directory, `config-${index}.json`)
      for (const entry of [
        { username: user, password },
        { auth: Buffer.from(`${user}:${password}`).toString('base64') },
      ]) {
        await writeFile(file, JSON.stringify({ auths: { [REGISTRY]: entry } }))
        const daemon = await run('--upstream', `${REGISTRY}=${registry.url}`, '--credentials-file', file)
        assert.equal(await pull(daemon), 0)
      }
    }
  })

  it('of the node may be with a helper on the PATH, which is named by wildcards and asked once', async () => {
    await using registry = await start('AWS', 'of-the-helper')
    const name = '123.dkr.ecr.eu-west-1.amazonaws.com'
    const helper = await writeHelper(directory, 'lab', says('AWS', 'of-the-helper'))
    const file = join(directory, 'helpers.json')
    await writeFile(file, JSON.stringify({ credHelpers: { '*.dkr.ecr.*.amazonaws.com': 'lab' } }))
    const path = process.env['PATH'] ?? ''
    process.env['PATH'] = `${path}:${directory}`
    try {
      const daemon = await run('--upstream', `${name}=${registry.url}`, '--credentials-file', file)
      assert.equal(await pull(daemon, undefined, name), 0)
      assert.deepEqual(await helper.asked(), [`get ${name}`])
    } finally {
      process.env['PATH'] = path
    }
  })

  it("of the node may come from the kubelet's credential providers, which are asked once for a pull", async () => {
    await using registry = await start('ann', 'of-the-provider')
    const auth = { '*.example': { username: 'ann', password: 'of-the-provider' } }
    const provider = await writeProvider(directory, 'lab-provider', replies({ cacheKeyType: 'Image', auth }))
    const config = join(directory, 'providers.json')
    await writeFile(config, providerConfig({ name: 'lab-provider' }))
    const file = join(directory, 'other.json')
    await writeFile(file, JSON.stringify({ auths: { 'other.example': { username: 'bob', password: 'x' } } }))
    const daemon = await run(
      ...['--upstream', `${REGISTRY}=${registry.url}`, '--credentials-file', file],
      ...['--credential-provider-config', config, '--credential-provider-bin-dir', directory],
    )
    assert.equal(await pull(daemon), 0)
    assert.deepEqual(await provider.asked(), [`${REGISTRY}/org/app`])
    for (const flags of [
      ['--credential-provider-config', config],
      ['--credential-provider-bin-dir', directory],
    ])
      await assert.rejects(run(...flags), /only one of --credential-provider-config.* is set: set both/)
  })
})
