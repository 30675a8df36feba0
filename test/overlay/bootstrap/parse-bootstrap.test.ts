import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { createBootstrap } from '../../../src/overlay/bootstrap/create-bootstrap.ts'
import { parseBootstrap, parseDnsServer, parseTarget } from '../../../src/overlay/bootstrap/parse-bootstrap.ts'

describe('--bootstrap', () => {
  it('may be none', () => {
    assert.deepEqual(parseBootstrap('none'), { type: 'none' })
  })

  it('may be addresses', async () => {
    const spec = parseBootstrap('static:10.0.0.1,[fd00::1]:99, /ip4/10.0.0.2/tcp/7952')
    const targets = await createBootstrap(spec).candidates({ signal: AbortSignal.timeout(1000) })
    assert.deepEqual(targets.slice(0, 2), [
      { type: 'host', host: '10.0.0.1', port: 7952 },
      { type: 'host', host: 'fd00::1', port: 99 },
    ])
    assert.equal(targets.length, 3)
  })

  it('may be a DNS name', () => {
    assert.deepEqual(parseBootstrap('dns:nabo-router.kube-system.svc.cluster.local.'), {
      type: 'dns',
      name: 'nabo-router.kube-system.svc.cluster.local.',
      port: 7952,
    })
    assert.deepEqual(parseBootstrap('dns:nabo:99'), { type: 'dns', name: 'nabo', port: 99 })
  })

  it('may be a URL, with or without its kind before it', () => {
    for (const text of ['http:http://host:1/peers', 'http://host:1/peers']) {
      assert.deepEqual(parseBootstrap(text), { type: 'http', url: 'http://host:1/peers' })
    }
    assert.deepEqual(parseBootstrap('https://host/p'), { type: 'http', url: 'https://host/p' })
  })

  it('is refused in one clear sentence', () => {
    const refused: Record<string, RegExp> = {
      consul: /^bootstrap must be none, static:…, dns:… or http:…, not 'consul'$/,
      'static:': /^bootstrap static: '' is not/,
      'static:10.0.0.1,,10.0.0.2': /^bootstrap static: '' is not/,
      'static:host.example': /^bootstrap static: 'host.example' is not/,
      'static:/ip4/10.0.0.1/udp/1': /is not an IP address/,
      'static:10.0.0.1:70000': /is not an IP address/,
      'dns:': /is not a DNS name/,
      'dns:10.0.0.1': /is not a DNS name/,
      'dns:a b': /is not a DNS name/,
      'http:ftp://host': /is not an http or https URL/,
      'http:': /is not an http or https URL/,
    }
    for (const [text, message] of Object.entries(refused)) assert.throws(() => parseBootstrap(text), { message })
  })

  it('never fails in another way', () => {
    fc.assert(
      fc.property(fc.constantFrom('', 'static:', 'dns:', 'http:', 'static:/ip4/'), fc.string(), (kind, rest) => {
        try {
          parseBootstrap(kind + rest)
        } catch (error) {
          assert.ok(error instanceof Error && error.message.startsWith('bootstrap '))
        }
      }),
    )
  })

  it('takes a multiaddr with a peer id', () => {
    const text = '/ip4/10.0.0.1/tcp/7952/p2p/12D3KooWFs3NhiHjQaZYoYUmqt7emGT5PH4LjVHd4bmJtcZsuX2m'
    const target = parseTarget(text)
    assert.equal(target?.type === 'multiaddr' && target.multiaddr.toString(), text)
  })
})

describe('--bootstrap-dns', () => {
  it('is an address, with port 53 unless it says otherwise', () => {
    assert.deepEqual(parseDnsServer('10.96.0.10'), { host: '10.96.0.10', port: 53 })
    assert.deepEqual(parseDnsServer('[fd00::a]:5353'), { host: 'fd00::a', port: 5353 })
    assert.throws(() => parseDnsServer('dns.example'), /must be an IP address/)
  })
})
