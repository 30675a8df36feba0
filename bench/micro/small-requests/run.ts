import { Agent, get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { matchesDigest } from '../../../src/oci/digest.ts'
import { Child } from '../../../test/support/child.ts'
import { eventually } from '../../../test/support/poll.ts'
import { type Blob, makeContent } from '../support/content.ts'
import { cpuSeconds } from '../support/cpu.ts'
import { GiB, median, MiB, quantile, ratio } from '../support/figures.ts'
import { type Server, startServers } from '../support/servers.ts'
import { Workspace } from '../support/workspace.ts'

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, repeats: { type: 'string' }, transfers: { type: 'string' } },
})
const { quick } = values
const repeats = Number(values.repeats ?? (quick ? 1 : 5))
const transfers = Number(values.transfers ?? (quick ? 8 : 64))
const PROBES = quick ? 20 : 300
/** Between an answer and the next question. */
const PAUSE_MS = 5

interface Times {
  readonly p50: number
  readonly p99: number
}

await using workspace = new Workspace()
const content = await makeContent(workspace.path('cache'), [quick ? 64 * MiB : GiB])
const [bulk] = content.blobs
if (bulk === undefined) throw new Error('no blob')
const servers = await startServers(workspace, content)
for (const server of servers) await probe(server, content.manifest)

const rows = []
for (const busy of [0, transfers]) {
  const samples = servers.map(() => [] as Times[])
  for (let round = 0; round < repeats; round += 1) {
    for (const [i, server] of servers.entries()) samples[i]?.push(await beside(busy, server, bulk))
  }
  const of = (name: keyof Times) => samples.map((each) => each.map((times) => times[name]))
  const [p50, p99] = [of('p50'), of('p99')]
  for (const [i, { name }] of servers.entries()) {
    rows.push({
      'bulk transfers': busy,
      server: name,
      'p50 ms': median(p50[i] ?? []).toFixed(2),
      'p99 ms': median(p99[i] ?? []).toFixed(2),
      'p50 over nginx': ratio(p50[i] ?? [], p50[0] ?? []),
      'p99 over nginx': ratio(p99[i] ?? [], p99[0] ?? []),
    })
  }
}
console.table(rows)

/** The times of small requests to a server while it sends a blob to `count` clients, who take it as fast as they can. */
async function beside(count: number, server: Server, blob: Blob): Promise<Times> {
  if (count === 0) return probe(server, content.manifest)
  const program = fileURLToPath(new URL('./bulk.ts', import.meta.url))
  const args = [program, server.blobUrl(blob), blob.digest, String(blob.size), String(count)]
  const before = await cpuSeconds(server.pid)
  const load = workspace.own(new Child(process.execPath, args))
  try {
    await eventually('the transfers flow', async () => (await cpuSeconds(server.pid)) - before > 0.3)
    const times = await probe(server, content.manifest)
    if (load.exit !== undefined) throw new Error(`the bulk transfers ended: ${load.lines.slice(-5).join('\n')}`)
    return times
  } finally {
    await load.kill()
  }
}

/** One request after the other on one connection; every answer is checked. */
async function probe(server: Server, manifest: Blob): Promise<Times> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const times: number[] = []
  try {
    for (let i = 0; i < PROBES; i += 1) {
      const began = performance.now()
      const bytes = await fetchAll(server.manifestUrl(manifest), agent)
      times.push(performance.now() - began)
      if (!matchesDigest(bytes, manifest.digest)) throw new Error(`${server.name} gives wrong bytes`)
      await sleep(PAUSE_MS)
    }
  } finally {
    agent.destroy()
  }
  return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
}

function fetchAll(url: string, agent: Agent): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent, timeout: 30_000 }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('end', () => resolve(Buffer.concat(chunks)))
      response.once('error', reject)
    })
    request.once('timeout', () => request.destroy(new Error(`${url} does not answer`)))
    request.once('error', reject)
  })
}
