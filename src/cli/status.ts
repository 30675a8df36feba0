import type { Command } from 'commander'

import { type StatusAnswer, status as statusCall } from '../contracts/admin/status.ts'
import { type AdminFlags, adminSocketOption, adminUrlOption, withAdmin } from './admin-flags.ts'
import { counted, formatBytes, formatDuration, formatShare } from './amounts.ts'
import { EXIT } from './exit.ts'
import { jsonFlag } from './flags.ts'
import { printJson, runCommand } from './run-command.ts'
import { fields, table } from './table.ts'

interface Values extends AdminFlags {
  readonly json?: boolean
}

const MAX_TRANSFERS = 10
const SHORT_DIGEST = 'sha256:'.length + 12

/** Adds `nabo status`: what the daemon of this node is and does. Exit code 1 if it is not ready. */
export function addStatus(program: Command): void {
  program
    .command('status')
    .description('what the daemon of this node is and does')
    .allowExcessArguments(false)
    .addOption(adminSocketOption())
    .addOption(adminUrlOption())
    .addOption(jsonFlag())
    .action((values: Values) =>
      runCommand(async (signal) => {
        const status = await withAdmin(values, (admin) => admin.call(statusCall, {}, { signal }))
        if (values.json === true) printJson(status)
        else process.stdout.write(statusText(status, Date.now()))
        return status.ready ? EXIT.ok : EXIT.failed
      }),
    )
}

/** For people. `now` is in milliseconds since the epoch. */
export function statusText(status: StatusAnswer, now: number): string {
  const transfers = transferTable(status, now)
  return `${fields([
    ['version', `Nabo ${status.version}, running for ${formatDuration(now - Date.parse(status.startedAt))}`],
    ['ready', status.ready ? 'yes' : `no: ${status.reasons.join('; ')}`],
    ...findingFields(status),
    ['node', `${status.self.address}${status.zone === undefined ? '' : ` in zone ${status.zone}`}, ${status.self.id}`],
    ['content', contentText(status)],
    ...mirroredFields(status),
    ...listenerFields(status),
    ['cluster', clusterText(status)],
    ['index', indexText(status)],
    ...status.quotas.map((quota): [string, string] => ['quota', quotaText(quota, now)]),
    ['delivered', deliveredText(status)],
    ['saved', savedText(status)],
    ['transfers', status.transferCount === 0 ? 'none' : `${status.transferCount}`],
  ])}${transfers}`
}

/** What `nabo doctor` shows with the lines to change. */
function findingFields({ findings }: StatusAnswer): [string, string][] {
  return findings.map(({ level, title, says }) => [level, `${title}: ${says}`])
}

function contentText({ store, blobs, content }: StatusAnswer): string {
  const limit = content.maxBytes === undefined ? '' : ` of ${formatBytes(content.maxBytes)}`
  const where = store === 'containerd' ? `containerd at ${content.place}` : `the directory ${content.place}`
  return `${counted(blobs, 'blob')}, ${formatBytes(content.bytes)}${limit}, in ${where}`
}

/** Only where the flags leave something out. */
function mirroredFields({ mirrored }: StatusAnswer): [string, string][] {
  if (mirrored === undefined) return []
  const { registries, include, exclude } = mirrored
  const of = typeof registries === 'string' ? `${registries} registries` : registries.join(', ')
  const only = include.length === 0 ? '' : `; only ${include.join(', ')}`
  const without = exclude.length === 0 ? '' : `; without ${exclude.join(', ')}`
  return registries === 'all' && only === '' && without === '' ? [] : [['mirrors', `${of}${only}${without}`]]
}

function listenerFields({ mirror, peer, router, admin, adminSocket, metrics }: StatusAnswer): [string, string][] {
  const socket = [adminSocket ?? 'none: this daemon takes no commands']
  const all = { mirror, 'peer listener': peer, router, admin, 'admin socket': socket, metrics }
  return Object.entries(all).flatMap(([name, addresses]): [string, string][] =>
    addresses.length === 0 ? [] : [[name, addresses.join(', ')]],
  )
}

function clusterText({ peers, hasSecret }: StatusAnswer): string {
  const others = peers === 0 ? 'no other node' : counted(peers, 'other node')
  return `${others}${hasSecret ? '' : '; no cluster secret: what other nodes say about tags is ignored'}`
}

function indexText({ index }: StatusAnswer): string {
  const told = index.peersFed === 0 ? '' : `, told to ${index.peersInSync} of ${counted(index.peersFed, 'node')}`
  const heard = index.members === 0 ? '' : `; ${index.membersHeard} of ${index.members} heard in full`
  return `${counted(index.ownKeys, 'key')} of this node${told}${heard}`
}

function quotaText(quota: StatusAnswer['quotas'][number], now: number): string {
  const ends = quota.endsAt === undefined ? Number.NaN : Date.parse(quota.endsAt) - now
  const until = Number.isNaN(ends)
    ? ''
    : ends > 0
      ? `; its window ends in ${formatDuration(ends)} at the latest`
      : '; its window is over'
  const age = formatDuration(now - Date.parse(quota.asOf))
  return `${quota.registry}: ${quota.remaining} of ${quota.limit} pulls left for ${quota.source}, heard ${age} ago${until}`
}

function deliveredText({ delivered: { local, peer, upstream, toPeers } }: StatusAnswer): string {
  const all = local + peer + upstream
  const shares =
    all === 0
      ? ''
      : `: ${formatBytes(local)} from this node, ${formatBytes(peer)} from neighbours, ${formatBytes(upstream)} from upstream`
  return `${formatBytes(all)} to clients${shares}; ${formatBytes(toPeers)} to neighbours`
}

function savedText({ delivered: { local, peer, upstream } }: StatusAnswer): string {
  const saved = local + peer
  return `${formatBytes(saved)} that no registry had to send (${formatShare(saved, saved + upstream)})`
}

function transferTable({ transfers, transferCount }: StatusAnswer, now: number): string {
  if (transfers.length === 0) return ''
  const rows = transfers
    .slice(0, MAX_TRANSFERS)
    .map(({ digest, repository = '', position, size, source, since }) => [
      digest.slice(0, SHORT_DIGEST),
      repository,
      source?.name ?? '(looking for a source)',
      formatBytes(position),
      size === undefined ? '' : formatShare(position, size),
      formatDuration(now - Date.parse(since)),
    ])
  const more = transferCount > rows.length ? `and ${transferCount - rows.length} more\n` : ''
  const columns = ['BLOB', 'REPOSITORY', 'FROM', { title: 'BYTES', align: 'right' }, { title: 'DONE', align: 'right' }]
  return `\n${table([...(columns as Parameters<typeof table>[0]), { title: 'FOR', align: 'right' }], rows)}${more}`
}
