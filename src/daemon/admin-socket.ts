import { randomBytes } from 'node:crypto'
import type { Stats } from 'node:fs'
import { link, lstat, rename, unlink } from 'node:fs/promises'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'

import { MAX_SOCKET_PATH_BYTES } from '../config/admin-socket.ts'
import { makeDirectories } from '../files/make-directories.ts'
import { second } from '../time/units.ts'

/** Only the daemon's own user, and root, may connect. */
const MODE = 0o600
/** Others may not replace the socket. */
const DIRECTORY_MODE = 0o755
const CONNECT_TIMEOUT = 1 * second
const MAX_ATTEMPTS = 5

/**
 * Listens on a Unix socket that only this user can open. Resolves with what removes the socket, unless another daemon has replaced it. Throws
 * an Error with one sentence for the operator.
 */
export async function listenOnSocket(server: Server, path: string): Promise<() => Promise<void>> {
  // The server binds to a name of its own, so that closing it never removes the socket of another daemon.
  const own = join(dirname(path), `.${randomBytes(6).toString('hex')}`)
  if (Math.max(Buffer.byteLength(path), Buffer.byteLength(own)) > MAX_SOCKET_PATH_BYTES)
    throw new Error(
      `the path ${path} is too long for a socket: at most ${MAX_SOCKET_PATH_BYTES} bytes (--admin-socket)`,
    )
  try {
    await makeDirectories(dirname(path), { mode: DIRECTORY_MODE })
    await bind(server, own)
    const bound = await lstat(own)
    try {
      await claim(own, path)
    } finally {
      await unlink(own)
    }
    return () => removeOwn(path, bound)
  } catch (cause) {
    server.close()
    const { code, message } = cause as NodeJS.ErrnoException
    const why = code === undefined ? `: ${message}` : ` (${code})`
    throw new Error(`cannot listen on ${path}${why}: choose another path with --admin-socket`, { cause })
  }
}

/** Gives a bound socket its public name, which a daemon that was killed may have left behind. */
async function claim(own: string, path: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await link(own, path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt === MAX_ATTEMPTS) throw error
    }
    await removeStale(path, `${own}-old`)
  }
}

/** Removes a socket that refuses connections. Another daemon may do the same at the same time, and then have put its own there. */
async function removeStale(path: string, aside: string): Promise<void> {
  const found = await lstatIfThere(path)
  if (found === undefined) return
  if (!found.isSocket()) throw new Error('a file that is no socket has this name')
  if (await answers(path)) throw new Error('another daemon answers there')
  await rename(path, aside).catch(ignoreAbsent)
  const moved = await lstatIfThere(aside)
  if (moved !== undefined && !isSame(moved, found)) await link(aside, path).catch(() => {})
  await unlink(aside).catch(ignoreAbsent)
}

async function answers(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect({ path, timeout: CONNECT_TIMEOUT })
  socket.once('connect', () => resolve(true))
  // A full backlog is a daemon that is busy or frozen.
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
  // bind(2) happens inside listen(), so no other file is made with this mask, and the socket never has another mode.
  const mask = process.umask(0o777 & ~MODE)
  try {
    server.listen({ path }, resolve)
  } finally {
    process.umask(mask)
  }
  await promise
  server.off('error', reject)
}

async function removeOwn(path: string, bound: Stats): Promise<void> {
  const found = await lstatIfThere(path)
  if (found !== undefined && isSame(found, bound)) await unlink(path).catch(ignoreAbsent)
}

function isSame(a: Stats, b: Stats): boolean {
  return a.ino === b.ino && a.dev === b.dev
}

async function lstatIfThere(path: string): Promise<Stats | undefined> {
  return lstat(path).catch(ignoreAbsent)
}

function ignoreAbsent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined
  throw error
}
