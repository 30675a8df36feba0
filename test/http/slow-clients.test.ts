// Upload slots are for peers that read: a client that does not loses its transfer, and one that is slowed down by this node never does.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { type Server, type ServerResponse, get } from 'node:http'
import { type AddressInfo, type Socket, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { BlobDelivery } from '../../src/delivery/blobs/blob-delivery.ts'
import { TransferRecord } from '../../src/delivery/blobs/transfer-record.ts'
import { Admission } from '../../src/http/admission.ts'
import type { BlobSending } from '../../src/http/answers.ts'
import type { FinishedExchange } from '../../src/http/exchange.ts'
import { type MinimumRate, RateWatch } from '../../src/http/minimum-rate.ts'
import { type PeerListenerOptions, peerRoutes } from '../../src/http/peer-listener.ts'
import { Bandwidth } from '../../src/mover/bandwidth.ts'
import { moveFile } from '../../src/mover/file-mover.ts'
import { loadSendfile } from '../../src/mover/sendfile.ts'
import { type FileMover, sendfileMover } from '../../src/mover/sendfile-mover.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { requestPath } from '../../src/oci/request.ts'
import type { OpenBlob } from '../../src/store/content-store.ts'
import { FileBlob, openFile } from '../../src/store/file-blob.ts'
import { createListener } from '../support/http-listener.ts'
import { eventually } from '../support/poll.ts'

const MiB = 1024 * 1024
/** Far more than the kernel keeps for a client that does not read. */
const SIZE = 64 * MiB
const PATH = requestPath({ registry: 'docker.io', name: 'library/app' }, 'blobs', digestOf(Buffer.from('zeros')))
/** The product is above what a kernel takes at once; see PEER_MINIMUM_RATE. */
const MINIMUM: MinimumRate = { bytesPerSecond: 8 * MiB, window: 600 }

const calls = await loadSendfile().catch((error: Error) => error)
const movers: Record<string, FileMover | undefined> = {
  'two buffers': moveFile,
  sendfile: calls instanceof Error ? undefined : sendfileMover(calls),
}

let directory: string
let file: string
let server: Server | undefined
let sockets: Socket[] = []

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'nabo-slow-'))
  file = join(directory, 'blob')
  const handle = await open(file, 'w')
  await handle.truncate(SIZE)
  await handle.close()
})
after(() => rm(directory, { recursive: true, force: true }))
afterEach(() => {
  for (const socket of sockets) socket.destroy()
  sockets = []
  server?.closeAllConnections()
  server?.close()
  server = undefined
})

async function openBlob(size = SIZE): Promise<OpenBlob> {
  const opened = (await openFile(file)) ?? assert.fail('it is there')
  return new FileBlob(opened.handle, size)
}

/** A peer listener that gives every blob. */
async function serve(sending: BlobSending, options: { blob?: () => Promise<OpenBlob>; admission?: Admission } = {}) {
  const { blob = () => openBlob(), admission = new Admission(2) } = options
  const finished: FinishedExchange[] = []
  const openLocal = async (): Promise<BlobDelivery> => {
    const file = await blob()
    const span = { start: 0, end: file.size }
    const close = () => file.close()
    return {
      type: 'file',
      file,
      size: file.size,
      span,
      record: new TransferRecord(),
      origin: { source: 'local' },
      close,
    }
  }
  const routes = peerRoutes({
    ...({} as PeerListenerOptions),
    blobs: { openLocal },
    policy: { mirrored: 'all', fallback: 'none' },
    hasSecret: false,
    verifier: { verify: () => assert.fail('nothing is proved here') },
    admission,
    sending,
  })
  server = await createListener(routes, { finished: (exchange) => void finished.push(exchange) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { admission, finished, port, url: `http://127.0.0.1:${port}${PATH}` }
}

/** A client that asks and never reads. */
async function askAndWait(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').pause()
  sockets.push(socket)
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\n\r\n`)
  return socket
}

/** Reads all, with a pause after each `step` bytes. */
async function read(url: string, pause?: { step: number; ms: number }): Promise<number> {
  const [response] = (await once(get(url, { agent: false }), 'response')) as [AsyncIterable<Buffer>]
  let [length, resting] = [0, 0]
  for await (const chunk of response) {
    length += chunk.length
    if (pause === undefined || length - resting < pause.step) continue
    resting = length
    await sleep(pause.ms)
  }
  return length
}

for (const [name, mover] of Object.entries(movers)) {
  describe(`a peer listener that sends with ${name}`, { skip: mover === undefined }, () => {
    it('takes the slots of clients that never read', async () => {
      const { admission, finished, port, url } = await serve({ mover, minimumRate: MINIMUM })
      await Promise.all([askAndWait(port), askAndWait(port)])
      await eventually('they hold all slots', () => admission.load().sending === 2, { everyMs: 5 })
      const busy = await fetch(url)
      assert.deepEqual([busy.status, busy.headers.get('nabo-busy')], [503, '1'])
      await busy.arrayBuffer()
      await eventually('the slots are free', () => admission.load().sending === 0)
      assert.equal(await read(url), SIZE)
      await eventually('all have ended', () => finished.length === 4)
      const slow = finished.filter(({ err }) => /took less than 8388608 bytes a second for 0\.6 s/.test(err ?? ''))
      assert.deepEqual(
        slow.map(({ outcome }) => outcome),
        ['client-gone', 'client-gone'],
      )
    })

    it('takes the slots of clients that send one request after the other and never read', async () => {
      const { admission, port } = await serve({ mover, minimumRate: MINIMUM })
      const socket = await askAndWait(port)
      socket.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\n\r\n`)
      await eventually('they hold all slots', () => admission.load().sending === 2, { everyMs: 5 })
      await eventually('the slots are free', () => admission.load().sending === 0)
    })

    it('goes on with a client that reads slowly', async () => {
      const { finished, url } = await serve({ mover, minimumRate: MINIMUM })
      assert.equal(await read(url, { step: MiB, ms: 40 }), SIZE)
      await eventually('it has ended', () => finished.length === 1)
      assert.equal(finished[0]?.outcome, 'done')
    })

    it('goes on with a client that gets its bytes no faster than --peer-bandwidth lets it', async () => {
      const bandwidth = new Bandwidth(MiB)
      const { url } = await serve({ mover, bandwidth, minimumRate: MINIMUM }, { blob: () => openBlob(2 * MiB) })
      assert.equal(await read(url), 2 * MiB)
    })
  })
}

