import type { Command } from 'commander'

import { type PeerAnswer, peers as peersCall } from '../contracts/admin/peers.ts'
import type { RefusedNodeAnswer } from '../contracts/admin/refused-node.ts'
import { type AdminFlags, adminSocketOption, adminUrlOption, withAdmin } from './admin-flags.ts'
import { EXIT } from './exit.ts'
import { jsonFlag } from './flags.ts'
import { printable } from './printable.ts'
import { printJson, runCommand } from './run-command.ts'
import { table } from './table.ts'

interface Values extends AdminFlags {
  readonly json?: boolean
}

/** Adds `nabo peers`: the other nodes as this one sees them. */
export function addPeers(program: Command): void {
  program
    .command('peers')
    .description('the other nodes, as the daemon of this one sees them')
    .allowExcessArguments(false)
    .addOption(adminSocketOption())
    .addOption(adminUrlOption())
    .addOption(jsonFlag())
    .action((values: Values) =>
      runCommand(async (signal) => {
        const answer = await withAdmin(values, (admin) => admin.call(peersCall, {}, { signal }))
        if (values.json === true) printJson(answer)
        else process.stdout.write(peersText(answer.peers, answer.refusedNodes))
        return EXIT.ok
      }),
    )
}

/** For people. */
export function peersText(peers: readonly PeerAnswer[], refused: readonly RefusedNodeAnswer[] = []): string {
  if (peers.length === 0) return `No other node is known.\n${refusedText(refused)}`
  const sorted = peers.toSorted((a, b) => a.address.localeCompare(b.address, 'en', { numeric: true }))
  const rows = sorted.map((peer) => [
    peer.address,
    peer.zone ?? '-',
    healthOf(peer),
    peer.roundTripMs === undefined ? '-' : `${peer.roundTripMs.toFixed(1)} ms`,
    syncOf(peer),
    peer.transfers === undefined ? '-' : `${peer.transfers}`,
    peer.version ?? '-',
    peer.id,
  ])
  const right = (title: string) => ({ title, align: 'right' as const })
  const columns = ['ADDRESS', 'ZONE', 'HEALTH', right('ROUND TRIP'), 'IN SYNC', right('FETCHES'), 'VERSION', 'ID']
  return `${table(columns, rows)}${sorted.map(findingsText).join('')}${refusedText(refused)}`
}

/** The nodes that are no members, with what differs; nothing if there are none. */
function refusedText(refused: readonly RefusedNodeAnswer[]): string {
  const lines = refused.map(({ host, mismatch }) =>
    mismatch === 'secret'
      ? `${host} has another cluster secret than this node: compare the files of --cluster-secret-file (sha256sum)`
      : `${host} speaks another version of the protocol between nodes: run the same version of Nabo on both`,
  )
  return lines.length === 0 ? '' : `\n${lines.join('\n')}\n`
}

function healthOf({ findings, isFailing }: PeerAnswer): string {
  const worst = findings[0]?.level
  if (worst !== undefined) return worst
  return isFailing ? 'failed lately' : 'well'
}

/** Its findings with what to change, below a line with its address; nothing if there are none. */
function findingsText({ address, findings }: PeerAnswer): string {
  if (findings.length === 0) return ''
  const lines = findings.flatMap(({ level, says, seenBy, fix }) => [
    `  ${level}: ${printable(says)}${seenBy === undefined ? '' : ' (it reports)'}`,
    ...(fix === undefined ? [] : [`    fix: ${fix}`]),
  ])
  return `\n${address}\n${lines.join('\n')}\n`
}

/** Both directions: the peer's knowledge of this node, and this node's of the peer. */
function syncOf({ knowsUs, isHeard }: PeerAnswer): string {
  if (knowsUs !== false && isHeard) return 'yes'
  if (knowsUs === false && !isHeard) return 'no'
  return isHeard ? 'it lacks some of ours' : 'we lack some of its'
}
