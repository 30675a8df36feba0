import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { fetchOver } from '../support/socket-fetch.ts'

interface Line {
  readonly type: string
  readonly [name: string]: unknown
}

const command = { 'content-type': 'application/json' }

/** Sends the command over the socket, and reads the lines of its answer. */
async function warm(daemon: TestDaemon, order: object | string) {
  const response = await fetchOver(daemon.adminSocket, '/api/v1/warm', {
    method: 'POST',
    headers: command,
    body: typeof order === 'string' ? order : JSON.stringify(order),
  })
  const text = await response.text()
  const isStream = response.headers.get('content-type') === 'application/x-ndjson'
  const lines = isStream
    ? text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Line)
    : []
  const outcomes = new Map(lines.filter(({ type }) => type === 'node').map((line) => [line['address'], line]))
  return { status: response.status, text, lines, outcomes: [...outcomes.values()], summary: lines.at(-1) }
}

const byName = (a: string, b: string) => a.localeCompare(b)
const peerAddress = (daemon: TestDaemon) => daemon.peer.replace('http://', '')

describe('an image that is brought to daemons with caches of their own', () => {
  let hub: Hub
  let daemons: TestDaemon[]
  let image: Image
  const secret = join(tmpdir(), `nabo-warm-${process.pid}`)

  before(async () => {
    hub = await createHub({ quota: { anonymous: 100 } })
    image = makeImage({
      layers: [
        { size: 3_000_000, seed: 'one' },
        { size: 900_000, seed: 'two' },
      ],
      multiArch: true,
    })
    await hub.publish('library/app', '1', image)
    await writeFile(secret, 'the secret of a test cluster, long enough\n')
    const flags = [...['--upstream', `docker.io=${hub.registryUrl}`], ...['--cluster-secret-file', secret]]
    const first = await runDaemon([...flags, '--zone', 'east'])
    const others = ['east', 'west'].map((zone) =>
      runDaemon([...flags, '--zone', zone, '--bootstrap', `static:${first.router}`]),
    )
    daemons = [first, ...(await Promise.all(others))]
    await eventually('they know each other', async () => {
      const all = await Promise.all(daemons.map((daemon) => daemon.status()))
      return all.every(({ index }) => index.peersInSync === 2)
    })
  })
  after(async () => {
    await Promise.all(daemons.map((daemon) => daemon.stop()))
    await hub.close()
    await rm(secret, { force: true })
  })
  const daemon = (n: number) => daemons[n] ?? assert.fail()

  it('is on the nodes of a zone, then on all, and came from the registry once', async () => {
    const east = await warm(daemon(0), { reference: 'app:1', zones: ['east'] })
    assert.deepEqual(east.summary, { type: 'summary', nodes: 2, done: 2, failed: 0 }, east.text)
    const all = await warm(daemon(0), { reference: 'docker.io/library/app:1' })
    assert.deepEqual(all.summary, { type: 'summary', nodes: 3, done: 3, failed: 0 }, all.text)
    const size = [image.config, ...image.layers].reduce((sum, { descriptor }) => sum + descriptor.size, 0)
    for (const line of all.outcomes) assert.deepEqual([line['total'], line['bytes']], [size, size])
    assert.deepEqual(all.outcomes.map((line) => String(line['zone'])).toSorted(byName), ['east', 'east', 'west'])
    const counters = await hub.counters()
    for (const { descriptor } of [image.config, ...image.layers])
      assert.deepEqual(counters.blobs[descriptor.digest], { gets: 1, bytes: descriptor.size })
    const gained = [...east.outcomes, ...all.outcomes].map(
      (line) => Number(line['fromPeers']) + Number(line['fromUpstream']),
    )
    assert.equal(
      gained.reduce((sum, bytes) => sum + bytes, 0),
      3 * size,
    )
    assert.deepEqual(all.lines[0], {
      type: 'started',
      reference: 'docker.io/library/app:1',
      digest: image.root.descriptor.digest,
    })
  })

  it('is pulled by clients afterwards without a byte from elsewhere', async () => {
    await warm(daemon(0), { reference: 'app:1' })
    for (const daemon of daemons) {
      for (const { descriptor } of [image.config, ...image.layers]) {
        const response = await fetch(`${daemon.mirror}/v2/library/app/blobs/${descriptor.digest}?ns=docker.io`)
        assert.equal((await response.bytes()).length, descriptor.size)
      }
      assert.ok(daemon.requests().every((line) => line['kind'] !== 'blob' || line['source'] === 'local'))
    }
  })

  it('may be asked for by digest, for nodes by name, and for another platform', async () => {
    const { digest } = image.root.descriptor
    const named = await warm(daemon(1), {
      reference: `app@${digest}`,
      nodes: ['self', peerAddress(daemon(2))],
      platform: 'linux/arm64',
    })
    assert.deepEqual(
      named.outcomes.map((line) => String(line['address'])).toSorted(byName),
      [daemon(1), daemon(2)].map(peerAddress).toSorted(byName),
    )
    assert.deepEqual(named.summary, { type: 'summary', nodes: 2, done: 2, failed: 0 }, named.text)
    const missing = await warm(daemon(1), { reference: 'app:1', platform: 'linux/s390x', nodes: ['self', '192.0.2.1'] })
    assert.deepEqual(missing.summary, { type: 'summary', nodes: 2, done: 0, failed: 2 }, missing.text)
    assert.deepEqual(missing.outcomes.map((line) => String(line['state'])).toSorted(byName), ['failed', 'unreachable'])
  })

  it('may be named as clients name it that know the mirror alone', async () => {
    const mirror = daemon(0).mirror.replace('http://', '')
    const { lines, outcomes } = await warm(daemon(0), { reference: `${mirror}/app:1` })
    assert.equal(lines[0]?.['reference'], 'docker.io/library/app:1')
    assert.deepEqual(
      outcomes.map(({ state }) => state),
      ['done', 'done', 'done'],
    )
  })

  it('is refused at once when it does not exist, or what is asked makes no sense', async () => {
    const absent = await warm(daemon(0), { reference: 'nothing:1' })
    assert.equal(absent.status, 404)
    for (const order of [
      'no JSON',
      {},
      { reference: 'Not An Image' },
      { reference: 'app:1', platform: 'linux' },
      { reference: 'app:1', nodes: [] },
      { reference: 'app:1', zones: Array.from({ length: 40 }, () => 'a') },
      { reference: 'app:1', parallel: 0 },
      { reference: 'app:1', namespace: 'a b' },
      { reference: 'app:1', credential: 'ann:secret' },
    ])
      assert.equal((await warm(daemon(0), order)).status, 400, JSON.stringify(order))
    assert.equal((await warm(daemon(0), ' '.repeat(600_000))).status, 413)
    assert.equal(
      (await warm(daemon(0), { reference: 'app:1', namespace: 'k8s.io', nodes: ['self'] })).outcomes[0]?.['state'],
      'unsupported',
    )
  })

  it('is never ordered over TCP, where every user of the machine can ask, nor by GET', async () => {
    const body = JSON.stringify({ reference: 'app:1' })
    const headers = { ...command, 'nabo-command': '1' }
    const response = await fetch(`${daemon(0).admin}/api/v1/warm`, { method: 'POST', headers, body })
    assert.equal(response.status, 403)
    assert.match(await response.text(), /Unix socket.*--admin-socket/)
    assert.equal((await fetchOver(daemon(0).adminSocket, '/api/v1/warm', { headers })).status, 404)
  })

  it('is not ordered from other nodes by a stranger', async () => {
    const body = JSON.stringify({ ticket: crypto.randomUUID(), reference: 'docker.io/library/app:1' })
    for (const authorization of [undefined, `Nabo t=${Date.now()},mac=${'0'.repeat(64)}`]) {
      const headers = authorization === undefined ? {} : { authorization }
      const response = await fetch(`${daemon(0).peer}/nabo/v1/warm`, { method: 'POST', headers, body })
      assert.equal(response.status, 403)
    }
  })

  it('is given up on all nodes when its client goes', async () => {
    const large = makeImage({ layers: [{ size: 40_000_000, seed: 'large' }] })
    await hub.publish('library/large', '1', large)
    await hub.setFaults({ cdn: { bytesPerSecond: 200_000 } })
    try {
      const controller = new AbortController()
      const response = await fetchOver(daemon(0).adminSocket, '/api/v1/warm', {
        method: 'POST',
        headers: command,
        body: JSON.stringify({ reference: 'large:1' }),
        signal: controller.signal,
      })
      const reader = response.body?.getReader() ?? assert.fail()
      let text = ''
      while (text.split('"state":"pulling"').length < 4)
        text += Buffer.from((await reader.read()).value ?? []).toString()
      controller.abort()
      const over = (line: Record<string, unknown>) =>
        line['msg'] === 'an order for an image is over' && line['state'] === 'cancelled'
      await eventually('every node has given it up', () => daemons.every(({ lines }) => lines.some(over)))
    } finally {
      await hub.setFaults({ cdn: {} })
    }
  })
})

