import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { DnsBootstrap } from '../../../src/overlay/bootstrap/dns-bootstrap.ts'
import { errorText } from '../../../src/telemetry/log.ts'
import { DnsServer } from '../../support/dns-server.ts'

describe('dns bootstrap', () => {
  let server: DnsServer
  beforeEach(async () => {
    server = await DnsServer.start()
  })
  afterEach(() => server[Symbol.asyncDispose]())

  function source(name: string): DnsBootstrap {
    return new DnsBootstrap({ name, port: 7952, server: { host: '127.0.0.1', port: server.port } })
  }

  async function hosts(name: string): Promise<string[]> {
    const targets = await source(name).candidates({ signal: AbortSignal.timeout(30_000) })
    return targets.map((target) => (target.type === 'host' ? `${target.host} ${target.port}` : '')).sort()
  }

  it('names every address of both families', async () => {
    server.records.set('nabo.example', ['10.0.0.1', '10.0.0.2', 'fd00::3'])
    assert.deepEqual(await hosts('nabo.example'), ['10.0.0.1 7952', '10.0.0.2 7952', 'fd00::3 7952'])
  })

  it('is content with one family', async () => {
    server.records.set('nabo.example', ['fd00::3'])
    assert.deepEqual(await hosts('nabo.example'), ['fd00::3 7952'])
  })

  it('asks again over TCP when the answer is cut short', async () => {
    const many = Array.from({ length: 300 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
    server.records.set('nabo.example', many)
    server.truncate = true
    assert.equal((await hosts('nabo.example')).length, many.length)
    assert.ok(server.questions.udp > 0 && server.questions.tcp > 0)
  })

  it('says which server knows no such name, and where it is set', async () => {
    await assert.rejects(hosts('nobody.example'), (error: Error) => {
      assert.match(
        error.message,
        /^127\.0\.0\.1:\d+, which --bootstrap-dns names \(in the chart clusterDNS\), gives no address of nobody\.example$/,
      )
      assert.match(errorText(error), /ENOTFOUND/)
      return true
    })
  })

  it('asks the server it was given, and no other', async () => {
    await assert.rejects(hosts('localhost'), /gives no address of localhost/)
    assert.ok(server.questions.udp > 0)
  })

  it('says that another server can be named, where the DNS of the host does not know the name', async () => {
    const system = new DnsBootstrap({ name: 'nobody.invalid', port: 7952 })
    await assert.rejects(
      system.candidates({ signal: AbortSignal.timeout(30_000) }),
      /^Error: (?:the DNS of this host \(.+\)|this host, which knows no DNS server,) gives no address of nobody\.invalid; .*--bootstrap-dns \(in the chart clusterDNS\)$/,
    )
  })

  it('gives a silent server up', async () => {
    server.silent = true
    await assert.rejects(
      hosts('nabo.example'),
      /127\.0\.0\.1:\d+, which --bootstrap-dns names .* gives no address of nabo\.example/,
    )
  })

  it('stops when it is told to', async () => {
    server.silent = true
    const ending = new AbortController()
    const asked = source('nabo.example').candidates({ signal: ending.signal })
    ending.abort(new Error('enough'))
    await assert.rejects(asked, /enough/)
  })

  it("falls back on what the system knows besides, such as the hosts file's names", async () => {
    const system = new DnsBootstrap({ name: 'localhost', port: 7952 })
    const targets = await system.candidates({ signal: AbortSignal.timeout(30_000) })
    assert.ok(targets.some((target) => target.type === 'host' && ['127.0.0.1', '::1'].includes(target.host)))
  })
})
