import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, afterEach, before, describe, it } from 'node:test'

import { StalledError } from '../../../src/delivery/blobs/resuming-stream.ts'
import { StripedSource } from '../../../src/delivery/blobs/striped-source.ts'
import type { Holder } from '../../../src/delivery/blobs/striping/holders.ts'
import { NoHolderLeftError } from '../../../src/delivery/blobs/striping/piece-window.ts'
import { Bandwidth, throttled } from '../../../src/mover/bandwidth.ts'
import { moveChunks } from '../../../src/mover/file-mover.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { parseRange, resolveRange } from '../../../src/oci/range.ts'
import { PeerClient } from '../../../src/peers/peer-client.ts'
import { PeerError } from '../../../src/peers/peer-transport.ts'
import { noise } from '../../support/image-maker.ts'
import { eventually } from '../../support/poll.ts'

const MiB = 1024 * 1024
const STALL = 1000
const repository = { registry: 'docker.io', name: 'library/blob' }

/** What a holder does with a request; bytes a second, and what happens after so many bytes of an answer. */
interface Behaviour {
  readonly rate?: number
  readonly fault?: { readonly kind: 'breaks' | 'stalls'; readonly after: number; readonly fromRequest?: number }
  readonly refuses?: 'busy' | 'lies' | 'ignores'
}

interface TestHolder extends Holder {
  readonly spans: { start: number; end: number }[]
}

