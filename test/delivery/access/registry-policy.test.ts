import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import {
  NotFetchedError,
  type RegistryPolicy,
  includesRegistry,
  isNamedRegistry,
  whyNotMirrored,
} from '../../../src/delivery/access/registry-policy.ts'

const policy = (options: Partial<RegistryPolicy> = {}): RegistryPolicy => ({
  mirrored: 'all',
  fallback: 'none',
  ...options,
})

const app = (registry: string) => ({ registry, name: 'team/app' })

describe('a set of registries', () => {
  it('includes all, none, or those that it lists', () => {
    assert.equal(includesRegistry('all', 'ghcr.io'), true)
    assert.equal(includesRegistry('none', 'ghcr.io'), false)
    const listed = new Set(['docker.io', 'reg.test:5000'])
    assert.equal(includesRegistry(listed, 'docker.io'), true)
    assert.equal(includesRegistry(listed, 'reg.test:5000'), true)
    for (const registry of ['ghcr.io', 'reg.test', 'reg.test:5001'])
      assert.equal(includesRegistry(listed, registry), false)
  })
})

describe('a registry that the operator named', () => {
  it('is listed in --fallback, in --registries, or has an --upstream', () => {
    const only = new Set(['ghcr.io'])
    for (const options of [{ fallback: only }, { mirrored: only }, { upstreams: only }]) {
      assert.equal(isNamedRegistry(policy(options), 'ghcr.io'), true)
      assert.equal(isNamedRegistry(policy(options), 'docker.io'), false)
      assert.equal(isNamedRegistry(policy(options), 'ghcr.io:443'), false)
    }
  })

  it('is none by `all` and `none`: everybody can run one', () => {
    for (const set of ['all', 'none'] as const)
      assert.equal(isNamedRegistry(policy({ mirrored: set, fallback: set }), 'docker.io'), false)
  })

  it('stays named where another flag says `all`', () => {
    const named = policy({ mirrored: 'all', fallback: new Set(['docker.io']) })
    assert.equal(isNamedRegistry(named, 'docker.io'), true)
    assert.equal(isNamedRegistry(policy({ mirrored: new Set(['docker.io']), fallback: 'all' }), 'docker.io'), true)
  })
})

describe('why a registry is not mirrored', () => {
  it('is nothing for those that --registries includes', () => {
    assert.equal(whyNotMirrored(policy(), app('ghcr.io')), undefined)
    assert.equal(whyNotMirrored(policy({ mirrored: new Set(['ghcr.io']) }), app('ghcr.io')), undefined)
  })

  it('is that --registries leaves it out, even if another flag names it', () => {
    for (const mirrored of ['none', new Set(['quay.io'])] as const) {
      const upstreams = new Set(['ghcr.io', 'localhost:5000'])
      for (const registry of upstreams) {
        const why = whyNotMirrored(policy({ mirrored, fallback: upstreams, upstreams }), app(registry))
        assert.equal(why, `${registry} is not mirrored here: --registries leaves it out`)
      }
    }
  })

  it('is that a local registry is another one on each node, unless --upstream names it', () => {
    for (const registry of ['localhost:5000', 'localhost', '127.0.0.1:5000', '[::1]:5000', 'reg.localhost:80']) {
      const listed = policy({ mirrored: new Set([registry]), fallback: new Set([registry]) })
      for (const options of [policy(), listed, policy({ upstreams: new Set(['localhost:5001']) })])
        assert.equal(
          whyNotMirrored(options, app(registry)),
          `${registry} is a registry of one machine: the mirror asks it only if --upstream ${registry}=<url> names it`,
        )
      assert.equal(whyNotMirrored(policy({ upstreams: new Set([registry]) }), app(registry)), undefined)
    }
    assert.equal(whyNotMirrored(policy(), app('10.0.0.1:5000')), undefined)
  })
})

describe('the message about a registry that is not fetched', () => {
  it('says the flag that would change it, and keeps what it lists', () => {
    for (const fallback of ['none', 'all'] as const)
      assert.match(new NotFetchedError('ghcr.io', { fallback }).message, /: --fallback ghcr\.io would let it$/)
    const { message } = new NotFetchedError('ghcr.io', { fallback: new Set(['docker.io', 'quay.io']) })
    assert.equal(message, 'ghcr.io is not fetched by the mirror: --fallback docker.io,quay.io,ghcr.io would let it')
  })
})
