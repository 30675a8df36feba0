import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { second } from '../../src/time/units.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'

import { createHub } from '../support/hub/create-hub.ts'
import type { Hub, HubOptions } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { execute } from '../support/netns/commands.ts'
import { eventually } from '../support/poll.ts'

const accept = MANIFEST_ACCEPT.join(', ')
const HUB_ADDRESS = '127.0.0.1'
const USED_UP = /the quota of docker\.io is used up until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ at the latest:/
const BIN = fileURLToPath(new URL('../../bin/nabo', import.meta.url))

describe('nodes at a registry that counts pulls', () => {
  let images: Image[]
  let hubs: Hub[] = []
  let nodes: TestDaemon[] = []

  before(() => {
    images = Array.from({ length: 12 }, (_, n) => makeImage({ layers: [{ size: 2000, seed: `quota ${n}` }] }))
  })
  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await Promise.all(hubs.map((hub) => hub.close()))
    nodes = []
    hubs = []
  })
  after(() => assert.equal(hubs.length, 0))

  async function startHub(options: HubOptions): Promise<Hub> {
    const hub = await createHub(options)
    hubs.push(hub)
    for (const [n, image] of images.entries()) await hub.publish(`app${n}`, '1', image)
    return hub
  }
  async function start(upstreams: readonly Hub[], flags: readonly string[] = []): Promise<TestDaemon> {
    const bootstrap = nodes[0] === undefined ? [] : ['--bootstrap', `static:${nodes[0].router}`]
    const upstream = `docker.io=${upstreams.map((hub) => hub.registryUrl).join(',')}`
    const node = await runDaemon(['--upstream', upstream, ...bootstrap, ...flags])
    nodes.push(node)
    await eventually('all nodes know all', async () => {
      const all = await Promise.all(nodes.map((node) => node.status()))
      return all.every(({ peers, index }) => peers === nodes.length - 1 && index.membersHeard === nodes.length - 1)
    })
    return node
  }
  const imageAt = (n: number) => images[n] ?? assert.fail()
  const ask = (node: TestDaemon, n: number, by: 'tag' | 'digest', method = 'GET') => {
    const reference = by === 'tag' ? '1' : imageAt(n).root.descriptor.digest
    return fetch(`${node.mirror}/v2/library/app${n}/manifests/${reference}`, { method, headers: { accept } })
  }
  async function pull(node: TestDaemon, n: number, by: 'tag' | 'digest' = 'digest'): Promise<void> {
    const response = await ask(node, n, by)
    assert.equal(response.status, 200, await response.clone().text())
    await response.arrayBuffer()
  }
  async function refusal(node: TestDaemon, n: number, by: 'tag' | 'digest' = 'digest'): Promise<string> {
    const response = await ask(node, n, by)
    assert.equal(response.status, 404)
    const { errors } = (await response.json()) as { errors: { message: string }[] }
    return errors[0]?.message ?? ''
  }
  const quotas = async (node: TestDaemon) =>
    ((await (await fetch(`${node.admin}/api/v1/quota`)).json()) as { quotas: Record<string, unknown>[] }).quotas
  const metric = async (node: TestDaemon, name: string) => {
    const text = await (await fetch(`${node.admin}/metrics`)).text()
    return text.split('\n').filter((line) => line.startsWith(name))
  }
  const getsAt = async (hub: Hub) => {
    const { manifestGets, limited } = await hub.counters()
    return manifestGets + limited
  }

  it('say what is left in the API, the status, the metrics and the log', async () => {
    const hub = await startHub({ quota: { anonymous: 10 } })
    const node = await start([hub])
    assert.deepEqual(await quotas(node), [])
    for (let n = 0; n < 10; n += 1) await pull(node, n)
    const shown = await quotas(node)
    assert.equal(shown.length, 1)
    const { asOf, endsAt, host, ...rest } = shown[0] ?? {}
    assert.deepEqual(rest, {
      registry: 'docker.io',
      source: HUB_ADDRESS,
      limit: 10,
      remaining: 0,
      windowSeconds: 21_600,
    })
    assert.equal(host, new URL(hub.registryUrl).host)
    assert.ok(Date.parse(String(endsAt)) > Date.parse(String(asOf)))
    const status = (await (await fetch(`${node.admin}/api/v1/status`)).json()) as { quotas: unknown[] }
    assert.deepEqual(status.quotas, shown)
    const labels = `{registry="docker.io",source="${HUB_ADDRESS}"}`
    assert.deepEqual(await metric(node, 'nabo_quota_limit{'), [`nabo_quota_limit${labels} 10`])
    assert.deepEqual(await metric(node, 'nabo_quota_remaining{'), [`nabo_quota_remaining${labels} 0`])
    const lines = node.lines.filter((line) => String(line['msg']).includes("of a registry's quota is left"))
    assert.deepEqual(
      lines.map((line) => line['remaining']),
      [5, 2, 0],
    )
  })

  it('spend nothing on tags, nor on what a neighbour has', async () => {
    const hub = await startHub({ quota: { anonymous: 10 } })
    const [a, b] = [await start([hub]), await start([hub])]
    await pull(a, 0, 'tag')
    await eventually('b knows that a has it', async () => (await b.status()).index.claims > 0)
    for (let n = 1; n < 12; n += 1) assert.equal((await ask(b, n, 'tag', 'HEAD')).status, 200)
    await pull(b, 0, 'tag')
    await pull(b, 0, 'digest')
    assert.equal((await hub.counters()).manifestGets, 1)
  })

  it('send no GET once nothing remains, resolve tags all the same, and give each other what they have', async () => {
    const hub = await startHub({ quota: { anonymous: 2 } })
    const [a, b] = [await start([hub]), await start([hub])]
    await pull(a, 0)
    await pull(a, 1)
    const spent = await getsAt(hub)
    assert.equal(spent, 2)
    for (const by of ['digest', 'tag'] as const) {
      const message = await refusal(a, 2, by)
      assert.match(message, USED_UP)
      assert.match(message, /: \S+ allows 127\.0\.0\.1 2 pulls in 6 h and 0 remain$/)
    }
    assert.equal((await ask(a, 3, 'tag', 'HEAD')).status, 200)
    // b has never pulled: the HEAD for its tag says how things are.
    assert.match(await refusal(b, 4, 'tag'), /is used up/)
    assert.match(await refusal(b, 5, 'digest'), /is used up/)
    await eventually('b knows that a has it', async () => (await b.status()).index.claims >= 2)
    await pull(b, 0, 'tag')
    await pull(b, 1, 'digest')
    assert.equal(await getsAt(hub), spent, 'nothing was asked in vain')
    assert.ok(Number((await metric(a, 'nabo_quota_refused_total'))[0]?.split(' ')[1]) >= 1)
  })

  it('give the reason at once when an image is brought to all of them', async () => {
    const hub = await startHub({ quota: { anonymous: 1 } })
    const [a, b] = [await start([hub]), await start([hub])]
    await pull(a, 0)
    const began = performance.now()
    const warm = await execute(BIN, ['warm', 'app7:1', '--json', '--admin-socket', b.adminSocket])
    assert.ok(performance.now() - began < 8 * second, 'no node has waited for a timeout of 10 s')
    assert.equal(warm.code, 1, warm.stderr)
    const lines = warm.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; state?: string; message?: string })
    const failed = lines.filter(({ state }) => state === 'failed')
    assert.equal(failed.length, 2, warm.stdout)
    for (const { message = '' } of failed) assert.match(message, USED_UP)
  })

  it('tell each other what remains where they are counted together', async () => {
    const hub = await startHub({ quota: { anonymous: 10 } })
    const [a, b] = [await start([hub]), await start([hub])]
    await pull(b, 11)
    for (let n = 0; n < 5; n += 1) await pull(a, n)
    await eventually('b knows what a spent', async () => (await quotas(b))[0]?.['remaining'] === 4)
    assert.equal((await hub.counters()).manifestGets, 6)
  })

  it('ask a second address that counts nothing', async () => {
    const [hub, mirror] = [await startHub({ quota: { anonymous: 1 } }), await startHub({ tokens: false })]
    const node = await start([hub, mirror])
    await pull(node, 0)
    assert.equal(await getsAt(hub), 1)
    await pull(node, 1, 'digest')
    await pull(node, 2, 'tag')
    assert.deepEqual([await getsAt(hub), await getsAt(mirror)], [1, 2])
  })

  it('count each account by itself', async () => {
    const users = [{ name: 'ann', password: 'kept-to-herself' }]
    const hub = await startHub({ users, quota: { anonymous: 1, user: 2 } })
    const anonymous = await start([hub])
    await pull(anonymous, 0)
    assert.match(await refusal(anonymous, 1), /allows 127\.0\.0\.1 1 pulls/)
    const auth = Buffer.from('ann:kept-to-herself').toString('base64')
    const file = join(await mkdtemp(join(tmpdir(), 'nabo-quota-')), 'config.json')
    await writeFile(file, JSON.stringify({ auths: { 'https://index.docker.io/v1/': { auth } } }))
    const ann = await start([hub], ['--credentials-file', file])
    await pull(ann, 2)
    await pull(ann, 3)
    const message = await refusal(ann, 4)
    assert.match(message, /allows ann 2 pulls/)
    const mine = (await quotas(ann)).filter(({ source }) => source !== HUB_ADDRESS)
    assert.deepEqual(
      mine.map(({ source, remaining }) => [source, remaining]),
      [['ann', 0]],
    )
    assert.ok(!JSON.stringify([...ann.lines, ...anonymous.lines]).includes('kept-to-herself'))
    await rm(dirname(file), { recursive: true })
  })

  it('begin anew when the window is over', async () => {
    const hub = await startHub({ quota: { anonymous: 1, windowSeconds: 2 } })
    const node = await start([hub])
    await pull(node, 0)
    assert.match(await refusal(node, 1), /in 2 s and 0 remain/)
    await hub.reset()
    await eventually('it is asked again', async () => (await ask(node, 1, 'digest')).status === 200)
  })

  it('never pass 429 or 408 on', async () => {
    const hub = await startHub({ quota: { anonymous: 1 } })
    const node = await start([hub])
    const layer = imageAt(3).layers[0]?.descriptor.digest ?? assert.fail()
    const paths = [
      'library/app2/manifests/1',
      `library/app2/manifests/${imageAt(2).root.descriptor.digest}`,
      `library/app3/blobs/${layer}`,
      'library/app4/tags/list',
      `library/app4/referrers/${imageAt(4).root.descriptor.digest}`,
    ]
    const text = 'Too Many Requests'
    for (const fault of [
      { limited: 'quota' },
      { limited: 'abuse' },
      { limited: undefined, registry: { status: 429, text } },
      { registry: { status: 408, text } },
      { registry: {}, auth: { status: 429, text } },
      { auth: {}, cdn: { status: 429, text } },
      { cdn: { status: 408, text } },
    ] as const) {
      await hub.revokeTokens()
      await hub.setFaults(fault)
      for (const path of paths) {
        for (const method of ['GET', 'HEAD']) {
          const response = await fetch(`${node.mirror}/v2/${path}`, { method, headers: { accept } })
          await response.arrayBuffer()
          assert.ok([200, 404, 503].includes(response.status), `${method} ${path}: ${response.status}`)
        }
      }
    }
  })
})
