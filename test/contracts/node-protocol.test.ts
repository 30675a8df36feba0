import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { InvalidMessage, type Message } from '../../src/contracts/message.ts'
import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import { decoded } from '../support/wire.ts'

describe('the node protocol', () => {
  const contracts = Object.values(NODE_PROTOCOL)

  it('has a path and a kind of its own for each message', () => {
    for (const field of ['path', 'kind'] as const)
      assert.equal(new Set(contracts.map((contract) => contract[field])).size, contracts.length)
  })

  for (const [name, contract] of Object.entries(NODE_PROTOCOL))
    for (const side of ['request', 'answer'] as const)
      it(`refuses with InvalidMessage what is no ${side} of ${name}, whatever the bytes are`, () => {
        const message = contract[side] as Message<unknown>
        fc.assert(
          fc.property(fc.oneof(fc.uint8Array(), fc.string(), fc.json()), (body) => {
            try {
              decoded(message, body)
            } catch (error) {
              assert.ok(error instanceof InvalidMessage)
            }
          }),
        )
        assert.throws(() => decoded(message, Buffer.alloc(message.maxBytes + 1, ' ')), InvalidMessage)
      })
})
