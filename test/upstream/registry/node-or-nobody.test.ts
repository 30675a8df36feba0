import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, it, mock } from 'node:test'

import type { Repository } from '../../../src/oci/reference.ts'
import type { RegistryAnswer } from '../../../src/upstream/registry/address-client.ts'
import { Addresses } from '../../../src/upstream/registry/addresses.ts'
import type { Asker } from '../../../src/upstream/registry/authorization.ts'
import { NodeOrNobody } from '../../../src/upstream/registry/node-or-nobody.ts'
import { UpstreamError } from '../../../src/upstream/upstream.ts'
import { createHub } from '../../support/hub/create-hub.ts'
import type { Hub } from '../../support/hub/hub.ts'
import { type Image, makeImage } from '../../support/image-maker.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { OddServer, RegistryClients } from '../../support/registry-clients.ts'

const signal = new AbortController().signal
const app: Repository = { registry: 'docker.io', name: 'library/app' }
const hidden: Repository = { registry: 'docker.io', name: 'org/hidden' }
const ann = { username: 'ann', password: 'secret' }
const wrong = { username: 'ann', password: 'of-last-year' }
const clients = new RegistryClients()

describe('a node whose credentials are not taken', () => {
  let hub: Hub
  let image: Image
  const lines: unknown[] = []
  const log = { warn: (...line: unknown[]) => lines.push(line), info: () => {} }

  before(async () => {
    image = makeImage({ layers: [{ size: 1000, seed: 'nobody' }] })
    hub = await createHub({
      users: [{ ...ann, name: 'ann', mayPull: ['org/hidden'] }],
      privateRepositories: ['org/hidden'],
      quota: { anonymous: 100 },
    })
    await hub.publish('app', '1', image)
    await hub.publish('org/hidden', '1', image)
  })
  after(() => hub.close())
  beforeEach(async () => {
    lines.length = 0
    await hub.reset()
  })
  afterEach(() => clients.close())

  it('gets what is public without them, does not send them again at once, and says so once', async () => {
    for (const credential of [wrong, { identityToken: 'revoked', username: '' }, { registryToken: 'expired' }]) {
      lines.length = 0
      await hub.reset()
      const { client } = await clients.create({ endpoints: [hub.registryUrl], credential, log })
      for (let round = 0; round < 3; round += 1) {
        assert.equal((await client.headManifest(app, '1', { signal }))?.anonymous, true)
        assert.deepEqual((await client.getManifest(app, '1', { signal }))?.bytes, Buffer.from(image.root.bytes))
      }
      assert.ok((await hub.counters()).wrongLogins <= 1)
      assert.equal(lines.length, 1)
      assert.doesNotMatch(JSON.stringify(lines), /of-last-year|revoked|expired/)
    }
  })

  it('is denied what is not public', async () => {
    const { client } = await clients.create({ endpoints: [hub.registryUrl], credential: wrong, log })
    await client.headManifest(app, '1', { signal })
    for (const repository of [hidden, { ...hidden, name: 'org/none' }]) {
      await assert.rejects(client.headManifest(repository, '1', { signal }), isUpstreamError('denied'))
    }
    assert.equal(lines.length, 1)
  })

  it('is denied where nobody is let in without any, or told that there is nothing', async () => {
    for (const status of [401, 403, 404]) {
      await using odd = await OddServer.start((request, response) => {
        const isNobody = request.headers.authorization === undefined && odd.seen.length > 1
        response.writeHead(isNobody ? status : 401, { 'www-authenticate': 'Basic realm="r"' }).end()
      })
      const { client } = await clients.create({ endpoints: [odd.url], credential: wrong, log })
      await assert.rejects(client.headManifest(app, '1', { signal }), isUpstreamError('denied', /401/))
    }
    assert.deepEqual(lines, [])
  })

  it('tells why it got nothing without them, if that is something else', async () => {
    await hub.setFaults({ limited: 'quota' })
    const { client } = await clients.create({ endpoints: [hub.registryUrl], credential: wrong, log })
    await assert.rejects(client.getManifest(app, '1', { signal }), isUpstreamError('limited'))
  })

  it('sends them again when what was public is no longer', async () => {
    let isPublic = true
    await using odd = await OddServer.start((request, response) => {
      const { authorization } = request.headers
      const isAnn = !isPublic && authorization?.startsWith('Basic') === true
      if (!isAnn && (authorization !== undefined || odd.seen.length === 1 || !isPublic)) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
        return
      }
      const { digest, mediaType } = image.root.descriptor
      const length = image.root.bytes.length
      response.writeHead(200, { 'content-type': mediaType, 'content-length': length, 'docker-content-digest': digest })
      response.end()
    })
    const { client } = await clients.create({ endpoints: [odd.url], credential: ann, log })
    assert.equal((await client.headManifest(app, '1', { signal }))?.anonymous, true)
    isPublic = false
    await assert.rejects(client.headManifest(app, '1', { signal }), isUpstreamError('denied'))
    assert.equal((await client.headManifest(app, '1', { signal }))?.anonymous, false)
  })

  it('is not what a pull with credentials of its own becomes', async () => {
    const { client } = await clients.create({ endpoints: [hub.registryUrl], log })
    await assert.rejects(client.headManifest(app, '1', { signal, as: wrong }), isUpstreamError('denied'))
    assert.deepEqual(lines, [])
  })

  it('sends them again after a minute, wherever the wall clock goes', async () => {
    mock.timers.enable({ apis: ['Date'], now: Date.now() })
    try {
      let now = 0
      const sent: boolean[] = []
      const nodeOrNobody = new NodeOrNobody({ log }, () => now)
      const [address = assert.fail()] = new Addresses(new Map()).of('registry.test')
      const ask = () =>
        nodeOrNobody.ask({ address, repository: app, credential: wrong }, async ({ credential }: Asker) => {
          sent.push(credential !== undefined)
          if (credential !== undefined) throw new UpstreamError('denied', 'no', { status: 401 })
          return { response: { status: 200 }, address: 'registry.test', anonymous: true } as unknown as RegistryAnswer
        })
      await ask()
      mock.timers.setTime(Date.now() + 3_600_000)
      now = 59_000
      await ask()
      assert.deepEqual(sent.splice(0), [true, false, false])
      mock.timers.setTime(Date.now() - 7_200_000)
      now = 61_000
      await ask()
      assert.deepEqual(sent, [true, false])
    } finally {
      mock.timers.reset()
    }
  })
})
