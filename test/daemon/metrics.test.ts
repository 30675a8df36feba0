// What strangers invent must not become time series: Prometheus and this process would keep them for good.
import assert from 'node:assert/strict'
import { METHODS } from 'node:http'
import { after, before, describe, it } from 'node:test'

import { Registry } from 'prom-client'

import { RegistryLabels } from '../../src/daemon/registry-labels.ts'
import { Metrics } from '../../src/daemon/metrics.ts'
import { observeUpstreams } from '../../src/daemon/upstream-metrics.ts'
import { StaleTags } from '../../src/delivery/tags/stale-tags.ts'
import { QuotaBook } from '../../src/upstream/quota/quota-book.ts'
import { QuotaGate } from '../../src/upstream/quota/quota-gate.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { freePort } from '../support/free-port.ts'

const BLOB = `sha256:${'0'.repeat(64)}`
const PROXY = 'HTTPS_PROXY'

/** Time series: without the values. */
const seriesOf = (text: string) =>
  text
    .split('\n')
    .flatMap((line) => (line === '' || line.startsWith('#') ? [] : [line.slice(0, line.lastIndexOf(' '))]))

describe('the metrics of a daemon', () => {
  let nabo: TestDaemon
  let proxy: string | undefined

  before(async () => {
    // No connection to an invented registry leaves this machine: nothing listens there.
    proxy = process.env[PROXY]
    process.env[PROXY] = `http://127.0.0.1:${await freePort()}`
    const flags = ['--fallback', 'docker.io,named.test', '--upstream', 'mirrored.test=https://elsewhere.test']
    // Without a secret, so that this process may read from its peer listener.
    nabo = await runDaemon(flags, { secret: false })
  })
  after(async () => {
    await nabo.stop()
    if (proxy === undefined) delete process.env[PROXY]
    else process.env[PROXY] = proxy
  })

  const series = async () => seriesOf(await (await fetch(`${nabo.admin}/metrics`)).text())
  const ask = async (url: string, method = 'HEAD') => {
    const response = await fetch(url, { method })
    await response.arrayBuffer()
  }
  const askFor = async (registry: string) => {
    await ask(`${nabo.mirror}/v2/org/app/manifests/1?ns=${registry}`)
    await ask(`${nabo.mirror}/v2/org/app/blobs/${BLOB}?ns=${registry}`)
    await ask(`${nabo.mirror}/v2/org/app/tags/list?ns=${registry}`, 'GET')
    await ask(`${nabo.peer}/v2/org/app/blobs/${BLOB}?ns=${registry}`, 'GET')
    await ask(`${nabo.admin}/${registry}`, 'GET')
  }

  it('have no time series for registries, paths and methods that clients invent', async () => {
    await askFor('first.test')
    for (const method of ['POST', 'GET']) await ask(`${nabo.mirror}/nothing`, method)
    // The first look at the metrics is counted itself.
    await series()
    const before = await series()
    assert.ok(before.some((each) => each.startsWith('nabo_upstream_requests_total{registry="other",')))
    for (let n = 0; n < 300; n += 10)
      await Promise.all(Array.from({ length: 10 }, (_, k) => askFor(`r${n + k}.test:${n + k + 1}`)))
    const methods = METHODS.filter((method) => !['CONNECT', 'TRACE', 'HEAD', 'GET'].includes(method))
    for (const method of methods) await ask(`${nabo.mirror}/nothing/${method}`, method)
    assert.deepEqual(
      (await series()).filter((each) => !before.includes(each)),
      [],
    )
  })

  it('name the registries of the flags', async () => {
    for (const registry of ['docker.io', 'named.test', 'mirrored.test']) await askFor(registry)
    const after = await series()
    for (const registry of ['docker.io', 'named.test', 'mirrored.test'])
      for (const name of ['nabo_upstream_requests_total', 'nabo_upstream_breaker'])
        assert.ok(
          after.some((each) => each.startsWith(`${name}{registry="${registry}"`)),
          `${name} of ${registry}`,
        )
    assert.ok(!after.some((each) => each.startsWith('nabo_upstream_breaker{registry="other"')), 'alerts watch it')
  })
})

describe('the metrics of upstreams', () => {
  const registryLabels = new RegistryLabels({
    mirrored: 'all',
    fallback: new Set(['ghcr.io']),
    upstreams: new Set(['quay.io']),
  })

  it('have one label value for all registries that no flag names, and for all statuses that are none', async () => {
    const index = () => assert.fail()
    const metrics = new Metrics({ isReady: () => true, peers: () => 0, storedBlobs: () => 0, index }, registryLabels)
    const event = { method: 'HEAD', kind: 'manifests' }
    for (const registry of ['docker.io', 'ghcr.io', 'quay.io'])
      metrics.upstreamRequest({ ...event, registry, outcome: '200' })
    for (let n = 0; n < 500; n += 1) {
      metrics.upstreamRequest({ ...event, registry: `r${n}.example`, outcome: 'unreachable' })
      metrics.upstreamRequest({ ...event, registry: 'docker.io', outcome: String(500 + n) })
    }
    const { values } = (await metrics.registry.getSingleMetric('nabo_upstream_requests_total')?.get()) ?? assert.fail()
    const labelled = (label: string) => new Set(values.map(({ labels }) => labels[label]))
    assert.deepEqual(labelled('registry'), new Set(['docker.io', 'ghcr.io', 'quay.io', 'other']))
    const outcomes = labelled('outcome')
    assert.ok(outcomes.has('503') && outcomes.has('other') && outcomes.has('unreachable'))
    assert.ok(outcomes.size < 20, [...outcomes].join())
  })

  it('show the quotas with the least left, of the registries of the flags', async () => {
    const book = new QuotaBook()
    for (let n = 1; n <= 300; n += 1) {
      const counts = { limit: 1000, remaining: n, windowSeconds: 60, asOf: Date.now(), endsAt: Date.now() + 60_000 }
      const seat = { host: 'x', credentialId: String(n), account: undefined }
      book.note({ ...seat, registry: 'ghcr.io' }, { ...counts, source: `account ${n}` })
      book.note({ ...seat, registry: `r${n}.example` }, { ...counts, remaining: 0, source: 'anybody' })
    }
    const registry = new Registry()
    const quota = { book, gate: new QuotaGate(book) }
    const nothing = { addresses: () => [], credentialTroubles: () => [] }
    observeUpstreams(registry, { quota, staleTags: new StaleTags(), ...nothing, registryLabels })
    const lines = (await registry.metrics()).split('\n').filter((line) => line.startsWith('nabo_quota_remaining{'))
    const expected = Array.from({ length: 20 }, (_, n) => [
      `nabo_quota_remaining{registry="ghcr.io",source="account ${n + 1}"} ${n + 1}`,
    ])
    assert.deepEqual(lines.toSorted(), expected.flat().toSorted())
  })
})
