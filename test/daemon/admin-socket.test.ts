import assert from 'node:assert/strict'
import { link, lstat, mkdtemp, rename, rm, stat, unlink } from 'node:fs/promises'
import { type Server, createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { listenOnSocket } from '../../src/daemon/admin-socket.ts'
import { fetchOver } from '../support/socket-fetch.ts'

describe('listening on a Unix socket', () => {
  let directory: string
  let path: string
  const servers: Server[] = []
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-listen-'))
    path = join(directory, 'admin.sock')
  })
  afterEach(async () => {
    for (const server of servers.splice(0)) {
      server.close()
      server.closeAllConnections()
    }
    await rm(directory, { recursive: true })
  })

  function create(name: string): Server {
    const server = createServer((_request, response) => response.end(name))
    servers.push(server)
    return server
  }
  const nameAt = async (at: string) => (await fetchOver(at, '/')).text()

  it('removes only its own socket', async () => {
    const a = create('a')
    const removeA = await listenOnSocket(a, path)
    await unlink(path)
    const removeB = await listenOnSocket(create('b'), path)
    await removeA()
    a.close()
    assert.equal(await nameAt(path), 'b')
    await removeB()
    await assert.rejects(lstat(path), { code: 'ENOENT' })
  })

  it('lets one of two daemons have a socket that a killed one left behind', async () => {
    for (let round = 0; round < 30; round += 1) {
      const at = join(directory, `${round}.sock`)
      await leaveStale(at)
      const racing = ['x', 'y'].map((name) => listenOnSocket(create(name), at).then(() => name))
      const settled = await Promise.allSettled(racing)
      const winners = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
      assert.equal(winners.length, 1, JSON.stringify(settled))
      assert.equal(await nameAt(at), winners[0])
    }
  })

  it('makes a directory that others cannot write to, whatever the umask', async () => {
    const mask = process.umask(0)
    try {
      const deep = join(directory, 'run', 'nabo')
      await listenOnSocket(create('a'), join(deep, 'admin.sock'))
      assert.equal((await stat(deep)).mode & 0o777, 0o755)
      assert.equal((await lstat(join(deep, 'admin.sock'))).mode & 0o777, 0o600)
      assert.equal(process.umask(), 0)
    } finally {
      process.umask(mask)
    }
  })
})

/** A socket file that nothing listens on. */
async function leaveStale(path: string): Promise<void> {
  const server = createTcpServer()
  await new Promise<void>((resolve) => server.listen(path, resolve))
  // Closing removes the name that was bound.
  await link(path, `${path}.kept`)
  await new Promise((resolve) => server.close(resolve))
  await rename(`${path}.kept`, path)
}
