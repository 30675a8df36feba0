import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, afterEach, describe, it } from 'node:test'

import { digestOf } from '../../../src/oci/digest.ts'
import { type TestDaemon, runDaemon } from '../../support/daemon.ts'
import { createHub } from '../../support/hub/create-hub.ts'
import type { Hub } from '../../support/hub/hub.ts'
import { makeImage } from '../../support/image-maker.ts'
import { eventually } from '../../support/poll.ts'

describe('a blob that is asked for under two names at a time', () => {
  const image = makeImage({ layers: [{ size: 400_000, seed: 'names' }] })
  const digest = image.layers[0]?.descriptor.digest ?? assert.fail()
  let hub: Hub
  let directory: string
  let nabo: TestDaemon

  before(async () => {
    hub = await createHub({
      users: [{ name: 'ann', password: 'secret', mayPull: ['org/hidden'] }],
      privateRepositories: ['org/hidden'],
    })
    await hub.publish('org/hidden', '1', image)
    await hub.publish('library/app', '1', makeImage({ layers: [{ size: 10, seed: 'app' }] }))
    await hub.publish('library/same', '1', image)
    directory = await mkdtemp(join(tmpdir(), 'nabo-names-'))
    await writeFile(
      join(directory, 'config.json'),
      '{"auths":{"docker.io/org":{"username":"ann","password":"secret"}}}',
    )
  })
  after(async () => {
    await hub.close()
    await rm(directory, { recursive: true, force: true })
  })
  beforeEach(async () => {
    await hub.reset()
    nabo = await runDaemon([
      '--upstream',
      `docker.io=${hub.registryUrl}`,
      '--credentials-file',
      join(directory, 'config.json'),
    ])
  })
  afterEach(() => nabo.stop())

  const ask = (name: string) => fetch(`${nabo.mirror}/v2/${name}/blobs/${digest}`)
  const isWhole = async (response: Response) => digestOf(new Uint8Array(await response.arrayBuffer())) === digest

  it('comes only under those that have it', async () => {
    await hub.setFaults({ cdn: { bytesPerSecond: 400_000 } })
    const hidden = await ask('org/hidden')
    const stranger = await ask('library/app')
    assert.equal(stranger.status, 404)
    await stranger.arrayBuffer()
    const same = await ask('library/same')
    assert.equal(same.status, 200)
    await hub.setFaults({ cdn: {} })
    assert.ok(await isWhole(hidden))
    assert.ok(await isWhole(same))
    assert.equal((await hub.counters()).blobGets, 1)
    await eventually('it is in the cache', async () => (await nabo.status()).blobs === 1)
    assert.equal((await ask('library/app')).status, 404)
  })

  it('is not refused under one because the other was', async () => {
    await hub.setFaults({ registry: { latencyMs: 30 } })
    const [stranger, same] = await Promise.all([ask('library/app'), ask('library/same')])
    assert.equal(stranger.status, 404)
    assert.ok(await isWhole(same))
  })
})
