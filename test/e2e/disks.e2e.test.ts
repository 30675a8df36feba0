import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { digestOf } from '../../src/oci/digest.ts'
import { makeImage } from '../support/image-maker.ts'
import type { NaboProcess } from '../support/nabo-process.ts'
import { clusterUnavailable } from '../support/netns-cluster.ts'
import { runSync } from '../support/netns/commands.ts'
import { eventually } from '../support/poll.ts'
import { Fleet } from './fleet.ts'

const NABO = fileURLToPath(new URL('../../bin/nabo', import.meta.url))
const skip = (await clusterUnavailable()) ?? false
const DIRECTORY = ['--store', 'directory', '--bootstrap', 'none']
const image = makeImage({ layers: [{ size: 9_000_000, seed: 'large' }, ...small(4)] })

describe('a node without containerd', { skip }, () => {
  it('gives every layer whole when the disk of its cache is full', async () => {
    await using fleet = await Fleet.start({
      nodes: 1,
      containerd: false,
      flags: ({ directory }) => [...DIRECTORY, '--cache-dir', mountDisk(join(directory, 'full'), 'size=3m')],
    })
    await fleet.cluster.hub.publish('app', '1', image)
    for (let round = 0; round < 2; round++) {
      for (const { descriptor } of image.layers) {
        const { status, body } = await askLayer(fleet, descriptor.digest)
        assert.equal(status, 200)
        assert.equal(digestOf(body), descriptor.digest)
      }
    }
    assert.equal((await fleet.nabo(0).adminGet('/readyz')).status, 200)
    const said = fleet.nabo(0).logs.filter((line) => line.includes('"level":"warn"'))
    const ofDisk = said.filter((line) => /the disk of the cache is full/.test(line))
    assert.equal(ofDisk.length, 1, said.join('\n'))
    assert.deepEqual(
      said.filter((line) => /suspect|did not get into|not kept in/.test(line)),
      [],
    )
    const doctor = await fleet
      .node(0)
      .exec(NABO, [
        ...['doctor', '--json', ...DIRECTORY, '--cache-dir', join(fleet.cluster.directory, 'full')],
        ...['--upstream', `docker.io=${fleet.cluster.hubUrl}`, '--advertise-addr', fleet.node(0).ip],
      ])
    assert.match(doctor.stdout, /the cache may take 20\.0 GiB \(--cache-size\), but 0 MiB of 3 MiB are free/)
  })

  it('says in one sentence that it may not write, or that another one has its directory', async () => {
    await using fleet = await Fleet.start({ nodes: 2, bare: 1, containerd: false, flags: DIRECTORY })
    const readOnly = mountDisk(join(fleet.cluster.directory, 'read-only'), 'ro')
    const taken = join(fleet.node(0).directory, 'cache')
    const cases = [
      { flags: ['--cache-dir', readOnly], sentence: /^nabo: .*read-only.*$/ },
      { flags: ['--data-dir', readOnly], sentence: /^nabo: .*read-only.*$/ },
      { flags: ['--cache-dir', taken], sentence: /^nabo: .*held by process \d+: two Nabos cannot share a directory$/ },
    ]
    for (const { flags, sentence } of cases) {
      const nabo = fleet.node(1).startNabo([...DIRECTORY, ...flags])
      const { code } = await ended(nabo)
      assert.equal(code, 1, nabo.logs.join('\n'))
      const words = nabo.logs.filter((line) => !line.startsWith('{'))
      assert.equal(words.length, 1, words.join('\n'))
      assert.match(words[0] ?? '', sentence)
    }
  })
})

/** A disk of its own in memory; the cluster takes it down with its directory. */
function mountDisk(directory: string, options: string): string {
  mkdirSync(directory)
  runSync('mount', '-t', 'tmpfs', '-o', options, 'nabo-test', directory)
  return directory
}

function askLayer(fleet: Fleet, digest: string): Promise<{ status: number; body: Uint8Array }> {
  return fleet.node(0).fetch(`http://127.0.0.1:7950/v2/library/app/blobs/${digest}?ns=docker.io`)
}

function ended(nabo: NaboProcess) {
  return eventually('it ends', () => nabo.exit)
}

function small(count: number) {
  return Array.from({ length: count }, (_, i) => ({ size: 900_000, seed: `small ${i}` }))
}
