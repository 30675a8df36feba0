import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import type { Credential } from '../../../src/upstream/registry/credential.ts'
import { createHub } from '../../support/hub/create-hub.ts'
import type { Hub } from '../../support/hub/hub.ts'
import { type Image, makeImage } from '../../support/image-maker.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { OddServer, RegistryClients } from '../../support/registry-clients.ts'

const signal = new AbortController().signal
const hidden = { registry: 'docker.io', name: 'org/hidden' }
const identity = { identityToken: 'given-at-a-login', username: 'ann' }

describe('a credential', () => {
  const clients = new RegistryClients()
  const users = [{ name: 'ann', password: 'pw', identityToken: identity.identityToken, mayPull: ['org/hidden'] }]
  let image: Image
  let hub: Hub
  before(async () => {
    image = makeImage({ layers: [{ size: 1000, seed: 'authorization' }] })
    hub = await createHub({ users, privateRepositories: ['org/hidden'] })
    await hub.publish('org/hidden', '1', image)
  })
  after(() => hub.close())
  beforeEach(() => hub.reset())
  afterEach(() => clients.close())

  const headWith = async (credential: Credential, url = hub.registryUrl) => {
    const { client } = await clients.create({ endpoints: [url], credential })
    return client.headManifest(hidden, '1', { signal })
  }
  const methodsAtRealm = async (from = hub) =>
    (await from.requests()).filter(({ origin }) => origin === 'auth').map(({ method }) => method)

  it('that is an identity token is exchanged for access tokens', async () => {
    const { client } = await clients.create({ endpoints: [hub.registryUrl], credential: identity })
    for (let round = 0; round < 3; round += 1) {
      const found = await client.headManifest(hidden, '1', { signal })
      assert.deepEqual(found?.descriptor, image.root.descriptor)
      assert.equal(found.anonymous, false)
    }
    assert.deepEqual(await methodsAtRealm(), ['POST'])
    assert.equal((await hub.counters()).refreshes, 1)
  })

  it('that is an identity token is shown by GET where the realm knows no POST', async () => {
    await using old = await createHub({ users, privateRepositories: ['org/hidden'], oauth: false })
    await old.publish('org/hidden', '1', image)
    for (const username of ['ann', '']) {
      const found = await headWith({ ...identity, username }, old.registryUrl)
      assert.deepEqual(found?.descriptor, image.root.descriptor)
    }
    assert.deepEqual(await methodsAtRealm(old), ['POST', 'GET', 'POST', 'GET'])
  })

  it('that is an identity token no longer good is a denial', async () => {
    await assert.rejects(headWith({ identityToken: 'revoked', username: '' }), isUpstreamError('denied'))
    // After it comes what anybody is asked.
    assert.deepEqual(await methodsAtRealm(), ['POST', 'GET'])
    assert.equal((await hub.counters()).wrongLogins, 1)
  })

  it('that is a registry token goes to the registry as it is, and to no realm', async () => {
    const url = `${hub.authUrl}/token?service=registry.docker.io&scope=repository:org/hidden:pull`
    const headers = { authorization: `Basic ${Buffer.from('ann:pw').toString('base64')}` }
    const { token } = (await (await fetch(url, { headers })).json()) as { token: string }
    await hub.reset()
    const found = await headWith({ registryToken: token })
    assert.deepEqual(found?.descriptor, image.root.descriptor)
    assert.equal(found.anonymous, false)
    assert.deepEqual(await methodsAtRealm(), [])
    await assert.rejects(headWith({ registryToken: 'expired' }), isUpstreamError('denied'))
  })

  it('that is a token is not given to a registry that wants a password', async () => {
    await using odd = await OddServer.start((_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
    })
    for (const credential of [identity, { registryToken: 'bearer' }]) {
      await assert.rejects(
        headWith(credential, odd.url),
        isUpstreamError('failed', /wants a password, and the credential is a/),
      )
    }
    for (const seen of odd.seen) assert.match(seen, / -$/)
  })
})

describe('a challenge', () => {
  const clients = new RegistryClients()
  afterEach(() => clients.close())

  it('is used again where a 401 to a token has none that can be read, once for each request', async () => {
    for (const later of [undefined, 'Negotiate', 'Digest realm="r"']) {
      let tokens = 0
      await using odd = await OddServer.start(({ url, headers }, response) => {
        if (url?.startsWith('/token') === true) {
          tokens += 1
          return void response.end(JSON.stringify({ token: `t${tokens}` }))
        }
        const challenge = headers.authorization === undefined ? `Bearer realm="${odd.url}/token"` : later
        response.writeHead(401, challenge === undefined ? {} : { 'www-authenticate': challenge }).end()
      })
      const { client } = await clients.create({ endpoints: [odd.url] })
      await assert.rejects(client.headManifest(hidden, '1', { signal }), isUpstreamError('denied'))
      assert.equal(tokens, 1)
      await assert.rejects(client.headManifest(hidden, '1', { signal }), isUpstreamError('denied'))
      // The kept token, and one that took its place.
      assert.equal(tokens, 2)
    }
  })

  it('is not there for what was never asked for', async () => {
    for (const challenge of [{}, { 'www-authenticate': 'Negotiate' }]) {
      await using odd = await OddServer.start((_, response) => response.writeHead(401, challenge).end())
      const { client } = await clients.create({ endpoints: [odd.url] })
      await assert.rejects(client.headManifest(hidden, '1', { signal }), isUpstreamError('denied'))
      assert.equal(odd.seen.length, 1)
    }
  })
})
