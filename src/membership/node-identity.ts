import {
  type KeyObject,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  sign as signEd25519,
  verify as verifyEd25519,
} from 'node:crypto'

import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { ed25519 } from '@noble/curves/ed25519.js'

// DER of the RFC 8410 key formats, up to the 32 bytes of the key.
const ED25519_PRIVATE = Buffer.from('302e020100300506032b657004220420', 'hex')
const ED25519_PUBLIC = Buffer.from('302a300506032b6570032100', 'hex')
const X25519_PRIVATE = Buffer.from('302e020100300506032b656e04220420', 'hex')
const X25519_PUBLIC = Buffer.from('302a300506032b656e032100', 'hex')
const KEY_BYTES = 32

/** The Ed25519 key pair of this node. Its public key is the node's id. */
export class NodeIdentity {
  /** The libp2p peer id. */
  readonly id: string
  readonly #signing: KeyObject
  readonly #agreeing: KeyObject

  constructor(privateKey: Ed25519PrivateKey) {
    const seed = privateKey.raw.subarray(0, KEY_BYTES)
    this.id = peerIdFromPrivateKey(privateKey).toString()
    this.#signing = privateKeyOf(ED25519_PRIVATE, seed)
    this.#agreeing = privateKeyOf(X25519_PRIVATE, ed25519.utils.toMontgomerySecret(seed))
  }

  /** The Ed25519 signature of some bytes. */
  sign(bytes: Uint8Array): Buffer {
    return signEd25519(null, bytes, this.#signing)
  }

  /**
   * The X25519 secret that only this node and the node `id` can compute: 32 bytes. undefined if the id is no Ed25519 peer id, or its key is
   * a point of small order, for which anybody could compute it.
   */
  agree(id: string): Buffer | undefined {
    try {
      const point = ed25519.utils.toMontgomery(publicKeyOf(id))
      return diffieHellman({ privateKey: this.#agreeing, publicKey: publicKeyFrom(X25519_PUBLIC, point) })
    } catch {
      return undefined
    }
  }
}

/** Whether the node `id` has signed some bytes. False for an id that is no Ed25519 peer id. */
export function hasSigned(id: string, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verifyEd25519(null, bytes, publicKeyFrom(ED25519_PUBLIC, publicKeyOf(id)), signature)
  } catch {
    return false
  }
}

function publicKeyOf(id: string): Uint8Array {
  const { publicKey } = peerIdFromString(id)
  if (publicKey?.type !== 'Ed25519') throw new Error(`${id} is no Ed25519 peer id`)
  return publicKey.raw
}

function privateKeyOf(prefix: Uint8Array, key: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([prefix, key]), format: 'der', type: 'pkcs8' })
}

function publicKeyFrom(prefix: Uint8Array, key: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([prefix, key]), format: 'der', type: 'spki' })
}
