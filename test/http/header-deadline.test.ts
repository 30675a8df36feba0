import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { type HeaderWork, beforeDeadline, patienceOf } from '../../src/http/header-deadline.ts'
import { OciError } from '../../src/oci/errors.ts'

const CONTAINERD = patienceOf('/v2/library/app/manifests/1?ns=docker.io', 'containerd/2.1.9', 20_000)

describe('the deadline for a header', () => {
  const client = new AbortController()
  let late: string[]

  beforeEach(() => {
    late = []
    mock.timers.enable({ apis: ['setTimeout'] })
  })
  afterEach(() => mock.timers.reset())

  /** The milliseconds after which work that never ends is given up, in steps of the longest common divisor of all deadlines, and the refusal. */
  async function waitFor(work: Partial<HeaderWork<string>>) {
    const opening = Promise.withResolvers<string>()
    const refused: unknown[] = []
    const waiting = beforeDeadline(client.signal, () => opening.promise, {
      patience: CONTAINERD,
      discard: (result) => late.push(result),
      ...work,
    }).catch((error: unknown) => refused.push(error))
    let waited = 0
    while (refused.length === 0 && waited < 200_000) {
      mock.timers.tick(500)
      waited += 500
      await new Promise((resolve) => setImmediate(resolve))
    }
    opening.resolve('late')
    await waiting
    const [refusal] = refused
    assert.ok(refusal instanceof OciError && refusal.status === 404)
    return { waited, message: refusal.message }
  }

  it('is 9 s for a client that goes on to the registry, and what comes later is closed', async () => {
    const { waited, message } = await waitFor({})
    assert.equal(waited, 9000)
    assert.equal(message, 'nobody answered within 9 seconds; go on without the mirror')
    assert.deepEqual(late, ['late'])
  })

  it('is 25 s for a blob that is coming, and the message says so', async () => {
    const { waited, message } = await waitFor({ isComing: () => true })
    assert.equal(waited, 25_000)
    assert.equal(message, 'nobody answered within 25 seconds; go on without the mirror')
    let asked = 0
    const broken = await waitFor({ isComing: () => (asked += 1) < 3 })
    assert.equal(broken.waited, 10_000)
    assert.match(broken.message, /within 10 seconds/)
  })

  it('leaves a registry --upstream-timeout for a client that has no other host', async () => {
    for (const [url, agent] of [
      ['/v2/library/app/manifests/1', 'docker/27.0'],
      ['/v2/ghcr.io/org/app/manifests/1', 'containers/5.16 (github.com/containers/image)'],
      ['/v2/library/app/manifests/1?n=1', undefined],
      ['/v2/library/app/manifests/1?ns=docker.io', 'nabo-pull'],
    ] as const) {
      const { waited, message } = await waitFor({ patience: patienceOf(url, agent, 60_000), isComing: () => true })
      assert.equal(waited, 69_000)
      assert.equal(message, 'nobody answered within 69 seconds; try again later')
    }
    const short = patienceOf('/v2/library/app/manifests/1', undefined, 1000)
    assert.deepEqual([short.header, short.coming], [10_000, 25_000])
  })

  it('is over when the answer is there, and follows the client', async () => {
    const gone = new AbortController()
    const never = () => new Promise<string>(() => {})
    const waiting = beforeDeadline(gone.signal, never, { patience: CONTAINERD })
    gone.abort(new Error('gone'))
    await assert.rejects(waiting, /gone/)
    assert.equal(await beforeDeadline(client.signal, async () => 'found', { patience: CONTAINERD }), 'found')
    mock.timers.tick(100_000)
  })
})
