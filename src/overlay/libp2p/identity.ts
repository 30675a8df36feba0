import { randomUUID } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'

import { makeDirectories } from '../../files/make-directories.ts'

const FILE = 'identity.key'

/**
 * The key that a node's peer id comes from: kept in `directory`, made there on the first start; a new one each time without
 * a directory. Throws an Error of one sentence if the file or its directory cannot be used, or if the file is damaged and not `replaceable`.
 */
export async function loadIdentity(
  directory: string | undefined,
  { replaceable = false }: { replaceable?: boolean } = {},
): Promise<Ed25519PrivateKey> {
  if (directory === undefined) return generateKeyPair('Ed25519')
  const file = join(directory, FILE)
  const bytes = await read(file)
  const kept = bytes && decode(bytes)
  if (kept !== undefined) return kept
  if (bytes !== undefined && !replaceable)
    throw new Error(`the identity in ${file} is damaged: restore the file, or delete it to get a new identity`)
  const key = await generateKeyPair('Ed25519')
  await write(directory, file, privateKeyToProtobuf(key))
  return key
}

async function read(file: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(file)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new Error(`cannot read the identity in ${file}${whyNot(error)}`, { cause: error })
  }
}

/** undefined for bytes that are no Ed25519 key. */
function decode(bytes: Uint8Array): Ed25519PrivateKey | undefined {
  try {
    const key = privateKeyFromProtobuf(bytes)
    return key.type === 'Ed25519' ? key : undefined
  } catch {
    return undefined
  }
}

/** Either the whole key is in place afterwards or nothing is, whatever happens meanwhile. */
async function write(directory: string, file: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${file}.${randomUUID()}`
  try {
    await makeDirectories(directory, { mode: 0o700 })
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw new Error(`cannot keep the identity in ${file}${whyNot(error)}`, { cause: error })
  }
}

function whyNot(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
    ? ` (run Nabo as root, or set --data-dir to a directory that this user may write): ${code}`
    : `: ${message}`
}
