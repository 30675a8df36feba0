import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { afterEach, describe, it } from 'node:test'

import { type NoiseComponents, noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import type { Libp2p } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { createLibp2p } from 'libp2p'

import { mismatchEncrypters, noiseEncrypters } from '../../../src/overlay/libp2p/encrypters.ts'
import type { RefusedNode } from '../../../src/overlay/refused-nodes.ts'
import { eventually } from '../../support/poll.ts'

describe('noise with overlay keys', () => {
  const hosts: Libp2p[] = []
  afterEach(() => Promise.all(hosts.splice(0).map(async (host) => host.stop())))

  /** Keeps in `refused` what its connections fail for. */
  async function host(
    keys: readonly Uint8Array[] | undefined,
    protocol?: string,
    version?: number,
    refused: RefusedNode[] = [],
  ): Promise<Libp2p> {
    const encrypters = noiseEncrypters(keys, version).map((factory) => (components: NoiseComponents) => {
      const encrypter = factory(components)
      encrypter.protocol = protocol ?? encrypter.protocol
      return encrypter
    })
    const made = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      streamMuxers: [yamux()],
      connectionEncrypters: [...encrypters, ...mismatchEncrypters((node) => refused.push(node), version)],
    })
    hosts.push(made)
    return made
  }

  const dial = async (from: Libp2p, to: Libp2p) =>
    from.dial(to.getMultiaddrs(), { signal: AbortSignal.timeout(30_000) })

  it('connects those that share any key', async () => {
    const [a, b, c] = [randomBytes(32), randomBytes(32), randomBytes(32)]
    const connection = await dial(await host([a, b]), await host([c, b]))
    assert.equal(connection.status, 'open')
  })

  it('refuses another key, and none', async () => {
    const member = await host([randomBytes(32)])
    for (const stranger of [await host([randomBytes(32)]), await host(undefined)]) {
      await assert.rejects(dial(stranger, member))
      await assert.rejects(dial(member, stranger))
      assert.equal(member.getConnections().length, 0)
    }
  })

  it('parts nodes of different wire versions, with and without a secret', async () => {
    const key = randomBytes(32)
    for (const keys of [[key], undefined]) {
      const [older, newer] = [await host(keys, undefined, 1), await host(keys, undefined, 2)]
      await assert.rejects(dial(older, newer))
      await assert.rejects(dial(newer, older))
      assert.deepEqual([older.getConnections(), newer.getConnections()], [[], []])
      assert.equal((await dial(newer, await host(keys, undefined, 2))).status, 'open')
    }
  })

  it('reports on both sides that the other node has another secret, or another version', async () => {
    const key = randomBytes(32)
    for (const [mismatch, ...ends] of [
      ['secret', { keys: [key], version: 2 }, { keys: [randomBytes(32), randomBytes(32)], version: 2 }],
      ['secret', { keys: [key], version: 2 }, { keys: undefined, version: 2 }],
      ['version', { keys: [key], version: 1 }, { keys: [key], version: 2 }],
    ] as const) {
      const seen = ends.map(() => [] as RefusedNode[])
      const [a, b] = await Promise.all(
        ends.map(async ({ keys, version }, i) => host(keys, undefined, version, seen[i])),
      )
      assert.ok(a !== undefined && b !== undefined)
      await assert.rejects(dial(a, b))
      const expected = [{ host: '127.0.0.1', mismatch }]
      await eventually('both report it', () => seen.every(({ length }) => length > 0))
      assert.deepEqual(seen, [expected, expected])
    }
  })

  it('reports nobody who shares a secret, and no program that is not Nabo', async () => {
    const [own, refused] = [[randomBytes(32)], [] as RefusedNode[]]
    const member = await host(own, undefined, undefined, refused)
    await dial(await host(own), member)
    const foreign = await createLibp2p({
      transports: [tcp()],
      streamMuxers: [yamux()],
      connectionEncrypters: [noise()],
    })
    hosts.push(foreign)
    await assert.rejects(dial(foreign, member))
    assert.deepEqual(refused, [])
  })

  it("refuses a stranger that has picked up the protocol's name", async () => {
    const member = await host([randomBytes(32)], '/noise/same')
    const stranger = await host([randomBytes(32)], '/noise/same')
    await assert.rejects(dial(stranger, member))
    await assert.rejects(dial(member, stranger))
    assert.equal(member.getConnections().length, 0)
    const own = randomBytes(32)
    assert.equal((await dial(await host([own], '/noise/same'), await host([own], '/noise/same'))).status, 'open')
  })
})
