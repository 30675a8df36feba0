import type { Ed25519PrivateKey } from '@libp2p/interface'

import type { ClusterKeys } from '../authentication/cluster-secret.ts'
import { KnownMembers } from '../authentication/known-members.ts'
import { NO_SECRET, PairKeys } from '../authentication/pair-keys.ts'
import { gateKey } from '../authentication/proofs.ts'
import { RequestSigner } from '../authentication/request-signer.ts'
import { RequestVerifier } from '../authentication/request-verifier.ts'
import { LocalMember } from '../membership/local-member.ts'
import type { MemberRecord } from '../membership/member-record.ts'
import { NodeIdentity } from '../membership/node-identity.ts'
import type { Log } from '../telemetry/log.ts'
import { JoinSignatures } from '../peers/join-signatures.ts'

/** The parts that prove this node's messages, and check those of other members. */
export interface Authentication {
  readonly local: LocalMember
  readonly members: KnownMembers
  readonly signer: RequestSigner
  readonly verifier: RequestVerifier
  readonly joins: JoinSignatures
}

/**
 * Builds the proofs of this node from its identity. `secrets`: the current one first; undefined in a cluster without a secret. `about`: the
 * addresses, zone and version for this node's record.
 */
export function createAuthentication(
  privateKey: Ed25519PrivateKey,
  secrets: readonly ClusterKeys[] | undefined,
  about: Pick<MemberRecord, 'addresses' | 'zone' | 'version'>,
  log: Pick<Log, 'warn'>,
): Authentication {
  const identity = new NodeIdentity(privateKey)
  const local = new LocalMember(identity, about)
  const members = new KnownMembers({ local, log })
  const peerKeys = secrets?.map((secret) => secret.peer) ?? [NO_SECRET]
  const keys = new PairKeys(identity, peerKeys)
  const gates = peerKeys.map(gateKey)
  return {
    local,
    members,
    signer: new RequestSigner({ local, keys, gate: gateKey(peerKeys[0] ?? NO_SECRET), members }),
    verifier: new RequestVerifier({ local, keys, gates, members }),
    joins: new JoinSignatures(identity),
  }
}
