import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { nameItem } from '../../src/swarm/swarm-item.ts'
import { eventually } from '../support/poll.ts'
import { blobNamed, IMPATIENT, Pull, SwarmNetwork, type SwarmFault, type SwarmNode } from '../support/swarm-network.ts'

const item = blobNamed('layer')

async function allPull(nodes: readonly SwarmNode[], what = item): Promise<Pull[]> {
  return await Promise.all(nodes.map((node) => Pull.begin(node, what)))
}

function ofType(pulls: readonly Pull[], ...types: Pull['type'][]): Pull[] {
  return pulls.filter((pull) => types.includes(pull.type))
}

/** Everybody who would ask the upstream. */
function upstream(pulls: readonly Pull[]): Pull[] {
  return ofType(pulls, 'upstream', 'alone')
}

/** Asks again whenever told to, as a delivery does, until only one goes upstream. */
async function oneRemains(pulls: readonly Pull[]): Promise<Pull> {
  const heeded = new Map(pulls.map((pull) => [pull, pull.recalls]))
  return await eventually('one lease remains', async () => {
    for (const pull of pulls) {
      if (pull.recalls === heeded.get(pull)) continue
      heeded.set(pull, pull.recalls)
      await pull.ask({ position: 1_000 })
    }
    const leaders = upstream(pulls)
    return leaders.length === 1 && leaders[0]
  })
}

/** What a node asked another one. */
function questions(network: SwarmNetwork, to: SwarmNode): number {
  return network.sent.filter((sent) => sent.kind === 'join' && sent.to === to.id).length
}

