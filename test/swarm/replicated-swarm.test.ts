import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import type { SharedTag } from '../../src/swarm/swarm.ts'
import { nameItem } from '../../src/swarm/swarm-item.ts'
import { eventually } from '../support/poll.ts'
import { blobNamed, Pull, SwarmNetwork, type SwarmNode, tagNamed } from '../support/swarm-network.ts'

const item = blobNamed('layer')
const value: SharedTag = {
  descriptor: { mediaType: 'application/vnd.oci.image.index.v1+json', digest: digestOf(Buffer.from('x')), size: 7 },
  date: Date.UTC(2026, 0, 1),
  anonymous: true,
}

async function allPull(nodes: readonly SwarmNode[], what = item): Promise<Pull[]> {
  return await Promise.all(nodes.map((node) => Pull.begin(node, what)))
}

function ofType(pulls: readonly Pull[], type: Pull['type']): Pull[] {
  return pulls.filter((pull) => pull.type === type)
}

function only(pulls: readonly Pull[], type: Pull['type']): Pull {
  const found = ofType(pulls, type)
  assert.equal(found.length, 1, `one of ${pulls.map((pull) => pull.type).join(' ')}`)
  return found[0] ?? assert.fail()
}

describe('a swarm', () => {
  it('sends one of those that ask at once upstream, and the others to it and to each other', async () => {
    await using network = new SwarmNetwork()
    const nodes = await network.addMany(12)
    const pulls = await allPull(nodes)
    only(pulls, 'upstream')
    const ids = new Set(nodes.map((node) => node.id))
    for (const pull of ofType(pulls, 'follow')) {
      assert.ok(pull.sources.every((id) => ids.has(id) && id !== pull.node.id))
    }
    assert.equal(ofType(pulls, 'follow').length, 11)
    assert.equal(
      network.sum((stats) => stats.leasesGranted),
      1,
    )
  })

  it('of one node sends it upstream', async () => {
    await using network = new SwarmNetwork()
    assert.equal((await Pull.begin(await network.add(), item)).type, 'upstream')
    assert.equal(network.sent.length, 0)
  })

  it('sends nobody upstream while somebody holds it', async () => {
    await using network = new SwarmNetwork()
    const [holder, ...nodes] = await network.addMany(6)
    network.holders.set(nameItem(item).key, [holder!.overlay.self])
    const pulls = await allPull(nodes)
    assert.equal(ofType(pulls, 'follow').length, 5)
    assert.ok(pulls.some((pull) => pull.sources.includes(holder!.id)))
  })

  it('goes upstream, and says so, when the holder does not hold it', async () => {
    await using network = new SwarmNetwork()
    const [holder, node] = await network.addMany(4)
    network.holders.set(nameItem(item).key, [holder!.overlay.self])
    const pull = await Pull.begin(node!, item)
    assert.deepEqual(pull.sources, [holder!.id])
    await pull.ask({ left: [{ id: holder!.id, reason: 'absent' }] })
    assert.equal(pull.type, 'upstream')
    assert.ok(network.disproved.includes(holder!.id))
  })

  it('hands the lease of a pull that was cancelled to a follower', async () => {
    await using network = new SwarmNetwork()
    const pulls = await allPull(await network.addMany(6))
    const leader = only(pulls, 'upstream')
    leader.membership.leave({ type: 'cancelled' })
    const followers = ofType(pulls, 'follow')
    await eventually('the coordinator knows', () => network.sum((stats) => stats.leases) === 0)
    await Promise.all(
      followers.map((pull) => pull.ask({ position: 1_000, left: [{ id: leader.node.id, reason: 'broken' }] })),
    )
    only(followers, 'upstream')
  })

  it('does not take the lease of a pull for that of the cancelled one before it', async () => {
    await using network = new SwarmNetwork({ reportDelay: 100, reportInterval: 60_000 })
    await network.addMany(5)
    const { coordinator, others } = await coordinatorOf(network)
    const first = await Pull.begin(others[0]!, item)
    first.membership.leave({ type: 'cancelled' })
    const second = await Pull.begin(others[0]!, item)
    assert.equal(second.type, 'upstream')
    const told = () => network.sent.filter((sent) => sent.kind === 'report' && sent.to === coordinator.id).length
    await eventually('both are told', () => told() >= 2)
    assert.equal(coordinator.swarm.stats().leases, 1)
    assert.equal((await Pull.begin(others[1]!, item)).type, 'follow')
  })

  it('makes who is complete a source', async () => {
    await using network = new SwarmNetwork()
    const nodes = await network.addMany(6)
    const leader = await Pull.begin(nodes[0]!, item)
    leader.membership.leave({ type: 'complete' })
    await eventually('the coordinator knows', () => network.sum((stats) => stats.leases) === 0)
    const follower = await Pull.begin(nodes[1]!, item)
    assert.deepEqual(follower.direction, {
      type: 'follow',
      sources: [{ peer: nodes[0]!.overlay.self, complete: true, level: 0 }],
    })
  })

  it('tells all what a tag names as soon as one knows', async () => {
    await using network = new SwarmNetwork()
    const nodes = await network.addMany(8)
    const tag = tagNamed('latest')
    const asked = nodes.map((node) => new Pull(node, tag))
    const answers = asked.map((pull) => pull.ask({ size: undefined, serves: false }))
    const leader = await eventually('one goes upstream', () => asked.find((pull) => pull.type === 'upstream'), {
      everyMs: 5,
    })
    leader.membership.leave({ type: 'resolved', value })
    await Promise.all(answers)
    assert.equal(ofType(asked, 'known').length, 7)
    for (const pull of ofType(asked, 'known')) assert.deepEqual(pull.direction, { type: 'known', value })
    const late = await Pull.begin(nodes[3]!, tag)
    assert.equal(late.type, 'known')
  })

  it('tells all that the upstream refused', async () => {
    await using network = new SwarmNetwork()
    const nodes = await network.addMany(6)
    const leader = await Pull.begin(nodes[0]!, item)
    const failure = { absent: false, message: 'docker.io answered 429' }
    leader.membership.leave({ type: 'failed', failure })
    await eventually('the coordinator knows', () => network.sum((stats) => stats.leases) === 0)
    for (const pull of await allPull(nodes.slice(1)))
      assert.deepEqual(pull.direction, { type: 'failed', failure, isOwn: false })
    assert.deepEqual((await Pull.begin(nodes[0]!, item)).direction, { type: 'failed', failure, isOwn: true })
  })

  it('hands out nobody whose bytes are suspect', async () => {
    await using network = new SwarmNetwork()
    const [holder, ...nodes] = await network.addMany(5)
    network.holders.set(nameItem(item).key, [holder!.overlay.self])
    const pull = await Pull.begin(nodes[0]!, item)
    pull.membership.leave({ type: 'suspect', senders: [holder!.id] })
    const { coordinator } = await coordinatorOf(network)
    await eventually('the coordinator knows', () => coordinator.swarm.stats().members === 1)
    assert.equal((await Pull.begin(nodes[1]!, item)).type, 'upstream')
  })

  it('answers with what is the case even if a question is asked twice', async () => {
    await using network = new SwarmNetwork()
    const nodes = await network.addMany(5)
    const leader = await Pull.begin(nodes[0]!, item)
    assert.equal(await leader.ask({ position: 5 }).then((direction) => direction.type), 'upstream')
    assert.equal(
      network.sum((stats) => stats.leasesGranted),
      1,
    )
  })

  it('answers who waits for ever with alone', async () => {
    await using network = new SwarmNetwork({ patience: 300, hold: 100 })
    const nodes = await network.addMany(4)
    const tag = tagNamed('slow')
    await Pull.begin(nodes[0]!, tag, { serves: false })
    assert.equal((await Pull.begin(nodes[1]!, tag, { serves: false })).type, 'alone')
  })

  it('leaves nothing of a node that is gone in any table', async () => {
    await using network = new SwarmNetwork()
    const [first, ...nodes] = await network.addMany(6)
    for (const n of [1, 2, 3, 4, 5]) await Pull.begin(first!, blobNamed(`layer-${n}`))
    await eventually('all is known', () => network.sum((stats) => stats.members) >= 5)
    await network.kill(first!)
    await eventually('all is forgotten', () =>
      nodes.every((node) => node.swarm.stats().members === 0 && node.swarm.stats().items === 0),
    )
  })

  it('is told by a node that stops that its transfers are over', async () => {
    await using network = new SwarmNetwork({ reportInterval: 60_000 })
    const nodes = await network.addMany(6)
    const { coordinator, others } = await coordinatorOf(network)
    await Pull.begin(others[0]!, item)
    assert.equal(coordinator.swarm.stats().leases, 1)
    await others[0]!.swarm.stop({ signal: AbortSignal.timeout(5_000) })
    for (const node of nodes) assert.equal(node.swarm.stats().leases, 0)
    assert.equal((await Pull.begin(others[1]!, item)).type, 'upstream')
  })

  it('leaves no question open and says nothing more when it has stopped', async () => {
    await using network = new SwarmNetwork()
    const nodes = await network.addMany(4)
    const tag = tagNamed('waiting')
    await Pull.begin(nodes[0]!, tag, { serves: false })
    const waiting = nodes.slice(1).map((node) => Pull.begin(node, tag, { serves: false }))
    await eventually('the questions are on their way', () => network.sum((stats) => stats.questions) === 4)
    await Promise.all(nodes.map((node) => node.swarm.stop({ signal: AbortSignal.timeout(5_000) })))
    for (const pull of await Promise.all(waiting)) assert.equal(pull.type, 'alone')
    const { length } = network.sent
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.equal(network.sent.length, length)
    assert.equal(
      network.sum((stats) => stats.participations),
      0,
    )
    assert.equal((await Pull.begin(nodes[0]!, item)).type, 'alone')
  })

  it('rejects a question with its signal, and takes back what it would have been given', async () => {
    await using network = new SwarmNetwork()
    const nodes = await network.addMany(4)
    const tag = tagNamed('waiting')
    await Pull.begin(nodes[0]!, tag, { serves: false })
    const membership = nodes[1]!.swarm.enter(tag)
    const controller = new AbortController()
    const question = { position: 0, size: undefined, serves: false, left: [] }
    const asked = membership.ask(question, { signal: controller.signal })
    controller.abort(new Error('the client went'))
    await assert.rejects(asked, /the client went/)
    membership.leave({ type: 'cancelled' })
    assert.equal(nodes[1]!.swarm.stats().participations, 0)
  })
})

