import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type Contender, MirrorFailure } from '../../bench/compare/contenders/contender.ts'
import { noMirror } from '../../bench/compare/contenders/none.ts'
import { makeVersions } from '../../bench/compare/images.ts'
import { perform } from '../../bench/compare/rig/perform.ts'
import { SCENARIOS } from '../../bench/compare/scenarios/all.ts'
import { type Plan, parsePlan } from '../../bench/compare/settings.ts'
import { runSync } from '../support/netns/commands.ts'
import { clusterUnavailable } from '../support/netns-cluster.ts'

const skip = (await clusterUnavailable()) ?? false
const scenario = SCENARIOS.find(({ id }) => id === 'b')
const plan = parsePlan(['--nodes', '2', '--images', '1x4'])
const cast = { ...makeVersions({ megabytes: 1, layers: 4 }), others: [] }

async function play(start: Contender['start'], wish: Partial<Plan> = {}) {
  assert.ok(scenario !== undefined)
  const performance = { scenario, contender: { ...noMirror, start }, cast, repeat: 2 }
  const runs = await perform(performance, { ...plan, ...wish }, new AbortController().signal)
  assert.ok(!runSync('ip', 'netns', 'list').includes(`nabo-net-${process.pid}-`), 'a network is left behind')
  assert.deepEqual(
    runs.map(({ scenario, variant, repeat }) => `${scenario} ${variant} ${repeat}`),
    ['b 1 MB, 4 layers, first version 2', 'b 1 MB, 4 layers, update 2'],
  )
  return runs
}

describe('what breaks a run', { skip }, () => {
  it('is the rig, when the network cannot be made', async () => {
    for (const { failure, rigFailure, contentOk } of await play((site) => noMirror.start(site), {
      registryRate: 'nonsense',
    })) {
      assert.match(rigFailure ?? '', /nonsense/)
      assert.deepEqual([failure, contentOk], [undefined, undefined])
    }
  })

  it('is the contender, when it says so itself, and the rig otherwise', async () => {
    const [failed] = await play(() => Promise.reject(new MirrorFailure('not ready', ['I cannot'])))
    assert.deepEqual([failed?.failure, failed?.log, failed?.rigFailure], ['not ready', 'I cannot', undefined])
    const [broken] = await play(() => Promise.reject(new TypeError('a mistake here')))
    assert.deepEqual([broken?.failure, broken?.rigFailure], [undefined, 'a mistake here'])
  })
})