describe('a swarm whose coordinator', () => {
  for (const [what, fault, leases] of [
    ['is dead', 'refused', 1],
    ['is frozen', 'frozen', 1],
    ['answers garbage', 'garbage', 2],
    ['does what it is told and says nothing', 'unanswered', 2],
  ] as const satisfies [string, SwarmFault, number][]) {
    it(`${what} goes upstream once, or once more, and remembers it`, async () => {
      await using network = new SwarmNetwork(IMPATIENT)
      await network.addMany(8)
      const [bad, ...others] = await network.ranked(item)
      network.fault = (_, to) => (to === bad!.id ? fault : 'none')
      const pulls = await allPull(others)
      assert.ok(upstream(pulls).length >= 1, 'nobody goes upstream')
      assert.ok(upstream(pulls).length <= leases, pulls.map((pull) => pull.type).join(' '))
      let round = 0
      // On a busy machine a node may not have noticed at first.
      await eventually('nobody asks it any more', async () => {
        const before = questions(network, bad!)
        const later = await allPull(others, await network.itemOf(bad!, `round ${++round}`))
        assert.ok(upstream(later).length >= 1 && upstream(later).length <= leases)
        return questions(network, bad!) === before
      })
    })
  }

  it('is slow is asked all the same, and nobody stands in for it: one node goes upstream', async () => {
    await using network = new SwarmNetwork({ ...IMPATIENT, standInAfter: 5_000 })
    await network.addMany(8)
    const [slow, ...others] = await network.ranked(item)
    network.fault = (_, to) => (to === slow!.id ? 'slow' : 'none')
    for (let round = 0; round < 4; round++) {
      const pulls = await allPull(others, await network.itemOf(slow!, `round ${round}`))
      assert.equal(upstream(pulls).length, 1, pulls.map((pull) => pull.type).join(' '))
    }
  })

  it('stands in and was slow once is trusted again by those who noticed', async () => {
    await using network = new SwarmNetwork({ ...IMPATIENT, failureMemory: 600_000 })
    await network.addMany(8)
    const [dead, slow, ...others] = await network.ranked(item)
    let isSlow = true
    network.fault = (_, to) => (to === dead!.id ? 'refused' : to === slow!.id && isSlow ? 'slow' : 'none')
    await allPull(others)
    isSlow = false
    let round = 0
    await eventually('one node goes upstream, whoever is asked', async () => {
      const later = await allPull([slow!, ...others], await network.itemOf(dead!, `round ${++round}`))
      return upstream(later).length === 1
    })
  })

  it('names sources that do not exist is left to itself after some of them', async () => {
    await using network = new SwarmNetwork(IMPATIENT)
    await network.addMany(6)
    const [liar, asker] = await network.ranked(item)
    network.lie = (to) => {
      if (to !== liar!.id) return undefined
      const peer = { id: `nobody-${network.sent.length}`, address: '10.255.0.1:7951' }
      return { type: 'follow', sources: [{ peer, complete: true, level: 0 }] }
    }
    const pull = await Pull.begin(asker!, item)
    let questions = 1
    for (; pull.type === 'follow'; questions++) {
      await pull.ask({ left: pull.sources.map((id) => ({ id, reason: 'broken' })) })
    }
    assert.equal(pull.type, 'alone')
    assert.ok(questions <= 8, `${questions} questions`)
  })

  it('names silent sources for ever is left to itself after 30 s without a byte', async () => {
    let now = 0
    let position = 0
    await using network = new SwarmNetwork({ ...IMPATIENT, now: () => now })
    await network.addMany(6)
    const [liar, asker] = await network.ranked(item)
    network.lie = (to) => {
      if (to !== liar!.id) return undefined
      const peer = { id: `silent-${network.sent.length}`, address: '10.255.0.1:7951' }
      return { type: 'follow', sources: [{ peer, complete: true, level: 0 }] }
    }
    const pull = await Pull.begin(asker!, item)
    const askAfter = async (ms: number) => {
      now += ms
      await pull.ask({ left: pull.sources.map((id) => ({ id, reason: 'stalled' })), position })
      return pull.type
    }
    for (let n = 0; n < 5; n++) assert.equal(await askAfter(5_000), 'follow')
    position = 1
    pull.membership.progress(position)
    // Between its last byte and the next question it may have waited for its client.
    assert.equal(await askAfter(60_000), 'follow')
    for (let n = 0; n < 5; n++) assert.equal(await askAfter(5_000), 'follow')
    assert.equal(await askAfter(5_000), 'alone')
    assert.equal(await askAfter(5_000), 'alone')
  })

  it('answers reports but no questions is stood in for', async () => {
    await using network = new SwarmNetwork(IMPATIENT)
    await network.addMany(6)
    const [mute, ...others] = await network.ranked(item)
    // Each of the others reports to it all the time.
    for (const node of others) await Pull.begin(node, await network.itemOf(mute!, `long ${node.id}`))
    network.fault = (_, to, kind) => (to === mute!.id && kind === 'join' ? 'frozen' : 'none')
    let round = 0
    await eventually('somebody coordinates', async () => {
      const pulls = await allPull(others, await network.itemOf(mute!, `round ${++round}`))
      return pulls.every(({ type }) => type !== 'alone')
    })
    for (let more = 0; more < 3; more++) {
      const pulls = await allPull(others, await network.itemOf(mute!, `more ${more}`))
      assert.equal(upstream(pulls).length, 1)
    }
  })

  it('asks for patience and has none itself is not waited for twice', async () => {
    await using network = new SwarmNetwork({ ...IMPATIENT, shortPatience: 1 })
    await network.addMany(6)
    const [liar, asker] = await network.ranked(item)
    network.lie = (to) => (to === liar!.id ? { type: 'wait', ms: 100 } : undefined)
    assert.equal((await Pull.begin(asker!, item)).type, 'alone')
    const before = questions(network, liar!)
    assert.equal((await Pull.begin(asker!, await network.itemOf(liar!, 'second'))).type, 'alone')
    assert.ok(questions(network, liar!) - before <= 2)
  })

  it('is out of reach for one node only is asked by the next in rank', async () => {
    await using network = new SwarmNetwork(IMPATIENT)
    await network.addMany(6)
    const [head, , third, fourth] = await network.ranked(item)
    const leader = await Pull.begin(third!, item)
    assert.equal(leader.type, 'upstream')
    network.fault = (from, to) => (from === fourth!.id && to === head!.id ? 'refused' : 'none')
    assert.equal((await Pull.begin(fourth!, item)).type, 'follow')
    assert.equal(
      network.sum((stats) => stats.leasesGranted),
      1,
    )
  })

  it('does not believe one member is asked on behalf of the next one', async () => {
    await using network = new SwarmNetwork(IMPATIENT)
    await network.addMany(4)
    const [head, second, liar, honest] = await network.ranked(item)
    const forwarded = () => network.sent.filter(({ from, to }) => from === second!.id && to === head!.id).length
    const ask = ({ overlay }: SwarmNode) =>
      second!.swarm.handleJoin(
        {
          ...{ ...nameItem(item), type: 'join', position: 0, size: undefined, serves: true, left: [] },
          ...{ lease: undefined, upstreamRate: undefined, forwarded: false },
          member: { ...overlay.self, remoteAddress: '10.0.0.1', zone: undefined, sending: 0, capacity: 32 },
        },
        { signal: AbortSignal.timeout(5_000) },
      )
    network.fault = () => 'denied'
    await ask(liar!)
    assert.equal(forwarded(), 1)
    network.fault = () => 'none'
    await ask(honest!)
    assert.equal(forwarded(), 2)
  })

  it('dies while somebody goes upstream gives no second lease', async () => {
    await using network = new SwarmNetwork(IMPATIENT)
    await network.addMany(8)
    const [head, , , leading, ...others] = await network.ranked(item)
    const leader = await Pull.begin(leading!, item)
    assert.equal(leader.type, 'upstream')
    await eventually('the next in rank knows', () => network.sum((stats) => stats.leases) === 2)
    await network.kill(head!, { noticed: false })
    const pulls = await allPull(others)
    assert.equal(ofType(pulls, 'follow').length, others.length)
    assert.ok(pulls.some((pull) => pull.sources.includes(leading!.id)))
    head!.overlay.kill()
    for (const pull of pulls) await pull.ask({ position: 500 })
    assert.equal(upstream(pulls).length, 0)
    assert.equal(leader.recalls, 0)
  })

  it('died together with those that stand in for it makes nobody else go upstream', async () => {
    await using network = new SwarmNetwork({ ...IMPATIENT, grace: 1_000 })
    await network.addMany(12)
    const [first, second, third, leading, ...others] = await network.ranked(item)
    const leader = await Pull.begin(leading!, item)
    assert.equal(leader.type, 'upstream')
    for (const node of [first!, second!, third!]) await network.kill(node, { noticed: false })
    const unnoticed = await allPull(others.slice(0, 4))
    for (const node of [first!, second!, third!]) node.overlay.kill()
    const noticed = await allPull(others.slice(4))
    assert.ok(upstream([...unnoticed, ...noticed]).length <= 1)
    const last = await oneRemains([leader, ...unnoticed, ...noticed])
    assert.ok(last)
  })

  it('forgot everything learns of running leases before it gives one', async () => {
    await using network = new SwarmNetwork({ ...IMPATIENT, grace: 1_000 })
    await network.addMany(6)
    const [head, , , leading, other] = await network.ranked(item)
    const leader = await Pull.begin(leading!, item)
    assert.equal(leader.type, 'upstream')
    await network.kill(head!)
    const again = await network.add(head!.id)
    const late = await Pull.begin(other!, item)
    assert.deepEqual(late.sources, [leading!.id])
    await eventually('it was adopted', () => again.swarm.stats().leases === 1)
    assert.equal(leader.recalls, 0)
  })

  it('only joins while somebody goes upstream gives no second lease', async () => {
    await using network = new SwarmNetwork({ ...IMPATIENT, grace: 1_000 })
    const nodes = await network.addMany(4)
    const leader = await Pull.begin(nodes[0]!, item)
    assert.equal(leader.type, 'upstream')
    while ((await network.ranked(item))[0] === (await network.ranked(item)).find((node) => nodes.includes(node))) {
      await network.add()
    }
    const late = await Pull.begin(nodes[1]!, item)
    assert.deepEqual(late.sources, [nodes[0]!.id])
    assert.equal(leader.recalls, 0)
  })

  it('never comes is done without, and all that went alone follow one when it does', async () => {
    await using network = new SwarmNetwork({ ...IMPATIENT, silenceLimit: 300, failureMemory: 300 })
    await network.addMany(6)
    network.fault = () => 'frozen'
    const [, ...others] = await network.ranked(item)
    const pulls = await allPull(others)
    assert.ok(ofType(pulls, 'alone').length >= 2)
    network.fault = () => 'none'
    await oneRemains(pulls)
  })
})

describe('a swarm that is cut in two', () => {
  it('has two leases, and one of them when it is healed', async () => {
    await using network = new SwarmNetwork({ ...IMPATIENT, failureMemory: 500 })
    const nodes = await network.addMany(10)
    const side = nodes.slice(0, 5)
    network.partition(side)
    const pulls = await allPull(nodes)
    assert.equal(upstream(pulls).length, 2)
    network.heal()
    const last = await oneRemains(pulls)
    for (const pull of pulls) if (pull !== last) assert.notEqual(pull.type, 'alone')
    const late = await Pull.begin(await network.add(), item)
    assert.equal(late.type, 'follow')
  })
})