describe('a blob from several holders over HTTP', () => {
  let blob: Buffer
  let digest: ReturnType<typeof digestOf>
  let client: PeerClient
  const servers: Server[] = []

  before(() => {
    blob = noise('striped', 64 * MiB)
    digest = digestOf(blob)
    client = new PeerClient({ idleTimeout: 20_000 })
  })
  after(() => client.close())
  afterEach(async () => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  })

  async function holder(behaviour: Behaviour = {}): Promise<TestHolder> {
    const spans: TestHolder['spans'] = []
    const bandwidth = behaviour.rate === undefined ? undefined : new Bandwidth(behaviour.rate)
    const server = createServer((request, response) => {
      response.on('error', () => {})
      const span = resolveRange(parseRange(request.headers.range), blob.length) ?? assert.fail()
      spans.push(span)
      answer(response, span, behaviour, spans.length, bandwidth).catch(() => response.destroy())
    })
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const name = `127.0.0.1:${(server.address() as AddressInfo).port}`
    return {
      name,
      spans,
      open: async (start, end, { signal }) => {
        const found = await client.getBlob({ id: name, address: name }, repository, digest, { start, end, signal })
        assert.ok(found)
        return found
      },
    }
  }

  async function answer(
    response: ServerResponse,
    span: { start: number; end: number },
    behaviour: Behaviour,
    request: number,
    bandwidth: Bandwidth | undefined,
  ): Promise<void> {
    if (behaviour.refuses === 'busy') return void response.writeHead(503, { 'nabo-busy': '1' }).end('{}')
    if (behaviour.refuses === 'ignores') return void response.end(blob)
    const shift = behaviour.refuses === 'lies' ? 1 : 0
    response.writeHead(206, {
      'content-length': span.end - span.start - shift,
      'content-range': `bytes ${span.start}-${span.end - 1}/${blob.length}`,
    })
    const { fault } = behaviour
    const faulty = fault !== undefined && request >= (fault.fromRequest ?? 1)
    const end = faulty ? Math.min(span.end, span.start + fault.after) : span.end - shift
    const controller = new AbortController()
    response.once('close', () => controller.abort(new Error('gone')))
    const chunks = piecesOf(blob.subarray(span.start, end))
    await moveChunks(throttled(chunks, bandwidth?.share(controller.signal)), response)
    if (!faulty || end === span.end) response.end()
    else if (fault.kind === 'breaks') response.destroy()
  }

  function striped(holders: readonly Holder[], span = { start: 0, end: blob.length }) {
    const left: { holder: Holder; error: unknown }[] = []
    const source = new StripedSource({
      span,
      holders,
      stall: STALL,
      onLeft: (holder, error) => left.push({ holder, error }),
    })
    return { source, left }
  }

  async function read(source: StripedSource) {
    const hash = createHash('sha256')
    const bySender = new Map<string, number>()
    for await (const chunk of source.body) {
      hash.update(chunk)
      bySender.set(source.sender(), (bySender.get(source.sender()) ?? 0) + chunk.length)
    }
    return { digest: `sha256:${hash.digest('hex')}`, given: (holder: Holder) => bySender.get(holder.name) ?? 0 }
  }

  it('comes from one alone if it is not large', async () => {
    const [first, second] = [await holder({ rate: 30 * MiB }), await holder({ rate: 30 * MiB })]
    const span = { start: 1000, end: 32 * MiB }
    const { source, left } = striped([first, second], span)
    const got = await read(source)
    assert.equal(got.digest, digestOf(blob.subarray(span.start, span.end)))
    assert.deepEqual(first.spans, [span])
    assert.deepEqual(second.spans, [])
    assert.deepEqual(left, [])
  })

  it('comes from two when one does not fill the link, each byte with its sender', async () => {
    const holders = [await holder({ rate: 16 * MiB }), await holder({ rate: 16 * MiB })]
    const { source, left } = striped(holders)
    const got = await read(source)
    assert.equal(got.digest, digest)
    for (const one of holders) assert.ok(got.given(one) > 8 * MiB, `${got.given(one)}`)
    assert.deepEqual(left, [])
  })

  it('comes from the others when one breaks off, is busy, lies about its length, or ignores what it is asked for', async () => {
    const well = await holder({ rate: 100 * MiB })
    const bad = [
      await holder({ refuses: 'busy' }),
      await holder({ refuses: 'lies', rate: 300 * MiB }),
      await holder({ refuses: 'ignores' }),
      await holder({ fault: { kind: 'breaks', after: 10 * MiB } }),
    ]
    for (const one of bad) {
      const { source, left } = striped([one, well])
      const got = await read(source)
      assert.equal(got.digest, digest)
      assert.deepEqual(
        left.map(({ holder }) => holder.name),
        [one.name],
      )
    }
    const { source, left } = striped([...bad, well])
    assert.equal((await read(source)).digest, digest)
    // The last byte, which the liar keeps back, comes from the first that is asked for it.
    const reasons = new Map(
      left.map(({ holder, error }) => [holder, error instanceof PeerError ? error.reason : undefined]),
    )
    // Which of them is found out first is a matter of the machine.
    assert.deepEqual(
      bad.filter((one) => reasons.has(one)),
      bad.slice(0, 3),
    )
    assert.deepEqual(
      bad.slice(0, 3).map((one) => reasons.get(one)),
      ['busy', undefined, 'invalid'],
    )
  })

  it('goes on elsewhere when one falls silent, alone or among others', async () => {
    const alone = await holder({ fault: { kind: 'stalls', after: 3 * MiB } })
    const among = await holder({ rate: 16 * MiB, fault: { kind: 'stalls', after: MiB, fromRequest: 2 } })
    for (const [silent, rate] of [
      [alone, 64 * MiB],
      [among, 16 * MiB],
    ] as const) {
      const well = await holder({ rate })
      const { source, left } = striped([silent, well])
      assert.equal((await read(source)).digest, digest)
      if (silent === alone) {
        assert.ok(left[0]?.error instanceof StalledError)
        assert.equal(left[0].holder.name, silent.name)
      } else assert.ok(left.every(({ holder, error }) => holder === silent && error instanceof StalledError))
    }
  })

  it('asks for a slow one’s piece elsewhere when everybody waits for it', async () => {
    const [fast, slow] = [await holder({ rate: 24 * MiB }), await holder({ rate: MiB / 2 })]
    const { source, left } = striped([fast, slow])
    const got = await read(source)
    assert.equal(got.digest, digest)
    assert.ok(slow.spans.length > 0, 'the slow one was tried')
    assert.ok(got.given(slow) < 8 * MiB)
    assert.deepEqual(left, [])
  })

  it('says that nobody is left, with the right bytes so far', async () => {
    const holders = [
      await holder({ fault: { kind: 'breaks', after: 5 * MiB } }),
      await holder({ fault: { kind: 'breaks', after: MiB } }),
    ]
    const { source, left } = striped(holders)
    let bytes = 0
    await assert.rejects(async () => {
      for await (const chunk of source.body) {
        assert.equal(Buffer.compare(chunk, blob.subarray(bytes, bytes + chunk.length)), 0)
        bytes += chunk.length
      }
    }, NoHolderLeftError)
    assert.ok(bytes > 0)
    assert.equal(left.length, 2)
  })

  it('lets go of everybody when its reader leaves or cancels', async () => {
    for (const leave of ['break', 'cancel'] as const) {
      const holders = [await holder({ rate: 16 * MiB }), await holder({ rate: 16 * MiB })]
      const { source, left } = striped(holders)
      const reading = (async () => {
        let bytes = 0
        for await (const chunk of source.body) {
          bytes += chunk.length
          if (bytes > 24 * MiB) {
            if (leave === 'break') break
            source.cancel()
          }
        }
      })()
      if (leave === 'break') await reading
      else await assert.rejects(reading, /cancelled/)
      assert.deepEqual(left, [])
    }
    for (const server of servers) {
      await eventually('no request is under way', async () => {
        server.closeIdleConnections()
        return (await new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)))) === 0
      })
    }
  })
})

async function* piecesOf(bytes: Uint8Array) {
  for (let at = 0; at < bytes.length; at += 64 * 1024) yield bytes.subarray(at, at + 64 * 1024)
}
