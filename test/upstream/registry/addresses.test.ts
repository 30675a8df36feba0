import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { Addresses } from '../../../src/upstream/registry/addresses.ts'

describe('the addresses of registries', () => {
  const urls = (registry: string, endpoints: Record<string, readonly string[]> = {}) => {
    const map = new Map(Object.entries(endpoints).map(([name, list]) => [name, list.map((url) => new URL(url))]))
    return new Addresses(map).of(registry)
  }

  it('are their own names where nothing else is said', () => {
    for (const [registry, expected] of [
      ['docker.io', 'https://registry-1.docker.io/'],
      ['ghcr.io', 'https://ghcr.io/'],
      ['registry:5000', 'https://registry:5000/'],
      ['localhost:5000', 'http://localhost:5000/'],
      ['127.0.0.1:5000', 'http://127.0.0.1:5000/'],
    ] as const) {
      const [address, ...more] = urls(registry)
      assert.equal(address?.url.href, expected)
      assert.ok(address.isAuthoritative && address.isOwn)
      assert.equal(more.length, 0)
    }
  })

  it('tell the registry itself from its mirrors', () => {
    const roles = (...list: string[]) =>
      urls('docker.io', { 'docker.io': list }).map(
        ({ isAuthoritative, isOwn }) => `${isAuthoritative ? 'itself' : 'mirror'}${isOwn ? ' own' : ''}`,
      )
    assert.deepEqual(roles('https://registry-1.docker.io', 'https://mirror.gcr.io'), ['itself own', 'mirror'])
    assert.deepEqual(roles('https://mirror.gcr.io', 'https://registry-1.docker.io'), ['mirror', 'itself own'])
    assert.deepEqual(roles('https://hub.corp.example', 'https://mirror.gcr.io'), ['itself own', 'mirror'])
    assert.deepEqual(roles('https://a.corp.example', 'https://b.corp.example'), ['itself own', 'mirror own'])
    // What is said in the clear does not get what was meant for TLS.
    assert.deepEqual(roles('https://a.corp.example', 'http://b.corp.example'), ['itself own', 'mirror'])
  })

  it('are remembered for a bounded number of registries that clients name', () => {
    const addresses = new Addresses(new Map([['docker.io', [new URL('http://127.0.0.1:1')]]]))
    addresses.of('docker.io')
    for (let count = 0; count < 1000; count += 1) addresses.of(`r${count}.example`)
    assert.equal(addresses.views().length, 201)
    assert.equal(addresses.views()[0]?.address, '127.0.0.1:1')
  })

  it('are remembered for a registry that is in use, whatever else clients name', () => {
    const addresses = new Addresses(new Map())
    const used = addresses.of('used.example')
    for (let count = 0; count < 1000; count += 1) {
      addresses.of(`r${count}.example`)
      assert.equal(addresses.of('used.example'), used)
    }
  })
})
