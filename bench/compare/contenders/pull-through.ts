import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'

import { findTool } from '../../../test/support/debian-tool.ts'
import { execute } from '../../../test/support/netns/commands.ts'
import { eventually } from '../../../test/support/poll.ts'
import type { Version } from '../images.ts'
import type { Transfer } from '../results.ts'
import type { Contender, Settling, Site } from './contender.ts'
import { described, directoryOf } from './described.ts'
import { parseDescription } from './description.ts'

/** A line of its access log. */
const lineSchema = z.object({
  time: z.string(),
  'http.request.method': z.literal('GET'),
  'http.request.remoteaddr': z.string(),
  'http.request.uri': z.string(),
  'http.response.duration': z.string(),
  'http.response.written': z.number(),
})

const STORE_MS = 300_000
const MICROSECONDS: Readonly<Record<string, number>> = { µs: 1, ms: 1e3, s: 1e6, m: 60e6, h: 3600e6 }

/**
 * Debian's docker-registry as a pull-through cache on a host of its own. Says instead why it cannot be had here. It is 2.8, which does not
 * share one fetch between clients that wait for the same blob.
 */
export async function pullThrough(): Promise<Contender | { readonly skip: string }> {
  const tool = await findTool('docker-registry')
  if ('skip' in tool) return tool
  const program = join(tool.binDir, 'docker-registry')
  const { stdout } = await execute(program, ['--version'])
  const version = stdout.trim().split(' ').at(-1) ?? ''
  const description = parseDescription({
    id: 'pull-through',
    title: 'pull-through cache',
    description: descriptionOf(version),
    version,
    place: 'one-host',
    files: {
      'config.yml': [
        'version: 0.1',
        'log: {level: info, formatter: json, accesslog: {disabled: true}}',
        'storage:',
        '  filesystem: {rootdirectory: "{directory}/data"}',
        'http:',
        '  addr: 0.0.0.0:5000',
        '  secret: of a benchmark',
        'proxy:',
        '  remoteurl: {registryUrl}',
      ],
    },
    command: [program, 'serve', '{directory}/config.yml'],
    readyUrl: 'http://{ip}:5000/v2/',
    mirrorUrl: 'http://{ip}:5000',
  })
  return described(description, { transfers: transfersIn, settle: stored })
}

/** Whoever wonders at its copies reads this in the report. */
export function descriptionOf(version: string): string {
  const what = `Debian's docker-registry ${version} in proxy mode on a host of its own, whose link is a node's`
  if (!/^v?2\./.test(version)) return what
  const copies = 'copies can be one more than there are nodes'
  const why = `2.x fetches a blob that it does not have yet once for each client that waits and once to store it: ${copies}`
  return `${what}; ${why}. Registry 3, or another cache, can be described as a contender (bench/README.md)`
}

/** It stores blobs by a fetch of its own, beside the one that it passes on, and so may be done later than its client. */
async function stored(versions: readonly Version[], { host }: Site, options?: Settling): Promise<void> {
  const digests = versions.flatMap(({ image }) =>
    [image.config, ...image.layers].map(({ descriptor }) => descriptor.digest),
  )
  const paths = digests.map((digest) => {
    const hex = digest.slice('sha256:'.length)
    return join(directoryOf(host), 'data/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data')
  })
  await eventually('the cache has stored all blobs', () => paths.every((path) => existsSync(path)), {
    timeoutMs: STORE_MS,
    ...options,
  })
}

interface Named {
  readonly name: string
  readonly ip: string
}

/** What it sent to nodes since then, as its log says. */
export function transfersIn(
  log: readonly string[],
  began: Date,
  { nodes, host }: { readonly nodes: readonly Named[]; readonly host: Named },
): Transfer[] {
  return log.flatMap((text) => {
    const line = text.startsWith('{') ? lineSchema.safeParse(JSON.parse(text)).data : undefined
    const digest = /\/blobs\/(sha256:[0-9a-f]{64})/.exec(line?.['http.request.uri'] ?? '')?.[1]
    if (line === undefined || digest === undefined) return []
    const address = line['http.request.remoteaddr'].replace(/:\d+$/, '')
    const node = nodes.find(({ ip }) => ip === address)?.name
    const ended = (Date.parse(line.time) - began.getTime()) / 1000
    const bytes = line['http.response.written']
    if (node === undefined || ended < 0 || bytes === 0) return []
    const seconds = secondsOf(line['http.response.duration'])
    return [{ at: Math.max(0, ended - seconds), seconds, node, digest, source: 'mirror', from: host.name, bytes }]
  })
}

/** Go's way to write a duration: `1m2.5s`, `830.2µs`. */
function secondsOf(text: string): number {
  const parts = [...text.matchAll(/([\d.]+)(h|ms|µs|m|s)/g)]
  return parts.reduce((sum, [, number, unit = '']) => sum + Number(number) * (MICROSECONDS[unit] ?? 0), 0) / 1e6
}
