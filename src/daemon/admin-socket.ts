import { chmod, lstat, unlink } from 'node:fs/promises'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'

import { MAX_SOCKET_PATH_BYTES } from '../config/admin-socket.ts'
import { makeDirectories } from '../files/make-directories.ts'
import { second } from '../time/units.ts'

/** Only the daemon's own user, and root, may connect. */
const MODE = 0o600
const CONNECT_TIMEOUT = 1 * second

/** Listens on a Unix socket that only this user can open. Throws an Error with one sentence for the operator. */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES)
    throw new Error(
      `the path ${path} is too long for a socket: at most ${MAX_SOCKET_PATH_BYTES} bytes (--admin-socket)`,
    )
  try {
    await makeDirectories(dirname(path))
    await removeStale(path)
    await bind(server, path)
    await chmod(path, MODE)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    throw new Error(
      `cannot listen on ${path}${code === undefined ? `: ${message}` : ` (${code})`}: choose another path with --admin-socket`,
      {
        cause,
      },
    )
  }
}

/** A daemon that was killed leaves its socket behind, which then refuses connections. */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (found === undefined) return
  if (!found.isSocket()) throw new Error('a file that is no socket has this name')
  if (await answers(path)) throw new Error('another daemon answers there')
  await unlink(path)
}

async function answers(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect({ path, timeout: CONNECT_TIMEOUT })
  socket.once('connect', () => resolve(true))
  // A timeout, or EAGAIN for a full backlog, means a daemon that is busy or frozen.
  socket.once('timeout', () => resolve(true))
  socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'EAGAIN'))
  try {
    return await promise
  } finally {
    socket.destroy()
  }
}

async function bind(server: Server, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  // bind(2) happens inside listen(), so no other file is made with this mask, and nobody connects before chmod.
  const mask = process.umask(0o777 & ~MODE)
  try {
    server.listen({ path }, resolve)
  } finally {
    process.umask(mask)
  }
  await promise
  server.off('error', reject)
}
