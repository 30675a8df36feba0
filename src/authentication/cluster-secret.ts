import { hkdfSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'

/** Keys derived from one cluster secret, 32 bytes each: a leak of one says nothing about the others. */
export interface ClusterKeys {
  /** Goes into the overlay's handshake. */
  readonly overlay: Uint8Array
  /** Proves requests to a peer listener. */
  readonly peer: Uint8Array
}

const MIN_SECRET_LENGTH = 16
const MAX_SECRET_FILE_BYTES = 4096

/**
 * Reads a cluster secret file: one secret a line, the current one first; a second one is accepted too while a rotation lasts.
 * Throws an Error with one sentence for the operator.
 */
export async function readClusterSecrets(path: string): Promise<readonly ClusterKeys[]> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const advice =
      code === 'EACCES' ? ' (run Nabo as root, or let this user read the file of --cluster-secret-file)' : ''
    throw new Error(`the cluster secret file ${path} cannot be read${advice}: ${code}`, { cause })
  }
  const secrets = text
    .slice(0, MAX_SECRET_FILE_BYTES + 1)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  if (secrets.length === 0 || secrets.length > 2) {
    throw new Error(
      `the cluster secret file ${path} must hold one secret, or two during a rotation; it holds ${secrets.length}`,
    )
  }
  if (text.length > MAX_SECRET_FILE_BYTES || secrets.some((secret) => secret.length < MIN_SECRET_LENGTH)) {
    throw new Error(
      `each secret in ${path} must have at least ${MIN_SECRET_LENGTH} characters, and the file at most 4 KiB`,
    )
  }
  return secrets.map(deriveKeys)
}

export function deriveKeys(secret: string): ClusterKeys {
  const derive = (purpose: string) => new Uint8Array(hkdfSync('sha256', secret, 'nabo', purpose, 32))
  return { overlay: derive('overlay v1'), peer: derive('peer listener v1') }
}
