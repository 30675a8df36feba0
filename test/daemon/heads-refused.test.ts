// Registries and gateways that do not answer HEAD.
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'

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

  const run = async (...flags: readonly string[]) => {
    const daemon = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`, ...flags])
    daemons.push(daemon)
    return daemon
  }
  const refuse = (status: number) => hub.setFaults({ registry: { method: 'HEAD', status } })
  const ask = async ({ mirror }: TestDaemon, path: string, method = 'GET') => {
    const headers = { accept: image.root.descriptor.mediaType }
    const answer = await fetch(`${mirror}/v2/${path}?ns=docker.io`, { headers, method })
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

  it('is sent no GET if --fallback leaves it out, and the answer says so', async () => {
    await refuse(405)
    const daemon = await run('--fallback', 'ghcr.io')
    const answer = await ask(daemon, 'library/app/manifests/1')
    assert.equal(answer.status, 404)
    assert.deepEqual(await asked('GET', 'manifests'), [])
    const said = JSON.stringify([answer.bytes.toString(), ...daemon.lines])
    assert.match(said, /answers HEAD with 405, and no GET is sent: --fallback leaves docker\.io out/)
  })
})
