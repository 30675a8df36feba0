import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parseImageReference } from '../../src/oci/reference.ts'
import { decodeMessage, encodeMessage } from '../../src/contracts/message.ts'
import { nodeCaller, type PostBody } from '../../src/contracts/node-caller.ts'
import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import type { Peer } from '../../src/overlay/overlay.ts'
import { PeerError } from '../../src/peers/peer-transport.ts'
import type { WarmStatus, WarmWish } from '../../src/warm/messages.ts'
import { type NodeProgress, Rollout, RolloutAbandoned, type RolloutOrder } from '../../src/warm/rollout.ts'
import { eventually } from '../support/poll.ts'

const reference = parseImageReference('docker.io/library/app:1') ?? assert.fail()
const peerOf = (n: number): Peer => ({ id: `node-${n}`, address: `10.0.0.${n}:7951` })

type Answer = (wish: WarmWish, nth: number) => WarmStatus | Promise<WarmStatus>

/** Nodes that answer as the test says. Number 0 is the one that coordinates. */
function clusterOf(answers: readonly Answer[], options: { secret?: boolean; patience?: number } = {}) {
  const wishes = answers.map((): WarmWish[] => [])
  const answer = async (n: number, wish: WarmWish): Promise<WarmStatus> => {
    const list = wishes[n] ?? assert.fail()
    list.push(wish)
    return answers[n]?.(wish, list.length) ?? assert.fail()
  }
  const peers = answers.map((_, n) => peerOf(n))
  const [self = assert.fail(), ...others] = peers
  const told: NodeProgress[] = []
  const { request: WISH, answer: STATUS } = NODE_PROTOCOL.warm
  const post: PostBody = async (peer, _path, body) => {
    const status = await answer(
      peers.findIndex(({ id }) => id === peer.id),
      decodeMessage(WISH, body),
    )
    return encodeMessage(STATUS, status)
  }
  const run = (order: Partial<RolloutOrder> = {}, signal = new AbortController().signal) =>
    new Rollout(
      { reference, ...order },
      {
        overlay: { self, peers: () => others },
        self: { handleWarm: (wish) => answer(0, wish) },
        nodes: options.secret === false ? undefined : nodeCaller(post),
        interval: 1,
        patience: options.patience ?? 200,
      },
    ).run((progress) => told.push(progress), { signal })
  const last = () => Object.fromEntries(told.map(({ node, state }) => [node, state]))
  return { run, told, wishes, last }
}

const done: Answer = () => ({ state: 'done' })
const inSteps: Answer = (_wish, nth) =>
  nth < 4 ? { state: 'pulling', bytes: nth * 10, total: 40 } : { state: 'done', bytes: 40, total: 40 }
const hangs: Answer = () => ({ state: 'pulling' })

