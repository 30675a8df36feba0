import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'

import { Command } from 'commander'
import { pino } from 'pino'

import { givenFlags } from '../../src/config/given-flags.ts'
import type { ServeConfig, ServeFlags } from '../../src/config/serve-config.ts'
import { addServeFlags, serveFlagsOf } from '../../src/config/serve-flags.ts'
import { onAdvertisedHosts, resolveAddresses } from '../../src/daemon/advertised-hosts.ts'
import { startDaemon } from '../../src/daemon/daemon.ts'
import { errorText } from '../../src/telemetry/log.ts'
import { freePort } from './free-port.ts'

/** A daemon in this process, on free ports of loopback, with a directory store of its own. */
export interface TestDaemon {
  readonly mirror: string
  readonly peer: string
  /** Its id in the overlay. */
  readonly id: string
  readonly admin: string
  /** Path of its Unix socket. */
  readonly adminSocket: string
  /** Where its router listens, as `--bootstrap static:` wants it. */
  readonly router: string
  /** Its log so far. */
  readonly lines: readonly Record<string, unknown>[]
  /** The request log lines of its mirror listener. */
  requests(): readonly Record<string, unknown>[]
  status(): Promise<{
    peers: number
    blobs: number
    index: { membersHeard: number; ownKeys: number; claims: number; peersInSync: number }
  }>
  stop(): Promise<void>
}

/** The cluster secret of all daemons that are not given another one. */
const SECRET = 'the secret of all test daemons'

/**
 * Starts one. `directory` keeps its cache from one start to the next; without it the cache goes at the end. All daemons share a cluster secret,
 * unless their flags name another one; `secret: false` starts one without.
 */
export async function runDaemon(
  flags: readonly string[] = [],
  options: { directory?: string; secret?: boolean } = {},
): Promise<TestDaemon> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'nabo-daemon-')))
  const socketDirectory = await mkdtemp(join(tmpdir(), 'nabo-socket-'))
  const adminSocket = join(socketDirectory, 'admin.sock')
  const secretFile = join(socketDirectory, 'secret')
  await writeFile(secretFile, `${SECRET}\n`, { mode: 0o600 })
  const hasSecret = options.secret !== false && !flags.includes('--cluster-secret-file')
  const routerPort = await freePort()
  const given = [
    ...['--mirror-addr', '127.0.0.1:0', '--peer-addr', '127.0.0.1:0', '--admin-addr', '127.0.0.1:0'],
    ...['--admin-socket', adminSocket],
    ...[
      '--router-addr',
      `127.0.0.1:${routerPort}`,
      '--store',
      'directory',
      '--cache-dir',
      directory,
      '--shutdown-grace',
      '1s',
    ],
    ...(hasSecret ? ['--cluster-secret-file', secretFile] : []),
    ...flags,
  ]
  const config = await resolveAddresses(readServeFlags(given))
  const lines: Record<string, unknown>[] = []
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString('utf8').split('\n'))
        if (line !== '') lines.push(JSON.parse(line) as Record<string, unknown>)
      done()
    },
  })
  const log = pino({ level: 'debug', serializers: { err: errorText } }, sink)
  const daemon = await startDaemon(config, log, { given: givenFlags(given) })
  const admin = `http://${daemon.summary.admin[0]}`
  return {
    mirror: `http://${daemon.summary.mirror[0]}`,
    peer: `http://${daemon.summary.peer[0]}`,
    id: daemon.summary.self.id,
    admin,
    adminSocket,
    router: `127.0.0.1:${routerPort}`,
    lines,
    requests: () => lines.filter((line) => line['msg'] === 'request' && line['listener'] === 'mirror'),
    status: async () =>
      (await (await fetch(`${admin}/api/v1/status`)).json()) as Awaited<ReturnType<TestDaemon['status']>>,
    stop: async () => {
      await daemon.stop()
      await rm(socketDirectory, { recursive: true, force: true })
      if (options.directory === undefined) await rm(directory, { recursive: true, force: true })
    },
  }
}

/** Parses flags as `nabo serve` does, and looks nothing up: what advertises no address advertises loopback. Throws commander's error. */
export function parseServeFlags(flags: readonly string[]): ServeConfig {
  const read = readServeFlags(flags)
  return onAdvertisedHosts(read, read.advertiseAddr)
}

/** The flags as commander reads them; throws its error. */
export function readServeFlags(flags: readonly string[]): ServeFlags {
  let values: Record<string, unknown> = {}
  const command = addServeFlags(new Command('serve'))
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .action((read: Record<string, unknown>) => {
      values = read
    })
  command.parse(flags, { from: 'user' })
  return serveFlagsOf(values)
}