describe('an image that is brought to nodes without a cluster secret', () => {
  it('is brought to this one alone, and the others refuse', async () => {
    await using stack = new AsyncDisposableStack()
    const hub = await createHub({})
    stack.defer(() => hub.close())
    await hub.publish('library/app', '1', makeImage({ layers: [{ size: 1000, seed: 'x' }] }))
    const flags = ['--upstream', `docker.io=${hub.registryUrl}`]
    const first = await runDaemon(flags, { secret: false })
    stack.defer(() => first.stop())
    const second = await runDaemon([...flags, '--bootstrap', `static:${first.router}`], { secret: false })
    stack.defer(() => second.stop())
    await eventually('they know each other', async () => (await first.status()).peers === 1)
    const { outcomes, summary } = await warm(first, { reference: 'app:1' })
    assert.deepEqual(summary, { type: 'summary', nodes: 2, done: 1, failed: 1 })
    assert.deepEqual(
      outcomes.map((line) => [line['address'], line['state']]),
      [
        [peerAddress(first), 'done'],
        [peerAddress(second), 'unsupported'],
      ],
    )
    assert.equal((await warm(first, { reference: 'app:1', nodes: ['self'] })).summary?.['failed'], 0)
    const body = JSON.stringify({ ticket: crypto.randomUUID(), reference: 'docker.io/library/app:1' })
    const response = await fetch(`${second.peer}/nabo/v1/warm`, { method: 'POST', body })
    assert.notEqual(response.status, 200)
  })
})