describe('an image that is brought to many nodes', () => {
  it('is asked for at all of them, and each change is told once', async () => {
    const { run, told, last, wishes } = clusterOf([inSteps, done, inSteps])
    await run()
    assert.deepEqual(last(), { 'node-0': 'done', 'node-1': 'done', 'node-2': 'done' })
    const first = told.filter(({ node }) => node === 'node-0').map(({ state, bytes }) => [state, bytes])
    assert.deepEqual(first, [
      ['queued', undefined],
      ['pulling', 10],
      ['pulling', 20],
      ['pulling', 30],
      ['done', 40],
    ])
    assert.equal(new Set(wishes.flat().map(({ ticket }) => ticket)).size, 1)
  })

  it('may fail on one and not on the others', async () => {
    const { run, told, last } = clusterOf([
      done,
      () => ({ state: 'failed', message: 'disk full' }),
      () => ({ state: 'unsupported', message: 'too old' }),
      () => Promise.reject(new PeerError('refused', 'it answered 403')),
      () => Promise.reject(new PeerError('unreachable', 'it cannot be reached')),
      inSteps,
    ])
    await run()
    assert.deepEqual(last(), {
      'node-0': 'done',
      'node-1': 'failed',
      'node-2': 'unsupported',
      'node-3': 'unsupported',
      'node-4': 'unreachable',
      'node-5': 'done',
    })
    assert.equal(told.find(({ state }) => state === 'failed')?.message, 'disk full')
    assert.equal(told.find(({ state }) => state === 'unreachable')?.message, 'it cannot be reached')
  })

  it('gets on where a node was away for a moment, or had forgotten', async () => {
    const { run, last } = clusterOf(
      [
        done,
        (_wish, nth) => {
          if (nth < 4) throw new PeerError('unreachable', 'it starts again')
          return nth < 6 ? { state: 'queued' } : { state: 'done' }
        },
      ],
      { patience: 60_000 },
    )
    await run()
    assert.equal(last()['node-1'], 'done')
  })

  it('goes to the zones that are named: who is elsewhere is not spoken of', async () => {
    const elsewhere: Answer = ({ zones }) => ({ state: zones?.includes('east') === true ? 'elsewhere' : 'done' })
    const { run, last } = clusterOf([elsewhere, done])
    await run({ zones: ['east'] })
    assert.deepEqual(last(), { 'node-1': 'done' })
  })

  it('goes to the nodes that are named, by id, by address or as the one here', async () => {
    for (const [names, expected] of [
      [['self'], ['node-0']],
      [['node-1'], ['node-1']],
      [['10.0.0.2'], ['node-2']],
      [
        ['10.0.0.1:7951', 'self'],
        ['node-0', 'node-1'],
      ],
    ] as const) {
      const { run, last } = clusterOf([done, done, done])
      await run({ nodes: names })
      assert.deepEqual(Object.keys(last()), expected)
    }
    const { run, last } = clusterOf([done, done])
    await run({ nodes: ['self', '10.0.0.9'] })
    assert.deepEqual(last(), { '10.0.0.9': 'unreachable', 'node-0': 'done' })
  })

  it('goes to so many at a time as are allowed', async () => {
    let [running, most] = [0, 0]
    const answer: Answer = (_wish, nth) => {
      if (nth === 1) most = Math.max(most, (running += 1))
      if (nth === 3) running -= 1
      return { state: nth < 3 ? 'pulling' : 'done' }
    }
    const { run, last } = clusterOf([answer, answer, answer, answer, answer])
    await run({ parallel: 2 })
    assert.equal(most, 2)
    assert.equal(Object.values(last()).filter((state) => state === 'done').length, 5)
  })

  it('stays here without a cluster secret, and the others are named', async () => {
    const { run, told, last, wishes } = clusterOf([done, done], { secret: false })
    await run()
    assert.deepEqual(last(), { 'node-0': 'done', 'node-1': 'unsupported' })
    assert.match(told.find(({ state }) => state === 'unsupported')?.message ?? '', /cluster secret/)
    assert.equal(wishes[1]?.length, 0)
  })
})

describe('a rollout that is ended', () => {
  it('is taken back where it is under way, and only there', async () => {
    const { run, wishes, last } = clusterOf([done, hangs, hangs])
    const controller = new AbortController()
    const running = run({}, controller.signal)
    await eventually('all are asked', () => last()['node-0'] === 'done' && wishes.every((list) => list.length > 0))
    controller.abort(new Error('Ctrl-C'))
    await assert.rejects(running, /Ctrl-C/)
    const cancelled = wishes.map((list) => list.filter(({ cancel }) => cancel === true).length)
    assert.deepEqual(cancelled, [0, 1, 1])
  })

  it('is not held up by a node that does not answer any more', async () => {
    const { run, wishes } = clusterOf([
      hangs,
      ({ cancel }) => {
        if (cancel === true) throw new PeerError('unreachable', 'it has gone')
        return { state: 'pulling' }
      },
    ])
    const controller = new AbortController()
    const running = run({}, controller.signal)
    await eventually('all are asked', () => wishes.every((list) => list.length > 0))
    controller.abort(new Error('Ctrl-C'))
    await assert.rejects(running, /Ctrl-C/)
  })

  it('is left to the nodes when the daemon that coordinates stops', async () => {
    const { run, wishes } = clusterOf([hangs, hangs])
    const controller = new AbortController()
    const running = run({}, controller.signal)
    await eventually('all are asked', () => wishes.every((list) => list.length > 0))
    controller.abort(new RolloutAbandoned('the node stops'))
    await assert.rejects(running, RolloutAbandoned)
    assert.ok(wishes.flat().every(({ cancel }) => cancel !== true))
  })
})
