import assert from 'node:assert/strict'
import { type Server, createServer } from 'node:http'
import { after, describe, it } from 'node:test'

import { drain, listen } from '../../src/http/bind.ts'

describe('a server that cannot listen', () => {
  const servers: Server[] = []
  after(() => servers.forEach((server) => server.close()))

  it('listens later, and keeps no listener of the attempts that failed', async () => {
    const other = createServer()
    servers.push(other)
    const address = await listen(other, { host: '127.0.0.1', port: 0 }, '--peer-addr')
    const server = createServer()
    const before = [server.listenerCount('listening'), server.listenerCount('error')]
    for (let n = 0; n < 3; n += 1)
      await assert.rejects(listen(server, address, '--peer-addr'), { name: 'ListenError', code: 'EADDRINUSE' })
    assert.deepEqual([server.listenerCount('listening'), server.listenerCount('error')], before)
    await drain(other)
    servers.push(server)
    assert.deepEqual(await listen(server, address, '--peer-addr'), address)
    assert.deepEqual([server.listenerCount('listening'), server.listenerCount('error')], before)
  })
})
