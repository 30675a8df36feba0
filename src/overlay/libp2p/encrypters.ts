import { hkdfSync } from 'node:crypto'

import { type NoiseComponents, noise } from '@chainsafe/libp2p-noise'
import type { ConnectionEncrypter } from '@libp2p/interface'

type EncrypterFactory = (components: NoiseComponents) => ConnectionEncrypter

/**
 * Noise for each overlay key, the preferred one first. The key goes into the prologue, so that no one without it gets
 * through the handshake, and a hash of it into the protocol's name: nodes that share any of their keys settle on it, and
 * strangers part before they handshake. Without keys it is plain noise, open to everybody.
 */
export function noiseEncrypters(keys: readonly Uint8Array[] | undefined): EncrypterFactory[] {
  if (keys === undefined || keys.length === 0) return [noise()]
  return keys.map((key) => (components) => {
    const encrypter = noise({ prologueBytes: derive(key, 'nabo noise prologue', 32) })(components)
    encrypter.protocol = `/noise/nabo/${Buffer.from(derive(key, 'nabo noise protocol', 8)).toString('hex')}`
    return encrypter
  })
}

function derive(key: Uint8Array, purpose: string, length: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, '', purpose, length))
}
