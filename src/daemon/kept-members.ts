import { join } from 'node:path'

import { z } from 'zod'

import { makeDirectories } from '../files/make-directories.ts'
import { parseRouter } from '../overlay/libp2p/addresses.ts'
import { MAX_REMEMBERED } from '../overlay/libp2p/remembered-routers.ts'
import { StateFile } from '../store/state-file.ts'
import { errorText, type Log } from '../telemetry/log.ts'
import { second } from '../time/units.ts'

const FILE = 'members.json'
/** The admin socket may be in the same directory, and other users may see that it is there. */
const DIRECTORY_MODE = 0o755
/** 128 multiaddrs of at most 128 characters, and some room. */
const MAX_BYTES = 32 * 1024
/** Throttle: a rollout changes the members every second. */
const WRITE_DELAY = 5 * second

const documentSchema = z.object({ version: z.literal(1), routers: z.array(z.unknown()) })

/** The router addresses of the latest members, in a file. */
export interface KeptMembers {
  /** The multiaddrs that the last process left, the latest first. */
  readonly routers: readonly string[]
  /** Keeps another list. Returns at once; a failed write is logged. */
  save(routers: readonly string[]): void
  /** Writes what is pending. */
  stop(): Promise<void>
}

/**
 * Keeps the addresses of members in a directory, so that a daemon which restarts while the bootstrap source is down joins its cluster again.
 * Without a directory, or with one that cannot be used, nothing is kept: the node works all the same.
 */
export async function keepMembers(directory: string | undefined, log: Pick<Log, 'warn'>): Promise<KeptMembers> {
  if (directory === undefined) return { routers: [], save: () => {}, stop: async () => {} }
  const path = join(directory, FILE)
  const file = new StateFile({
    path,
    temporaryPath: `${path}.new`,
    mode: 0o600,
    maxBytes: MAX_BYTES,
    parse: parseKept,
    what: 'list of members',
    loss: 'other nodes are found by --bootstrap alone',
    log,
  })
  let routers: readonly string[] = []
  try {
    await makeDirectories(directory, { mode: DIRECTORY_MODE })
    routers = (await file.read()) ?? []
  } catch (error) {
    log.warn(
      { err: errorText(error), path },
      'the list of members cannot be read: other nodes are found by --bootstrap',
    )
  }
  return {
    routers,
    save: (list) => file.saveWithin(WRITE_DELAY, () => JSON.stringify({ version: 1, routers: keptOf(list) })),
    stop: () => file.flush(),
  }
}

/** Parses the file's text; undefined if it is not a document of this version. Invalid addresses are skipped. */
function parseKept(text: string): readonly string[] | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  const routers = documentSchema.safeParse(json).data?.routers
  return routers && keptOf(routers)
}

/** What the file holds of a list, at most 17 KiB: the same rows are written as are read. */
function keptOf(rows: readonly unknown[]): readonly string[] {
  const routers = rows.flatMap((row) => (typeof row === 'string' ? (parseRouter(row) ?? []) : []))
  return routers.slice(0, MAX_REMEMBERED).map(String)
}
