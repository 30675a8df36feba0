import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { FullBacklog } from '../support/full-backlog.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { OddServer } from '../support/registry-clients.ts'

const TAGS = Array.from({ length: 11 }, (_, index) => `t${index}`)
const headers = { accept: MANIFEST_ACCEPT.join(', ') }
const IMAGES = new Map(TAGS.map((tag) => [tag, makeImage({ layers: [{ size: 100, seed: tag }] })]))
const bytes = Buffer.from('{"schemaVersion":2}')

/** What containerd asks: it goes on to the registry by itself. */
const byNamespace = (tag: string) => `/v2/library/app/manifests/${tag}?ns=docker.io`
/** What a client asks that names the mirror: it has no other host. */
const byName = (tag: string) => `/v2/library/app/manifests/${tag}`

describe('a registry that does not answer', () => {
  let hub: Hub
  let image: Image
  let nodes: TestDaemon[] = []
  let directory: string

  before(async () => {
    image = makeImage({ layers: [{ size: 5000, seed: 'slow' }] })
    hub = await createHub()
    await hub.publish('app', 'slow', image)
    for (const [tag, one] of IMAGES) await hub.publish('app', tag, one)
  })
  after(() => hub.close())
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-slow-'))
  })
  afterEach(async () => {
    for (const node of nodes) await node.stop()
    nodes = []
    await rm(directory, { recursive: true, force: true })
  })

  const start = async (upstream: string, flags: readonly string[] = [], kept: { directory?: string } = {}) => {
    const bootstrap = nodes[0] === undefined ? [] : ['--bootstrap', `static:${nodes[0].router}`]
    const all = ['--upstream', `docker.io=${upstream}`, ...bootstrap, ...flags]
    const node = await runDaemon(all, kept)
    nodes.push(node)
    return node
  }
  const ask = async (node: TestDaemon, path: string, method = 'HEAD') => {
    const response = await fetch(node.mirror + path, { method, headers })
    await response.arrayBuffer()
    return response
  }
  const metricsOf = async (node: TestDaemon) => (await (await fetch(`${node.admin}/metrics`)).text()).split('\n')
  /** Requests to registries that have ended, whatever came of them. */
  const requests = async (node: TestDaemon) => {
    const counts = (await metricsOf(node)).map((line) => /^nabo_upstream_requests_total\{.*\} (\d+)$/.exec(line)?.[1])
    return counts.reduce((sum, count = '0') => sum + Number(count), 0)
  }

  /** A node with all the tags, and another one that knows it. */
  const neighbours = async (upstream: string, flags: readonly string[] = []) => {
    const kept = { directory: join(directory, 'cache') }
    const data = ['--data-dir', join(directory, 'data')]
    const filling = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`, ...data], kept)
    for (const tag of TAGS) await ask(filling, byNamespace(tag), 'GET')
    // What the swarm shares about tags is forgotten with the process; the cache and the proofs of access are kept.
    await filling.stop()
    const holder = await start(hub.registryUrl, data, kept)
    const node = await start(upstream, flags)
    await eventually('its tags are announced', async () => {
      const { peers, index } = await node.status()
      return peers === 1 && index.claims >= 2 * TAGS.length
    })
    return { holder, node }
  }

  it('whose packets are dropped is left alone after a burst of tags, which come from a neighbour meanwhile', async () => {
    await using dropped = await FullBacklog.start()
    const { node } = await neighbours(dropped.url, ['--upstream-timeout', '5s'])
    const first = await Promise.all(TAGS.map((tag) => ask(node, byNamespace(tag))))
    assert.deepEqual(new Set(first.map(({ status }) => status)), new Set([200]))
    assert.deepEqual(new Set(first.map((answer) => answer.headers.get('nabo-source'))), new Set(['peer']))
    // Nobody has these: the registry is left alone, so nothing is waited for.
    const missing = await Promise.all(TAGS.map((tag) => ask(node, byNamespace(`no-${tag}`))))
    assert.deepEqual(new Set(missing.map(({ status }) => status)), new Set([404]))
    for (const { statusText } of missing) assert.match(statusText, /left alone for another \d+ s/)
    await eventually('the requests to the registry have ended', async () => (await requests(node)) >= TAGS.length)
    assert.equal(await requests(node), TAGS.length)
  })

  it('yet leaves the neighbours to be asked beside it, about each tag of a burst', async () => {
    const neighbourAsked = Promise.withResolvers<void>()
    await using registry = await OddServer.start(({ url = '' }, response) => {
      const { descriptor } = IMAGES.get(/manifests\/(t\d+)/.exec(url)?.[1] ?? '')?.root ?? assert.fail(url)
      const about = { 'content-type': descriptor.mediaType, 'docker-content-digest': descriptor.digest }
      void neighbourAsked.promise.then(() =>
        response.writeHead(200, { ...about, 'content-length': descriptor.size }).end(),
      )
    })
    const { holder, node } = await neighbours(registry.url)
    const answers = Promise.all(TAGS.map((tag) => ask(node, byNamespace(tag))))
    await eventually('the neighbour has been asked about all', () => {
      const asked = holder.lines.filter(({ listener, kind }) => listener === 'peer' && kind === 'manifest')
      return asked.length >= TAGS.length
    })
    assert.equal(await requests(node), 0)
    neighbourAsked.resolve()
    // Had the neighbour been asked only after the registry had failed, its answer would be the one.
    for (const answer of await answers)
      assert.deepEqual([answer.status, answer.headers.get('nabo-source')], [200, 'upstream'])
  })

  it('for the time of --upstream-timeout is given up for a client without another host, and not before', async () => {
    await using silent = await OddServer.start(() => {})
    const node = await start(silent.url, ['--upstream-timeout', '6s'])
    const began = performance.now()
    const { status } = await ask(node, byName('v1'))
    assert.equal(status, 404)
    const waited = performance.now() - began
    // A timer may fire a little before the clock says so.
    assert.ok(waited >= 5990, `${waited} ms`)
  })

  it('that takes requests and never answers is left alone after three of them', async () => {
    await using silent = await OddServer.start(() => {})
    const node = await start(silent.url)
    for (const tag of TAGS.slice(0, 3)) {
      const { status, statusText } = await ask(node, byNamespace(tag))
      assert.equal(status, 404)
      assert.match(statusText, /no node knows it, and docker\.io has not answered within 4 s/)
    }
    const others = await Promise.all(TAGS.slice(3).map((tag) => ask(node, byNamespace(tag))))
    for (const { status, statusText } of others) {
      assert.equal(status, 404)
      assert.match(statusText, /does not answer in time \(it is left alone for another/)
    }
    assert.equal(silent.seen.length, 3)
  })

  it('for seconds answers a client without another host, containerd’s next attempt, and no more than one HEAD', async () => {
    const waiting: ServerResponse[] = []
    let isThere = false
    const answer = (response: ServerResponse) => {
      const length = bytes.length
      const about = { 'content-type': MANIFEST_ACCEPT[0], 'docker-content-digest': digestOf(bytes) }
      response.writeHead(200, { ...about, 'content-length': length }).end()
    }
    await using proxy = await OddServer.start(
      (_, response) => void (isThere ? answer(response) : waiting.push(response)),
    )
    const node = await start(proxy.url)
    const patient = ask(node, byName('v1'))
    const impatient = await ask(node, byNamespace('v1'))
    assert.equal(impatient.status, 404)
    // The proxy is still being asked, and now it has got what it was asked for.
    assert.equal(proxy.seen.length, 1)
    assert.equal(waiting[0]?.destroyed, false)
    isThere = true
    for (const response of waiting) answer(response)
    assert.equal((await patient).status, 200)
    const again = await ask(node, byNamespace('v1'))
    assert.equal(again.headers.get('docker-content-digest'), digestOf(bytes))
    assert.ok((await metricsOf(node)).some((line) => /^nabo_upstream_breaker\{.*\} 0$/.test(line)))
  })

  it('is asked on after containerd has gone, so that its next attempt finds the tag', async () => {
    const waiting = Promise.withResolvers<ServerResponse>()
    await using proxy = await OddServer.start((_, response) => waiting.resolve(response))
    const node = await start(proxy.url)
    assert.equal((await ask(node, byNamespace('v1'))).status, 404)
    const response = await waiting.promise
    assert.equal(response.destroyed, false)
    const about = { 'content-type': MANIFEST_ACCEPT[0], 'docker-content-digest': digestOf(bytes) }
    response.writeHead(200, { ...about, 'content-length': bytes.length }).end()
    const next = await ask(node, byNamespace('v1'))
    assert.equal(next.status, 200)
    assert.equal(next.headers.get('docker-content-digest'), digestOf(bytes))
    assert.equal(proxy.seen.length, 1)
  })

  it('for seconds delays manifests and blobs of a client without another host, and refuses them to none', async () => {
    // Longer than containerd waits for a header.
    const slow = 10_000
    await hub.setFaults({ registry: { latencyMs: slow, path: /sha256:/, method: 'GET', times: 2 } })
    const node = await start(hub.registryUrl)
    const { digest } = image.layers[0]?.descriptor ?? assert.fail()
    const paths = [`/v2/library/app/manifests/${image.root.descriptor.digest}`, `/v2/library/app/blobs/${digest}`]
    const answers = await Promise.all(paths.map((path) => ask(node, path, 'GET')))
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
    )
    await hub.reset()
  })
})
