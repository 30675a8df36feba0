import type { Command } from 'commander'

import { second } from '../time/units.ts'
import { type FindAnswer, type FoundContentAnswer, find as findCall } from '../contracts/admin/find.ts'
import { type AdminFlags, adminSocketOption, adminUrlOption, withAdmin } from './admin-flags.ts'
import { counted, formatBytes, formatDuration, formatShare } from './amounts.ts'
import { EXIT } from './exit.ts'
import { jsonFlag, platformFlag } from './flags.ts'
import { printJson, runCommand } from './run-command.ts'
import { switchFlag } from './runtime-flags.ts'
import { fields, table } from './table.ts'

interface Values extends AdminFlags {
  readonly json?: boolean
  readonly platform?: string
  readonly upstream?: boolean
  readonly full?: boolean
}

/** The daemon gives up after 25 s. */
const TIMEOUT = 30 * second
const SHORT_DIGEST = 'sha256:'.length + 12
/** Names of nodes in one cell. */
const MAX_NAMED = 5

const ABOUT = `
What the tag names is asked as for a pull: of the registry (a HEAD, which costs no quota), else of the nodes. Manifests are read only
where a node of the cluster holds them; --upstream fetches one that nobody has, and registries count that as a pull.
Private images are found too: only the user of the daemon may open its socket. With --admin-url only public images are found.
Exit code 1 if some of it is held by no node.`

/** Adds `nabo find`: which nodes hold an image, content by content. */
export function addFind(program: Command): void {
  program
    .command('find')
    .description('which nodes hold an image or a digest, layer by layer')
    .argument('<image or digest>', 'such as alpine, ghcr.io/org/app:1, sha256:…')
    .allowExcessArguments(false)
    .addOption(adminSocketOption())
    .addOption(adminUrlOption())
    .addOption(platformFlag())
    // No environment variable: NABO_UPSTREAM is a flag of `nabo serve`, and a variable of a shell must not spend a quota.
    .option('--upstream', 'ask the registry for a manifest that no node holds: it may count that as a pull')
    .addOption(switchFlag('--full', 'digests and names of nodes in full'))
    .addOption(jsonFlag())
    .addHelpText('after', ABOUT)
    .action((reference: string, values: Values) =>
      runCommand(async (signal) => {
        const answer = await ask(reference, values, signal)
        if (values.json === true) printJson(answer)
        else process.stdout.write(findText(answer, { now: Date.now(), full: values.full === true }))
        return isAllHeld(answer) ? EXIT.ok : EXIT.failed
      }),
    )
}

function ask(reference: string, values: Values, signal: AbortSignal): Promise<FindAnswer> {
  const { platform, upstream = false } = values
  const query = { reference, platform, ...(upstream ? { upstream: 'true' } : {}) }
  return withAdmin(values, (admin) => admin.call(findCall, { query }, { signal, timeout: TIMEOUT }))
}

function isAllHeld({ contents, problem }: FindAnswer): boolean {
  return problem === undefined && contents.every(({ here, holders }) => here === true || holders.length > 0)
}

/** For people. `now` is in milliseconds since the epoch. */
export function findText(answer: FindAnswer, options: { now: number; full: boolean }): string {
  const { reference, digest, resolved, platform, contents, bytes, problem, silent } = answer
  const heading = fields([
    ['image', reference],
    ...(digest === undefined || digest === reference ? [] : ([['digest', digest]] as const)),
    ...(resolved === undefined ? [] : ([['tag', resolvedText(resolved, options.now)]] as const)),
    ...(platform === undefined ? [] : ([['platform', platform]] as const)),
    ['total', `${counted(contents.length, 'content')}, ${formatBytes(bytes)}`],
    ...(problem === undefined ? [] : ([['problem', problem]] as const)),
  ])
  const rows = contents.map((content, at) => [
    nameOf(content, contents, at),
    options.full ? content.digest : content.digest.slice(0, SHORT_DIGEST),
    content.size === undefined ? '?' : formatBytes(content.size),
    holdersText(content, options),
    arrivingText(content, options),
  ])
  const columns = ['WHAT', 'DIGEST', { title: 'SIZE', align: 'right' as const }, 'HELD BY', 'ARRIVING AT']
  const note =
    silent === 0 ? '' : `\n${counted(silent, 'node')} did not say what ${silent === 1 ? 'it fetches' : 'they fetch'}.\n`
  return `${heading}\n${table(columns, rows)}${note}`
}

function resolvedText({ source, peer, asOf }: NonNullable<FindAnswer['resolved']>, now: number): string {
  const who =
    source === 'local'
      ? 'this node knows it'
      : source === 'peer'
        ? `from ${peer ?? 'another node'}`
        : 'from the registry'
  return `${who}, as of ${formatDuration(now - asOf)} ago`
}

/** Layers are counted, the lowest first. */
function nameOf({ kind }: FoundContentAnswer, all: readonly FoundContentAnswer[], at: number): string {
  if (kind !== 'layer') return kind
  const layers = all.filter((other) => other.kind === 'layer')
  return `layer ${all.slice(0, at).filter((other) => other.kind === 'layer').length + 1}/${layers.length}`
}

function holdersText({ here, holders, complete }: FoundContentAnswer, { full }: { full: boolean }): string {
  const others = holders.map(({ address }) => address).toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  const names = [...(here === true ? ['this node'] : []), ...others]
  const unsure = here === undefined || !complete
  // "No node holds it" and "no node could be asked" differ.
  if (names.length === 0) return unsure ? 'unknown' : 'nobody'
  const shown = full ? names : names.slice(0, MAX_NAMED)
  const more = names.length > shown.length ? [`${names.length - shown.length} more`] : []
  return `${[...shown, ...more].join(', ')}${unsure ? ', perhaps others' : ''}`
}

function arrivingText({ arriving }: FoundContentAnswer, { full }: { full: boolean }): string {
  const names = arriving.map(({ address, self, position, size, from }) => {
    const share = size === undefined ? formatBytes(position) : formatShare(position, size)
    return `${self ? 'this node' : address} (${share}${from === undefined ? '' : ` from ${from}`})`
  })
  const shown = full ? names : names.slice(0, MAX_NAMED)
  return [...shown, ...(names.length > shown.length ? [`${names.length - shown.length} more`] : [])].join(', ')
}
