// Registries and gateways that do not answer HEAD.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { SmallRegistry } from '../support/small-registry.ts'

const PUBLIC = ['library/app', 'library/other']

describe('a registry that does not answer HEAD', () => {
  let hub: Hub
  let image: Image
  let daemons: TestDaemon[] = []

  before(async () => {
    image = makeImage({ layers: [{ size: 300_000, seed: 'heads' }] })
    hub = await createHub({ quota: { anonymous: 100 }, privateRepositories: ['library/secret'], refusal: 403 })
    for (const name of [...PUBLIC, 'library/secret']) await hub.publish(name, '1', image)
  })
  after(() => hub.close())
  afterEach(async () => {
    for (const daemon of daemons) await daemon.stop()
    daemons = []
    await hub.reset()
  })

  const runIn = async (directory: string | undefined, ...flags: readonly string[]) => {
    const given = ['--upstream', `docker.io=${hub.registryUrl}`, ...flags]
    const daemon = await runDaemon(given, directory === undefined ? {} : { directory })
    daemons.push(daemon)
    return daemon
  }
  const run = (...flags: readonly string[]) => runIn(undefined, ...flags)
  const refuse = (status: number) => hub.setFaults({ registry: { method: 'HEAD', status } })
  const ask = async ({ mirror }: TestDaemon, path: string, method = 'GET', ns = 'docker.io') => {
    const headers = { accept: image.root.descriptor.mediaType }
    const answer = await fetch(`${mirror}/v2/${path}?ns=${ns}`, { headers, method })
    return { status: answer.status, headers: answer.headers, bytes: Buffer.from(await answer.arrayBuffer()) }
  }
  const asked = async (method: string, kind: string) =>
    (await hub.requests()).filter(
      (one) => one.origin === 'registry' && one.method === method && one.path.includes(`/${kind}/`),
    )

  for (const status of [405, 501, 403])
    it(`with ${status}, is asked with GET, once for a tag and its manifest, and that is remembered`, async () => {
      await refuse(status)
      const daemon = await run()
      for (const name of PUBLIC) {
        for (const reference of ['1', image.root.descriptor.digest]) {
          const answer = await ask(daemon, `${name}/manifests/${reference}`)
          assert.equal(answer.status, 200, answer.bytes.toString())
          assert.equal(digestOf(answer.bytes), image.root.descriptor.digest)
        }
        const { digest } = image.layers[0]?.descriptor ?? assert.fail()
        const blob = await ask(daemon, `${name}/blobs/${digest}`)
        assert.equal(blob.status, 200, blob.bytes.toString())
        assert.equal(digestOf(blob.bytes), digest)
      }
      const counters = await hub.counters()
      assert.equal(counters.manifestGets, PUBLIC.length)
      const heads = await asked('HEAD', 'manifests')
      // The first of them may have been told to get a token.
      assert.deepEqual([...new Set(heads.map(({ path }) => path))], ['/v2/library/app/manifests/1'])
      const quotas = (await (await fetch(`${daemon.admin}/api/v1/quota`)).json()) as { quotas: { remaining: number }[] }
      assert.equal(quotas.quotas[0]?.remaining, 100 - counters.manifestGets)
    })

  it('tells the size of a blob by its first byte', async () => {
    await refuse(405)
    const daemon = await run()
    const { digest, size } = image.layers[0]?.descriptor ?? assert.fail()
    const head = await ask(daemon, `library/app/blobs/${digest}`, 'HEAD')
    assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(size)])
    const transfers = await hub.transfers()
    assert.deepEqual(
      transfers.map(({ bytes }) => bytes),
      [1],
    )
  })

  it('and sends the links of its storage for GET alone, shows its blobs', async () => {
    await hub.setFaults({ cdn: { method: 'HEAD', status: 403 } })
    const daemon = await run()
    const { digest, size } = image.layers[0]?.descriptor ?? assert.fail()
    for (const name of PUBLIC) {
      const head = await ask(daemon, `${name}/blobs/${digest}`, 'HEAD')
      assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(size)])
    }
  })

  it('refuses what it refuses to GET as well, and is not asked twice for each', async () => {
    const daemon = await run()
    const answers = []
    for (let count = 0; count < 4; count += 1) answers.push((await ask(daemon, 'library/secret/manifests/1')).status)
    assert.deepEqual(answers, [401, 401, 401, 401])
    const gets = (await asked('GET', 'manifests')).filter(({ status }) => status === 403)
    const heads = (await asked('HEAD', 'manifests')).filter(({ status }) => status === 403)
    assert.deepEqual([gets.length, heads.length], [1, 4])
    assert.equal((await hub.counters()).manifestGets, 0)
  })

  describe('and that --fallback leaves out', () => {
    for (const status of [405, 501, 403])
      it(`with ${status}, is sent no GET for manifests: the answer says so, and asks for no login`, async () => {
        await refuse(status)
        const daemon = await run('--fallback', 'ghcr.io')
        for (const reference of ['1', image.root.descriptor.digest]) {
          const answer = await ask(daemon, `library/app/manifests/${reference}`)
          assert.equal(answer.status, 404, `${reference}: ${answer.bytes.toString()}`)
          assert.equal(answer.headers.get('www-authenticate'), null)
          assert.match(answer.bytes.toString(), /--fallback/)
        }
        const { bytes } = await ask(daemon, 'library/app/manifests/1')
        const why = `answers HEAD with ${status}, and no GET is sent: --fallback leaves docker\\.io out`
        assert.match(bytes.toString(), new RegExp(why))
        assert.deepEqual(await asked('GET', 'manifests'), [])
      })

    it('is asked for the first byte of a blob that this node holds, which shows whom it is for', async (t) => {
      const directory = await mkdtemp(join(tmpdir(), 'nabo-heads-'))
      t.after(() => rm(directory, { recursive: true, force: true }))
      const { digest } = image.layers[0]?.descriptor ?? assert.fail()
      const path = `library/app/blobs/${digest}`
      const before = await runIn(directory)
      assert.equal((await ask(before, path)).status, 200)
      await before.stop()
      await hub.reset()
      await refuse(403)
      const daemon = await runIn(directory, '--fallback', 'ghcr.io')
      const blob = await ask(daemon, path)
      assert.equal(blob.status, 200, blob.bytes.toString())
      assert.deepEqual(
        (await hub.transfers()).map(({ bytes }) => bytes),
        [1],
      )
    })

    it('asks for a login where it refuses a HEAD with 401', async () => {
      await using registry = await SmallRegistry.start()
      registry.publish('team/app', '1', image)
      registry.allow('team/app', ['ann'])
      const daemon = await run('--upstream', `reg.test=${registry.url}`)
      for (const reference of ['1', image.root.descriptor.digest]) {
        const answer = await ask(daemon, `team/app/manifests/${reference}`, 'GET', 'reg.test')
        assert.equal(answer.status, 401, answer.bytes.toString())
      }
    })
  })
})
