import { randomUUID } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'

import { makeDirectories } from '../../files/make-directories.ts'

const FILE = 'identity.key'

/**
 * The key that a node's peer id comes from: kept in `dataDir`, made there on the first start; a new one each time without
 * a directory. Throws an Error of one sentence if the file or its directory cannot be used.
 */
export async function loadIdentity(dataDir: string | undefined): Promise<Ed25519PrivateKey> {
  if (dataDir === undefined) return generateKeyPair('Ed25519')
  const file = join(dataDir, FILE)
  const bytes = await read(file)
  if (bytes !== undefined) return decode(bytes, file)
  const key = await generateKeyPair('Ed25519')
  await write(dataDir, file, privateKeyToProtobuf(key))
  return key
}

async function read(file: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(file)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new Error(`cannot read the identity in ${file}: ${messageOf(error)}`, { cause: error })
  }
}

function decode(bytes: Uint8Array, file: string): Ed25519PrivateKey {
  try {
    const key = privateKeyFromProtobuf(bytes)
    if (key.type === 'Ed25519') return key
  } catch {
    // said below
  }
  throw new Error(`the identity in ${file} is damaged: restore the file, or delete it to get a new identity`)
}

/** Either the whole key is in place afterwards or nothing is, whatever happens meanwhile. */
async function write(dataDir: string, file: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${file}.${randomUUID()}`
  try {
    await makeDirectories(dataDir, { mode: 0o700 })
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
    throw new Error(`cannot keep the identity in ${file}: ${messageOf(error)}`, { cause: error })
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
