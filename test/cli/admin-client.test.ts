import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { type RequestListener, type Server, createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'
import { z } from 'zod'

import { AdminClient, AdminError } from '../../src/cli/admin-client.ts'
import { parseHttpUrl, withAdmin } from '../../src/cli/admin-flags.ts'
import { jsonCall, linesCall } from '../../src/contracts/admin-contract.ts'

const base = { method: 'GET', summary: 'A test.', audience: 'anyone', errors: [] } as const
const answer = z.object({ value: z.number() })
const value = jsonCall({ ...base, path: '/x', query: z.object({ x: z.string().optional() }), answer })
const find = jsonCall({ ...base, path: '/api/v1/find', answer })
const values = linesCall({
  ...base,
  method: 'POST',
  path: '/x',
  body: { schema: z.object({ a: z.number() }), maxBytes: 100 },
  line: answer,
})

describe('the client of the admin API', () => {
  const servers: Server[] = []
  const clients: AdminClient[] = []
  const directories: string[] = []
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.close()
    for (const server of servers.splice(0)) {
      server.close()
      server.closeAllConnections()
    }
    for (const directory of directories.splice(0)) await rm(directory, { recursive: true })
  })

  async function clientOf(listener: RequestListener, host = '127.0.0.1'): Promise<AdminClient> {
    const server = createServer(listener)
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, host, resolve))
    const { port } = server.address() as { port: number }
    const url = new URL(`http://${host.includes(':') ? `[${host}]` : host}:${port}`)
    const client = new AdminClient({ url })
    clients.push(client)
    return client
  }

  async function socketOf(listener: RequestListener): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-admin-'))
    directories.push(directory)
    const path = join(directory, 'admin.sock')
    const server = createServer(listener)
    servers.push(server)
    await new Promise<void>((resolve) => server.listen({ path }, resolve))
    return path
  }
  const refuses = (message: RegExp) => (error: unknown) => error instanceof AdminError && message.test(error.message)

  it('reads what it knows of an answer, over IPv6 as well', async () => {
    const client = await clientOf((_request, response) => response.end('{"value":1,"later":true}'), '::1')
    assert.deepEqual(await client.call(value), { value: 1 })
  })

  it('asks the Unix socket unless a URL is given', async () => {
    const socket = await socketOf(({ url }, response) => response.end(`{"value":${url?.length}}`))
    assert.deepEqual(await withAdmin({ adminSocket: socket }, (admin) => admin.call(value, { query: { x: '1' } })), {
      value: '/x?x=1'.length,
    })
    const other = await clientOf((_request, response) => response.end('{"value":-1}'))
    const adminUrl = new URL(other.where)
    assert.deepEqual(await withAdmin({ adminSocket: socket, adminUrl }, (admin) => admin.call(value)), { value: -1 })
  })

  it('says what is wrong with a socket', async () => {
    const nobody = withAdmin({ adminSocket: '/nowhere/admin.sock' }, (admin) => admin.call(value))
    await assert.rejects(nobody, refuses(/^no Nabo answers at \/nowhere\/admin\.sock: is the daemon running\?$/))
    const none = withAdmin({ adminSocket: 'none' }, (admin) => admin.call(value))
    await assert.rejects(none, refuses(/has no socket.*--admin-url/))
    const socket = await socketOf((_request, response) => response.end('{"value":1}'))
    await chmod(socket, 0)
    if (process.getuid?.() === 0) return
    const foreign = withAdmin({ adminSocket: socket }, (admin) => admin.call(value))
    await assert.rejects(foreign, refuses(/belongs to another user/))
  })

  it('explains a daemon of another version, and what is no daemon', async () => {
    const older = await clientOf((_request, response) => {
      response.writeHead(404).end('{"errors":[{"code":"NOT_FOUND","message":"no such endpoint"}]}')
    })
    await assert.rejects(older.call(find), refuses(/does not know \/api\/v1\/find: is it older/))
    const other = await clientOf((_request, response) => response.end('{"value":"one"}'))
    await assert.rejects(other.call(value), refuses(/of another version than this command: \/x says value/))
    const web = await clientOf((_request, response) => response.end('<html>'))
    await assert.rejects(web.call(value), refuses(/is no Nabo/))
  })

  it('says a refusal in the words of the daemon, made safe for a terminal', async () => {
    const client = await clientOf((_request, response) => {
      response.writeHead(400).end(JSON.stringify({ errors: [{ code: 'NAME_INVALID', message: 'no\u001B[2J' }] }))
    })
    await assert.rejects(client.call(value), refuses(/^no\uFFFD\[2J$/))
  })

  it('gives up on a daemon that does not answer in time, and ends with its signal', async () => {
    const client = await clientOf(() => {})
    await assert.rejects(client.call(value, {}, { timeout: 50 }), refuses(/did not answer in time/))
    const controller = new AbortController()
    const asked = client.call(value, {}, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await assert.rejects(asked, /enough/)
  })

  it('posts JSON, and reads lines as they come', async () => {
    const client = await clientOf((request, response) => {
      assert.deepEqual([request.method, request.headers['content-type']], ['POST', 'application/json'])
      request.resume()
      response.write('{"value":1}\n\n{"val')
      response.end('ue":2}\n{"value":3}')
    })
    const read: number[] = []
    for await (const { value } of client.lines(values, { body: { a: 1 } })) read.push(value)
    assert.deepEqual(read, [1, 2, 3])
  })

  it('takes a plain URL alone', () => {
    const parse = (text: string) => parseHttpUrl(text, 'http://127.0.0.1:7953').href
    assert.equal(parse('http://[::1]:7953'), 'http://[::1]:7953/')
    assert.equal(parse(' '), 'http://127.0.0.1:7953/')
    for (const text of ['localhost:7953', 'https://x', 'http://u:p@x', 'http://x/path', 'x'])
      assert.throws(() => parse(text), /is expected/)
  })
})
