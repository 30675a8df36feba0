import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { Transfers } from '../../../src/delivery/blobs/transfers.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const [first, second] = [digestOf(Buffer.from('first')), digestOf(Buffer.from('second'))]

describe('the transfers that run', () => {
  it('are known until the last one of a blob has ended', () => {
    const transfers = new Transfers()
    assert.equal(transfers.of(first), undefined)
    const [one, two] = [transfers.begin(first), transfers.begin(first)]
    one.end()
    one.end()
    assert.deepEqual(transfers.of(first), { size: undefined, path: [], hasBegun: false, waitsForPeers: false })
    two.end()
    assert.equal(transfers.of(first), undefined)
  })

  it('count together: the size that one knows, and everybody that any comes through', () => {
    const transfers = new Transfers()
    const [one, two] = [transfers.begin(first), transfers.begin(first)]
    one.path = ['root', 'a']
    two.path = ['root', 'b']
    two.size = 5
    assert.deepEqual(transfers.of(first), { size: 5, path: ['root', 'a', 'b'], hasBegun: false, waitsForPeers: false })
    assert.equal(transfers.of(second), undefined)
  })

  it('have begun as long as one of them has had a source, though it looks for another one', () => {
    const transfers = new Transfers()
    const [one, two] = [transfers.begin(first), transfers.begin(first)]
    two.hasBegun = true
    assert.equal(transfers.of(first)?.hasBegun, true)
    one.end()
    two.source = undefined
    assert.equal(transfers.of(first)?.hasBegun, true)
    const three = transfers.begin(first)
    two.end()
    assert.equal(transfers.of(first)?.hasBegun, false)
    three.end()
  })

  it('are remembered for a while after their end', () => {
    const transfers = new Transfers()
    assert.equal(transfers.ranLately(first), false)
    const one = transfers.begin(first)
    assert.equal(transfers.ranLately(first), true)
    one.end()
    assert.equal(transfers.ranLately(first), true)
    assert.equal(transfers.ranLately(second), false)
  })

  it('shows how far each of them is, those that run longest first', () => {
    const transfers = new Transfers()
    const repository = { registry: 'docker.io', name: 'library/app' }
    const one = transfers.begin(first, repository)
    one.position = 5
    one.source = { kind: 'peer', name: '10.0.0.1:7951' }
    const two = transfers.begin(second)
    assert.equal(transfers.count, 2)
    const views = transfers.list(10)
    assert.deepEqual(
      views.map(({ digest, repository, position, source }) => ({ digest, repository, position, source })),
      [
        { digest: first, repository, position: 5, source: { kind: 'peer', name: '10.0.0.1:7951' } },
        { digest: second, repository: undefined, position: 0, source: undefined },
      ],
    )
    assert.deepEqual(transfers.list(1).length, 1)
    assert.deepEqual(
      transfers.list(10, [second]).map(({ digest }) => digest),
      [second],
    )
    one.end()
    two.end()
    assert.equal(transfers.count, 0)
  })
})
