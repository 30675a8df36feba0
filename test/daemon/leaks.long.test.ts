import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { createHub } from '../support/hub/create-hub.ts'
import { makeImage } from '../support/image-maker.ts'
import { localFetch, NaboProcess } from '../support/nabo-process.ts'
import { eventually } from '../support/poll.ts'

const LAYERS = 20
const ROUNDS = 10
/** With three answers that are broken off for each one that is read to its end. */
const PULLS_PER_ROUND = 100
/** What the heap may grow before it is collected; a leak of 100 KB a pull would be four times that. */
const MEMORY_MARGIN = 100_000_000

describe('a daemon that has answered many', () => {
  it('holds no more descriptors or memory than before', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-leaks-'))
    const secretFile = join(directory, 'secret')
    await writeFile(secretFile, 'a secret that both nodes share\n')
    await using hub = await createHub()
    const image = makeImage({ layers: Array.from({ length: LAYERS }, (_, seed) => ({ size: 200_000, seed })) })
    await hub.publish('app', '1', image)
    const start = (flags: readonly string[]) =>
      new NaboProcess({
        flags: [...anyPorts(hub.registryUrl), '--cluster-secret-file', secretFile, ...flags],
        fetch: localFetch,
      })
    // One that fills a cache and gives to its peer, and one that keeps nothing and asks its peer each time.
    const cache = ['--store', 'directory', '--cache-dir', join(directory, 'cache')]
    const holder = start(['--router-addr', '127.0.0.1:17962', ...cache])
    let asker: NaboProcess | undefined
    try {
      await holder.ready()
      // What came whole and is asked for again is taken for wrong, and would come from the hub if it could.
      const away = ['--fallback', 'none', '--store', 'containerd', '--containerd-socket', join(directory, 'none.sock')]
      asker = start(['--router-addr', '127.0.0.1:17963', '--bootstrap', 'static:127.0.0.1:17962', ...away])
      const mirrors = await Promise.all([holder, asker].map(async (nabo) => (await nabo.listening()).mirror[0] ?? ''))
      const paths = image.layers.map(({ descriptor }) => `/v2/library/app/blobs/${descriptor.digest}`)
      for (const path of ['/v2/library/app/manifests/1', ...paths]) await pull(`http://${mirrors[0]}${path}`)
      await eventually('the other one knows', async () => ((await asker?.metric('nabo_index_claims')) ?? 0) > LAYERS)
      const round = async () => {
        for (let i = 0; i < PULLS_PER_ROUND; i++) {
          const path = paths[i % LAYERS] ?? ''
          const [near, far] = mirrors.map((mirror) => `http://${mirror}${path}`)
          await Promise.all([pull(`${far}`), pull(`${far}`, 10_000), pull(`${far}`, 0), pull(`${near}`, 0)])
        }
      }
      await round()
      const before = [holder, asker].map(usage)
      const sent = (await hub.counters()).blobBytes
      for (let i = 0; i < ROUNDS; i++) await round()
      for (const [i, nabo] of [holder, asker].entries()) {
        const { descriptors = 0, memory = 0 } = before[i] ?? {}
        await eventually('no descriptor is left open', () => usage(nabo).descriptors <= descriptors + 2)
        assert.ok(usage(nabo).memory < memory + MEMORY_MARGIN, `${memory} bytes before, ${usage(nabo).memory} after`)
      }
      assert.equal((await hub.counters()).blobBytes, sent)
    } finally {
      await Promise.all([holder.stop(), asker?.stop()])
      await rm(directory, { recursive: true, force: true })
    }
  })
})

function anyPorts(hubUrl: string): string[] {
  const listeners = ['mirror', 'peer', 'admin'].flatMap((name) => [`--${name}-addr`, '127.0.0.1:0'])
  return [...listeners, '--upstream', `docker.io=${hubUrl}`]
}

/** Reads an answer to its end, or goes away after so many bytes of it. */
async function pull(url: string, leaveAfter = Number.POSITIVE_INFINITY): Promise<void> {
  const asked = request(url, { agent: false })
  asked.on('error', () => {})
  asked.end()
  const closed = once(asked, 'close')
  let complete = false
  asked.on('response', (response) => {
    let received = 0
    response.on('end', () => (complete = response.statusCode === 200))
    response.on('error', () => {})
    response.on('data', (chunk: Buffer) => {
      received += chunk.length
      if (received > leaveAfter) asked.destroy()
    })
  })
  await closed
  if (leaveAfter === Number.POSITIVE_INFINITY) assert.ok(complete, url)
}

/** Open descriptors and resident bytes. */
function usage({ pid }: NaboProcess): { descriptors: number; memory: number } {
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, memory: Number(resident) * 1024 }
}
