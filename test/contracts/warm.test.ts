import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'

import { parseDigest } from '../../src/oci/digest.ts'
import { parseImageReference } from '../../src/oci/reference.ts'
import { InvalidMessage } from '../../src/contracts/message.ts'
import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import { decoded, encoded } from '../support/wire.ts'

const { request: WISH, answer: STATUS } = NODE_PROTOCOL.warm

const digest = parseDigest(`sha256:${'a'.repeat(64)}`) ?? assert.fail()

describe('a wish to have an image on another node', () => {
  it('is read as it was written', () => {
    for (const image of ['docker.io/library/app:1', `ghcr.io/org/app@${digest}`, `[fd00::1]:5000/a/b:v1@${digest}`]) {
      const reference = parseImageReference(image) ?? assert.fail(image)
      const order = {
        reference,
        digest,
        platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
        namespace: 'k8s.io',
      }
      const wish = { ticket: randomUUID(), order, zones: ['a', 'b'], cancel: true }
      assert.deepEqual(decoded(WISH, encoded(WISH, wish)), wish)
      const least = { ticket: randomUUID(), order: { reference } }
      const read = decoded(WISH, encoded(WISH, least))
      assert.deepEqual(JSON.parse(JSON.stringify(read)), JSON.parse(JSON.stringify(least)))
    }
  })

  it('is refused when it is something else', () => {
    const good = { ticket: randomUUID(), reference: 'docker.io/library/app:1' }
    assert.ok(decoded(WISH, JSON.stringify(good)))
    for (const change of [
      { ticket: 'me' },
      { ticket: undefined },
      { reference: 'docker.io/library/app' },
      { reference: 'Not An Image' },
      { reference: `docker.io/library/${'a'.repeat(600)}:1` },
      { digest: 'sha256:abc' },
      { platform: 'linux' },
      { platform: 'linux/amd64/v1/more' },
      { namespace: '../k8s.io' },
      { zones: Array.from({ length: 33 }, () => 'a') },
      { zones: [''] },
      { cancel: 'yes' },
      { credential: 'ann:secret' },
    ])
      assert.throws(() => decoded(WISH, JSON.stringify({ ...good, ...change })), InvalidMessage)
    assert.throws(() => decoded(WISH, Buffer.alloc(WISH.maxBytes + 1, ' ')), InvalidMessage)
  })

  it('is answered within bounds', () => {
    const status = {
      state: 'pulling',
      zone: 'a',
      bytes: 1,
      total: 2,
      seconds: 0.5,
      fromPeers: 3,
      fromUpstream: 4,
    } as const
    assert.deepEqual(decoded(STATUS, encoded(STATUS, status)), status)
    const long = decoded(STATUS, encoded(STATUS, { state: 'failed', message: 'x'.repeat(5000) }))
    assert.equal(long.message?.length, 1000)
    for (const bad of [
      {},
      { state: 'well' },
      { state: 'done', bytes: -1 },
      { state: 'done', total: 0.5 },
      { state: 'done', x: 1 },
    ])
      assert.throws(() => decoded(STATUS, JSON.stringify(bad)), InvalidMessage)
  })
})