describe('a peer listener with one client', () => {
  it('keeps slots free for others, and says that it is busy', async () => {
    const admission = new Admission(4, () => false)
    const { port, url } = await serve({}, { admission })
    await Promise.all([askAndWait(port), askAndWait(port)])
    await eventually('it holds half of the slots', () => admission.load().sending === 2, { everyMs: 5 })
    const busy = await fetch(url)
    assert.deepEqual([busy.status, busy.headers.get('nabo-busy')], [503, '1'])
    await busy.arrayBuffer()
    assert.ok(admission.enter('192.0.2.1'))
  })
})

describe('a peer listener with a blob that is still arriving', () => {
  it('goes on with a client that has taken all that is there', async () => {
    const whole = await openBlob(3 * MiB)
    const later = sleep(4 * MINIMUM.window)
    const arriving: OpenBlob = {
      size: whole.size,
      fd: undefined,
      read: async (target, at) => {
        if (at >= 2 * MiB) await later
        return whole.read(target, at)
      },
      close: () => whole.close(),
    }
    const { url } = await serve({ minimumRate: MINIMUM }, { blob: async () => arriving })
    assert.equal(await read(url), 3 * MiB)
  })
})

describe('the watch over a client', () => {
  /** Looks once a second; `taken` bytes went to the client since the last look, `waiting` are there for it. */
  function watch({ mock }: TestContext) {
    mock.timers.enable({ apis: ['setInterval'] })
    const socket = { bytesWritten: 500, writableLength: 0 }
    const response = {
      req: { socket },
      writableLength: 0,
    }
    const failures: Error[] = []
    const rate = { bytesPerSecond: 1000, window: 6000 }
    const watch = new RateWatch(response as unknown as ServerResponse, rate, (error) => void failures.push(error))
    const endsAt = (look: (n: number) => { taken?: number; direct?: number; waiting?: number }) => {
      for (let n = 1; n <= 200; n += 1) {
        const { taken = 0, direct = 0, waiting = 1 } = look(n)
        socket.bytesWritten += taken
        watch.direct.count += direct
        response.writableLength = waiting
        mock.timers.tick(1000)
        if (failures.length > 0) return n
      }
      return undefined
    }
    return { watch, failures, endsAt }
  }

  it('ends a client that stands still, after the window, however fast it began', (context) => {
    const { failures, endsAt } = watch(context)
    assert.equal(
      endsAt((n) => ({ taken: n === 1 ? 50_000 : 0 })),
      7,
    )
    assert.match(failures[0]?.message ?? '', /less than 1000 bytes a second for 6 s/)
  })

  it('ends a client that is only too slow later', (context) => {
    assert.equal(
      watch(context).endsAt(() => ({ taken: 500 })),
      12,
    )
  })

  it('goes on with a client that takes enough bytes at long intervals', (context) => {
    assert.equal(
      watch(context).endsAt((n) => ({ taken: n % 5 === 0 ? 5000 : 0 })),
      undefined,
    )
  })

  it('counts bytes that the mover sends past the stream', (context) => {
    assert.equal(
      watch(context).endsAt(() => ({ taken: 300, direct: 700 })),
      undefined,
    )
  })

  it('holds nothing against a client for which nothing waits', (context) => {
    assert.equal(
      watch(context).endsAt((n) => ({ waiting: n % 5 === 0 ? 0 : 1 })),
      undefined,
    )
  })

  it('ends no client after it was stopped', (context) => {
    const { watch: watching, endsAt } = watch(context)
    watching.stop()
    assert.equal(
      endsAt(() => ({})),
      undefined,
    )
  })
})
