import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import { type Hub, PUBLIC_MIRROR } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'

const PUBLIC = { host: '127.0.0.2' }

describe('a daemon and its upstreams', () => {
  let hub: Hub
  let mirror: Hub
  let image: Image
  let daemons: TestDaemon[] = []

  before(async () => {
    image = makeImage({ layers: [{ size: 3_000_000, seed: 'upstreams' }] })
    hub = await createHub()
    mirror = await createHub({ ...PUBLIC_MIRROR, registry: PUBLIC })
    for (const one of [hub, mirror]) await one.publish('app', '1', image)
    await hub.publish('app', '2', image)
  })
  after(async () => {
    await hub.close()
    await mirror.close()
  })
  beforeEach(async () => {
    await hub.reset()
    await mirror.reset()
  })
  afterEach(async () => {
    for (const daemon of daemons) await daemon.stop()
    daemons = []
  })

  const run = async (
    flags: readonly string[] = ['--upstream', `docker.io=${hub.registryUrl},${mirror.registryUrl}`],
  ) => {
    const daemon = await runDaemon(flags)
    daemons.push(daemon)
    return daemon
  }
  const pull = async ({ mirror: url }: TestDaemon, ns = 'docker.io') => {
    const accept = { accept: image.root.descriptor.mediaType }
    const manifest = await fetch(`${url}/v2/library/app/manifests/1?ns=${ns}`, { headers: accept })
    assert.equal(manifest.status, 200, await manifest.clone().text())
    assert.equal(digestOf(Buffer.from(await manifest.arrayBuffer())), image.root.descriptor.digest)
    for (const { descriptor } of image.layers) {
      const blob = await fetch(`${url}/v2/library/app/blobs/${descriptor.digest}?ns=${ns}`)
      assert.equal(blob.status, 200, await (blob.ok ? '' : blob.text()))
      assert.equal(digestOf(Buffer.from(await blob.arrayBuffer())), descriptor.digest)
    }
  }
  it('is told at once that an upstream has another blob than its manifest names, by its size', async () => {
    const daemon = await run()
    const { digest, size } = image.layers[0]?.descriptor ?? assert.fail()
    const manifest = await fetch(`${daemon.mirror}/v2/library/app/manifests/${image.manifest.descriptor.digest}`)
    assert.equal(manifest.status, 200)
    await manifest.arrayBuffer()
    for (const one of [hub, mirror]) await one.setFaults(everywhere({ longBy: 1000 }))
    const blob = await fetch(`${daemon.mirror}/v2/library/app/blobs/${digest}`)
    assert.equal(blob.status, 404)
    assert.match(await blob.text(), new RegExp(`says ${size + 1000} bytes where others said ${size}`))
  })

  const breaker = async ({ admin }: TestDaemon) => {
    const text = await (await fetch(`${admin}/metrics`)).text()
    const address = new URL(hub.registryUrl).host
    return Number(new RegExp(`nabo_upstream_breaker{registry="docker.io",address="${address}"} (\\d)`).exec(text)?.[1])
  }

  it('pulls from a mirror while the registry is down, limited, ill or silent, and from the registry again after that', async () => {
    for (const fault of [
      { registry: { down: true } },
      { registry: { status: 503 } },
      { registry: { hang: true } },
      { limited: 'abuse' },
      { limited: 'quota' },
      { auth: { down: true } },
    ] as const) {
      await hub.setFaults(fault)
      await pull(await run())
      await hub.reset()
    }
    const { redirects } = await mirror.counters()
    assert.equal(redirects, 0)
    assert.ok((await mirror.transfers()).length >= 5)
  })

  it('shows which address it leaves alone, and says so once', async () => {
    const daemon = await run()
    await hub.setFaults({ registry: { status: 502, text: '<html>' } })
    for (let count = 0; count < 8; count += 1) {
      await fetch(`${daemon.mirror}/v2/library/none/manifests/1`).then((response) => response.arrayBuffer())
    }
    assert.equal(await breaker(daemon), 2)
    await hub.reset()
    await eventually('the registry is back', async () => {
      await fetch(`${daemon.mirror}/v2/library/app/manifests/1`).then((response) => response.arrayBuffer())
      return (await breaker(daemon)) === 0
    })
    const said = daemon.lines.filter(({ msg }) => String(msg).startsWith('an address of a registry'))
    assert.deepEqual(
      said.map(({ level, registry, address }) => [level, registry, address]),
      [40, 30].map((level) => [level, 'docker.io', new URL(hub.registryUrl).host]),
    )
  })

  it('gets a blob whole whatever its CDN does in the middle', async () => {
    for (const fault of [
      { linkBytes: 1_000_000 },
      { cut: { afterBytes: 700_000, times: 2 } },
      { cut: { afterBytes: 700_000, times: 1, reset: true } },
      { range: 'ignored', cut: { afterBytes: 700_000, times: 1 } },
      { expiredSignatures: 1, cut: { afterBytes: 700_000, times: 1 } },
      { cdn: { dropHeaders: ['content-length'], method: 'GET' } },
    ] as const) {
      await hub.setFaults(fault)
      await pull(await run(['--upstream', `docker.io=${hub.registryUrl}`]))
      await hub.reset()
    }
  })

  it('gets a blob whole from another address when the first one always breaks off', async () => {
    for (const cut of [
      { afterBytes: 0 },
      { afterBytes: 1000, reset: true },
      { afterBytes: 0, silent: true },
    ] as const) {
      await hub.setFaults({ cut })
      const flags = ['--upstream', `docker.io=${hub.registryUrl},${mirror.registryUrl}`, '--upstream-timeout', '1s']
      await pull(await run(flags))
      await hub.reset()
    }
  })

  it('takes no blob whose size is not the one that its manifest says', async () => {
    const { digest } = image.layers[0]?.descriptor ?? assert.fail()
    await hub.setFaults({ cdn: { longBy: 1000 } })
    await pull(await run())
    const alone = await run(['--upstream', `docker.io=${hub.registryUrl}`])
    const manifest = await fetch(`${alone.mirror}/v2/library/app/manifests/${image.root.descriptor.digest}`)
    assert.equal(manifest.status, 200, await manifest.text())
    const blob = await fetch(`${alone.mirror}/v2/library/app/blobs/${digest}`)
    assert.equal(blob.status, 404)
    assert.match(await blob.text(), /no node has it, and docker\.io says \d+ bytes where others said \d+/)
  })

  it('fetches from any registry that it is told to, and from no other', async () => {
    const { host } = new URL(hub.registryUrl)
    const daemon = await run(['--fallback', host, '--upstream', `${host}=${hub.registryUrl}`])
    await pull(daemon, host)
    const other = await fetch(`${daemon.mirror}/v2/library/app/manifests/${digestOf(Buffer.from('other'))}?ns=quay.io`)
    assert.equal(other.status, 404)
    assert.match(await other.text(), /quay\.io/)
    const list = await fetch(`${daemon.mirror}/v2/library/app/tags/list?ns=quay.io`)
    assert.equal(list.status, 404)
    await list.arrayBuffer()
  })

  it('lists page by page, and says what a registry has filtered', async () => {
    const daemon = await run()
    const tags: string[] = []
    for (let next: string | undefined = '/v2/library/app/tags/list?n=1&ns=docker.io'; next !== undefined;) {
      const page: Response = await fetch(`${daemon.mirror}${next}`)
      tags.push(...((await page.json()) as { tags: string[] }).tags)
      next = /^<([^>]*)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1]
    }
    assert.deepEqual(tags, ['1', '2'])
    const base = `${daemon.mirror}/v2/library/app/referrers/${image.root.descriptor.digest}`
    for (const [query, filters] of [
      ['', null],
      ['?artifactType=application/vnd.example', 'artifactType'],
    ] as const) {
      const referrers = await fetch(base + query)
      assert.equal(referrers.status, 200)
      assert.equal(referrers.headers.get('oci-filters-applied'), filters)
      assert.deepEqual(((await referrers.json()) as { manifests: unknown[] }).manifests, [])
    }
    // What a mirror happens to have is no list.
    await hub.setFaults({ registry: { status: 503 } })
    const list = await fetch(`${daemon.mirror}/v2/library/app/tags/list`)
    assert.equal(list.status, 404)
    await list.arrayBuffer()
  })
})
