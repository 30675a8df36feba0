import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { describe, it } from 'node:test'

import { coreTimeBetween, coreTimeNow, parseCoreTime, shareOf } from '../../bench/compare/measure/busy.ts'
import { fileSystemIn, fileSystemOf } from '../../bench/compare/measure/file-system.ts'
import { insideBytes } from '../../bench/compare/measure/links.ts'
import { describeMachine } from '../../bench/compare/measure/machine.ts'
import { allTransfers } from '../../bench/compare/measure/transfers.ts'
import type { Transfer } from '../../bench/compare/results.ts'

describe('what the registry saw', () => {
  const transfer = (change: Partial<Transfer> = {}): Transfer => {
    return { at: 1, seconds: 1, node: 'node-0', digest: 'sha256:a', source: 'upstream', bytes: 10, ...change }
  }

  it('is kept where a contender claims other transfers only', () => {
    const own = transfer()
    const others = [
      transfer({ node: 'node-1' }),
      transfer({ digest: 'sha256:b' }),
      // containerd's own request, after the mirror gave up.
      transfer({ at: 2.05 }),
      transfer({ at: 0.5, seconds: 0.4 }),
    ]
    const times = allTransfers([own], others).map(({ at, node, digest }) => [at, node, digest])
    assert.deepEqual(times, [
      [0.5, 'node-0', 'sha256:a'],
      [1, 'node-0', 'sha256:a'],
      [1, 'node-1', 'sha256:a'],
      [1, 'node-0', 'sha256:b'],
      [2.05, 'node-0', 'sha256:a'],
    ])
  })

  it('is not there twice where a contender says the same, in one piece or in several', () => {
    const own = transfer()
    assert.deepEqual(allTransfers([own], [transfer({ at: 1.1, seconds: 0.2 }), transfer({ at: 1.5, seconds: 0.4 })]), [
      own,
    ])
  })

  it('is kept beside what came from a peer or a cache', () => {
    const own = [transfer({ source: 'peer', from: 'node-1' }), transfer({ source: 'mirror', from: 'cache' })]
    assert.equal(allTransfers(own, [transfer()]).length, 3)
  })
})

describe('how busy the cores were', () => {
  const stat = (line: string) => parseCoreTime(`${line}\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 5\n`)

  it('is all but idling and waiting for disks', () => {
    const from = stat('cpu  100 0 100 800 100 0 0 0 0 0')
    const to = stat('cpu  150 0 120 820 105 1 2 2 40 0')
    assert.deepEqual(coreTimeBetween(from, to), { busy: 75, total: 100 })
    assert.equal(shareOf(coreTimeBetween(from, to)), 0.75)
  })

  it('is not said of no time, and read from this machine', () => {
    assert.equal(shareOf({ busy: 0, total: 0 }), undefined)
    const { busy, total } = coreTimeNow()
    assert.ok(busy > 0 && total >= busy)
  })
})

describe('the file system of a folder', () => {
  const mounts = [
    '21 1 254:0 / / rw,relatime - ext4 /dev/vda rw',
    '22 21 0:21 / /tmp rw shared:1 master:2 - tmpfs tmpfs rw',
    '23 21 254:1 / /var/my\\040data rw - xfs /dev/mapper/a b',
    '24 21 254:2 / /twice rw - ext4 /dev/vdb rw',
    '25 21 0:30 / /twice rw - overlay overlay rw,lowerdir=/a',
    '',
  ].join('\n')

  it('is that of the deepest mount above it, the latest of several on one point', () => {
    const found = ['/', '/home/me', '/tmp', '/tmp/a', '/tmpx', '/var/my data/x', '/twice/x'].map((path) =>
      fileSystemIn(mounts, path),
    )
    const root = 'ext4 on /dev/vda'
    assert.deepEqual(found, [root, root, 'tmpfs', 'tmpfs', root, 'xfs on /dev/mapper/a', 'overlay'])
    assert.equal(fileSystemIn('', '/tmp'), undefined)
  })

  it('is not known of a folder that is not there', async () => {
    const folder = await mkdtemp(`${tmpdir()}/nabo-`)
    assert.match((await fileSystemOf(folder)) ?? '', /^\w+/)
    await rm(folder, { recursive: true })
    assert.equal(await fileSystemOf(folder), undefined)
  })

  it('stands in what is said of the machine, with the load', async () => {
    const { fileSystem, loadAtStart } = await describeMachine()
    assert.equal(typeof fileSystem, 'string')
    assert.equal(typeof loadAtStart, 'number')
  })
})

describe('bytes inside', () => {
  it('are what all sent without what the registry got', () => {
    const sent = new Map([
      ['node-0', 100],
      ['cache', 50],
    ])
    assert.equal(insideBytes({ sent, registryReceived: 30 }), 120)
  })
})
