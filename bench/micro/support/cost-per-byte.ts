import type { Blob } from './content.ts'
import { cpuSeconds } from './cpu.ts'
import { GiB, median, MiB, ratio, sizeName } from './figures.ts'
import { type Demand, rangeSize, take } from './load.ts'
import type { Server } from './servers.ts'

export interface CostOptions {
  readonly blobs: readonly Blob[]
  readonly clients: readonly number[]
  /** The yardstick first. */
  readonly servers: readonly Server[]
  readonly repeats: number
  /** Of one sample, about. */
  readonly bytes: number
  /** See {@link Demand.short}. */
  readonly short?: boolean
}

/** The CPU that each server needs for a GiB, servers in turn in each round, as rows of a table. */
export async function costPerByte(options: CostOptions): Promise<Record<string, string | number>[]> {
  const { servers, blobs, clients, repeats, bytes, short = false } = options
  for (const server of servers)
    for (const blob of blobs) await take(server.blobUrl(blob), blob, { clients: 4, bytes: 64 * MiB, short })
  const rows = []
  for (const blob of blobs) {
    for (const count of clients) {
      const demand = { clients: count, bytes, short }
      const samples = servers.map(() => [] as Sample[])
      for (let round = 0; round < repeats; round += 1) {
        for (const [i, server] of servers.entries()) samples[i]?.push(await sample(server, blob, demand))
      }
      const what = labelOf(blob, demand)
      rows.push(...rowsOf(what, servers, samples))
      process.stderr.write(`${what}\n`)
    }
  }
  return rows
}

/** `1 GiB × 8 (ranges of 256 MiB)`: small ranges of a large blob cost what small answers cost. */
export function labelOf(blob: Pick<Blob, 'size'>, demand: Demand): string {
  const range = rangeSize(blob, demand)
  const what = `${sizeName(blob.size)} × ${demand.clients}`
  return range === undefined ? what : `${what} (ranges of ${sizeName(range)})`
}

interface Sample {
  readonly cpuPerGiB: number
  readonly mibPerSecond: number
}

async function sample(server: Server, blob: Blob, demand: Demand): Promise<Sample> {
  const before = await cpuSeconds(server.pid)
  const taken = await take(server.blobUrl(blob), blob, demand)
  const cpu = (await cpuSeconds(server.pid)) - before
  return { cpuPerGiB: cpu / (taken.bytes / GiB), mibPerSecond: taken.bytes / MiB / taken.seconds }
}

function rowsOf(what: string, servers: readonly Server[], samples: readonly (readonly Sample[])[]) {
  const costs = samples.map((each) => each.map(({ cpuPerGiB }) => cpuPerGiB))
  return servers.map(({ name }, i) => ({
    'blob × clients': what,
    server: name,
    'CPU s/GiB': median(costs[i] ?? []).toFixed(3),
    [`over ${servers[0]?.name}`]: ratio(costs[i] ?? [], costs[0] ?? []),
    'MiB/s': Math.round(median((samples[i] ?? []).map(({ mibPerSecond }) => mibPerSecond))),
  }))
}
