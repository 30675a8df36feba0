import { hkdfSync } from 'node:crypto'

import { type NoiseComponents, noise } from '@chainsafe/libp2p-noise'
import type { ConnectionEncrypter } from '@libp2p/interface'

import { WIRE_VERSION } from '../../membership/wire-version.ts'

type EncrypterFactory = (components: NoiseComponents) => ConnectionEncrypter

/**
 * Noise for each overlay key, the preferred one first. The key is in the prologue, so that no handshake succeeds without it. A hash of the key
 * and the wire version are in the name of the protocol: nodes that share any of their keys agree on it, and strangers and nodes of another
 * version part before the handshake. Without keys everybody of this version can join.
 */
export function noiseEncrypters(keys: readonly Uint8Array[] | undefined, version = WIRE_VERSION): EncrypterFactory[] {
  const named = `/noise/nabo/${version}`
  if (keys === undefined || keys.length === 0) return [encrypter(named, new Uint8Array())]
  return keys.map((key) => {
    const hash = Buffer.from(derive(key, 'nabo noise protocol', 8)).toString('hex')
    return encrypter(`${named}/${hash}`, derive(key, 'nabo noise prologue', 32))
  })
}

function encrypter(protocol: string, prologueBytes: Uint8Array): EncrypterFactory {
  return (components) => Object.assign(noise({ prologueBytes })(components), { protocol })
}

function derive(key: Uint8Array, purpose: string, length: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, '', purpose, length))
}
