import { join } from 'node:path'

import { z } from 'zod'

import type { PublicProofs } from '../delivery/access/public-proofs.ts'
import type { KeptRepository } from '../delivery/access/public-record.ts'
import { parseDigest } from '../oci/digest.ts'
import { parseRepositoryKey, repositoryKey } from '../oci/reference.ts'
import { StateFile } from '../store/state-file.ts'
import type { Log } from '../telemetry/log.ts'
import { hour, second } from '../time/units.ts'

const FILE = 'proofs.json'
/** Cap on contents, and on repositories: a few megabytes at most. */
const MAX_KEPT = 10_000
/** Throttle: one write covers all changes within this time. */
const WRITE_DELAY = 5 * second
/** For times in the future (the clock was set back): old enough to ask the registry again, valid while it is unreachable. */
const UNKNOWN_AGE = 24 * hour

const documentSchema = z.object({ version: z.literal(1), repositories: z.array(z.unknown()) })
const repositorySchema = z.object({
  repository: z.string(),
  /** Milliseconds since the epoch. */
  asOf: z.number(),
  contents: z.record(z.string(), z.number()).default({}),
})

/**
 * Keeps registries' public answers in a file under `--data-dir`, so that a node that restarts during a registry outage still serves
 * public content. Losing the file costs only HEAD requests. Returns its stop function, which writes pending changes.
 */
export async function keepProofs(
  dataDir: string | undefined,
  proofs: Pick<PublicProofs, 'kept' | 'restore' | 'onChange'>,
  log: Pick<Log, 'warn'>,
): Promise<() => Promise<void>> {
  if (dataDir === undefined) return async () => {}
  const path = join(dataDir, FILE)
  const file = new StateFile({
    path,
    temporaryPath: `${path}.new`,
    parse: parseKept,
    what: "record of registries' public answers",
    loss: 'registries are asked again',
    log,
  })
  try {
    proofs.restore((await file.read()) ?? [])
  } catch (err) {
    log.warn({ err, path }, "the record of registries' public answers cannot be read: registries are asked again")
  }
  proofs.onChange(() => file.saveWithin(WRITE_DELAY, () => textOf(proofs.kept(MAX_KEPT))))
  return async () => {
    proofs.onChange(() => {})
    await file.flush()
  }
}

function textOf(kept: readonly KeptRepository[]): string {
  const now = Date.now()
  const repositories = kept.map(({ repository, age, contents }) => ({
    repository: repositoryKey(repository),
    asOf: Math.round(now - age),
    contents: Object.fromEntries(contents.map(({ digest, age }) => [digest, Math.round(now - age)])),
  }))
  return JSON.stringify({ version: 1, repositories })
}

/** Parses the file's text; undefined if it is not a document of this version. Invalid rows are skipped. */
function parseKept(text: string): readonly KeptRepository[] | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  const now = Date.now()
  const ageOf = (asOf: number) => (asOf > now ? UNKNOWN_AGE : now - asOf)
  return documentSchema
    .safeParse(json)
    .data?.repositories.slice(0, MAX_KEPT)
    .flatMap((raw) => {
      const row = repositorySchema.safeParse(raw).data
      const repository = parseRepositoryKey(row?.repository ?? '')
      if (row === undefined || repository === undefined) return []
      const contents = Object.entries(row.contents)
        .slice(0, MAX_KEPT)
        .filter(([digest]) => parseDigest(digest) !== undefined)
        .map(([digest, asOf]) => ({ digest, age: ageOf(asOf) }))
      return [{ repository, age: ageOf(row.asOf), contents }]
    })
}
