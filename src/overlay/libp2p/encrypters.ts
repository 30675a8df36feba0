import { hkdfSync } from 'node:crypto'

import { type NoiseComponents, noise } from '@chainsafe/libp2p-noise'
import type { ConnectionEncrypter, MessageStream, MultiaddrConnection } from '@libp2p/interface'

import { WIRE_VERSION } from '../../membership/wire-version.ts'
import { second } from '../../time/units.ts'
import { canonicalHost } from '../host-port.ts'
import type { Mismatch, RefusedNode } from '../refused-nodes.ts'

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

/** The node that dialled needs a round trip to read the name of the protocol, which an abort at once could discard. */
const READING_TIME = 1 * second

/**
 * Protocols that two nodes of Nabo agree on only if they share no {@link noiseEncrypters}: the name says what differs. Both report it, and then
 * the connection fails as it would without these. They go behind the noise protocols.
 */
export function mismatchEncrypters(
  report: (refused: RefusedNode) => void,
  version = WIRE_VERSION,
): (() => ConnectionEncrypter)[] {
  return [
    () => mismatchEncrypter(`/nabo/other-secret/${version}`, 'secret', report),
    () => mismatchEncrypter('/nabo/other-version', 'version', report),
  ]
}

function mismatchEncrypter(
  protocol: string,
  mismatch: Mismatch,
  report: (refused: RefusedNode) => void,
): ConnectionEncrypter {
  const refuse = (connection: MessageStream): never => {
    const host = remoteHost(connection)
    if (host !== undefined) report({ host, mismatch })
    throw new Error(
      mismatch === 'secret' ? 'the node has another cluster secret' : 'the node speaks another version of the protocol',
    )
  }
  return {
    protocol,
    secureOutbound: async (connection) => refuse(connection),
    secureInbound: async (connection) => {
      await closedBy(connection, READING_TIME)
      return refuse(connection)
    },
  }
}

/** Resolves when the connection is closed, or after so many milliseconds. */
async function closedBy(connection: MessageStream, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  connection.addEventListener('close', () => resolve(), { once: true })
  connection.addEventListener('remoteCloseWrite', () => resolve(), { once: true })
  await promise
  clearTimeout(timer)
}

/** The encrypter gets the connection itself, since nothing wraps it before the encryption. */
function remoteHost(connection: MessageStream & Partial<Pick<MultiaddrConnection, 'remoteAddr'>>): string | undefined {
  const address = connection.remoteAddr?.getComponents().find(({ name }) => name === 'ip4' || name === 'ip6')?.value
  return address === undefined ? undefined : canonicalHost(address)
}

function encrypter(protocol: string, prologueBytes: Uint8Array): EncrypterFactory {
  return (components) => Object.assign(noise({ prologueBytes })(components), { protocol })
}

function derive(key: Uint8Array, purpose: string, length: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, '', purpose, length))
}
