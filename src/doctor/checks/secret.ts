import { stat } from 'node:fs/promises'

import { readClusterSecrets } from '../../authentication/cluster-secret.ts'
import { openAddresses } from '../../config/open-addresses.ts'
import { listed } from '../listed.ts'
import { errorText } from '../../telemetry/log.ts'
import { type Check, error, ok, type Outcome, warning } from '../check.ts'
import type { Node } from '../node.ts'

/** Whether the cluster secret is one, is kept, and is that of the other nodes. Never says what it is. */
export const secretCheck: Check = {
  id: 'secret',
  title: 'cluster secret',
  async run(node) {
    const { clusterSecretFile: file } = node.settings
    if (file === undefined)
      return warning(
        openAddresses(node.settings).length > 0
          ? 'there is no cluster secret: every machine that reaches the peer and router ports can join and read what this node shares, and what other nodes say about tags is ignored'
          : 'there is no cluster secret: the peer and router listeners are on loopback, so this node gets nothing from other machines and gives them nothing',
        `head -c 32 /dev/urandom | base64 > <file>, chmod 600 <file>, and --cluster-secret-file <file> on every node`,
      )
    try {
      await readClusterSecrets(file)
    } catch (cause) {
      const { code } = ((cause as Error).cause ?? {}) as NodeJS.ErrnoException
      const fix =
        code === 'EACCES'
          ? `run Nabo as the owner of ${file}`
          : `write the secret of the other nodes into ${file}, or a new one everywhere`
      return error(errorText(cause), fix)
    }
    return (
      (await refused(node, file)) ??
      (await refusedOthers(node, file)) ??
      (await kept(file, node)) ??
      (await accepted(node, file))
    )
  },
}

async function refused(node: Node, file: string): Promise<Outcome | undefined> {
  const neighbours = (await node.neighbours()).map(({ address, answer, failure }) => ({
    address,
    refusal: answer === 'refused' ? failure : undefined,
  }))
  const first = [...(await node.secretProbes()), ...neighbours].find(({ refusal }) => refusal !== undefined)
  if (first === undefined) return undefined
  return error(
    `${first.address} refuses this node: ${first.refusal}`,
    `compare ${file} on the two nodes (sha256sum ${file}); restart Nabo where it was changed`,
  )
}

/** Nodes whose connections failed since the two have different secrets. A node that knows no other is probably the one to change. */
async function refusedOthers(node: Node, file: string): Promise<Outcome | undefined> {
  const daemon = await node.daemon()
  if (daemon.state !== 'running') return undefined
  const hosts = daemon.refusedNodes.flatMap(({ host, mismatch }) => (mismatch === 'secret' ? [host] : []))
  if (hosts.length === 0) return undefined
  const says = `${listed(hosts)} ${hosts.length === 1 ? 'has' : 'have'} another cluster secret than this node`
  const fix = `compare ${file} on both nodes (sha256sum ${file}); restart Nabo where it was changed`
  return daemon.peerCount === 0 ? error(`${says}, which knows no other node`, fix) : warning(says, fix)
}

/** In a pod the mode is that of the mounted volume, where nobody else is. */
async function kept(file: string, node: Node): Promise<Outcome | undefined> {
  const { mode } = await stat(file)
  if (node.isContained || (mode & 0o007) === 0) return undefined
  const may = (mode & 0o002) === 0 ? 'read' : 'change'
  return warning(`every user of this node can ${may} the cluster secret`, `chmod 600 ${file}`)
}

async function accepted(node: Node, file: string): Promise<Outcome> {
  const probes = await node.secretProbes()
  const daemon = await node.daemon()
  if (probes.some(({ refusal }) => refusal === undefined)) return ok(`the secret in ${file} is that of the other nodes`)
  if (daemon.state === 'running' && daemon.peerCount > 0)
    return ok(`the secret in ${file} let this node into the cluster`)
  return ok(`there is a secret in ${file}; no other node has been met yet`)
}