describe('two transfers of the same thing on one node', () => {
  it('are one member, as far as the one that is behind', async () => {
    await using network = new SwarmNetwork({ reportInterval: 20 })
    const nodes = await network.addMany(5)
    const { others } = await coordinatorOf(network)
    const node = others[0]!
    const first = await Pull.begin(node, item)
    first.membership.progress(5_000)
    const second = await Pull.begin(node, item, { position: 3_000 })
    const reported = () =>
      network.sent.flatMap((sent) => (sent.kind === 'report' && sent.from === node.id ? sent.request.entries : []))
    await eventually('the smaller one is told', () => reported().at(-1)?.position === 3_000)
    second.membership.leave({ type: 'cancelled' })
    await eventually('the other one goes on', () => reported().at(-1)?.position === 5_000)
    assert.ok(reported().every((entry) => entry.outcome === undefined))
    first.membership.leave({ type: 'complete' })
    await eventually('the end is told', () => reported().at(-1)?.outcome?.type === 'complete')
    assert.equal(nodes.find(({ id }) => id === node.id)?.swarm.stats().participations, 0)
  })

  it('can be followed when one of them can', async () => {
    await using network = new SwarmNetwork({ reportInterval: 60_000, reportDelay: 60_000 })
    await network.addMany(5)
    const { others } = await coordinatorOf(network)
    assert.equal((await Pull.begin(others[0]!, item)).type, 'upstream')
    await Pull.begin(others[0]!, item, { serves: false, position: 5_000 })
    const follower = await Pull.begin(others[1]!, item)
    assert.deepEqual(follower.sources, [others[0]!.id])
  })

  it('give the lease back when the one that has it ends first', async () => {
    await using network = new SwarmNetwork()
    await network.addMany(6)
    const { others } = await coordinatorOf(network)
    const leader = await Pull.begin(others[0]!, item)
    const follower = await Pull.begin(others[1]!, item)
    assert.equal(follower.type, 'follow')
    const second = await Pull.begin(others[0]!, item)
    leader.membership.leave({ type: 'cancelled' })
    if (second.type === 'upstream') second.membership.leave({ type: 'cancelled' })
    await eventually('the coordinator knows', () => network.sum((stats) => stats.leases) === 0)
    await follower.ask({ left: [{ id: others[0]!.id, reason: 'broken' }] })
    assert.equal(follower.type, 'upstream')
  })
})

async function coordinatorOf(network: SwarmNetwork): Promise<{ coordinator: SwarmNode; others: SwarmNode[] }> {
  const [coordinator, ...others] = await network.ranked(item)
  return { coordinator: coordinator ?? assert.fail(), others }
}
