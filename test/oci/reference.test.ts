import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import {
  canonicalName,
  canonicalRegistry,
  isRegistry,
  isRepositoryName,
  isTag,
  looksLikeRegistry,
  parseImageReference,
  parseRepositoryKey,
  repositoryKey,
} from '../../src/oci/reference.ts'
import { digests, registries, repositories, repositoryNames, tags } from './arbitraries.ts'

const digest = `sha256:${'a'.repeat(64)}`

describe('an image name', () => {
  it('that names the mirror means what follows', () => {
    const isMirror = (registry: string) => registry === '127.0.0.1:7950'
    const read = (text: string) => {
      const reference = parseImageReference(text, isMirror)
      return reference && `${repositoryKey(reference)}:${reference.tag ?? ''}`
    }
    assert.equal(read('127.0.0.1:7950/ghcr.io/org/app:1'), 'ghcr.io/org/app:1')
    assert.equal(read('127.0.0.1:7950/alpine'), 'docker.io/library/alpine:')
    assert.equal(read(`127.0.0.1:7950/docker.io/alpine:3@${digest}`), 'docker.io/library/alpine:3')
    assert.equal(read('127.0.0.1:7950/127.0.0.1:7950/localhost/app:2'), 'localhost/app:2')
    assert.equal(read('127.0.0.1:5000/ghcr.io/org/app:1'), '127.0.0.1:5000/ghcr.io/org/app:1')
    assert.equal(read('127.0.0.1:7950/'), undefined)
    const isOn443 = (registry: string) => registry === 'mirror.example:443'
    const other = parseImageReference('mirror.example:443/ghcr.io/org/app', isOn443)
    assert.deepEqual(other, { registry: 'ghcr.io', name: 'org/app' })
    assert.equal(read('127.0.0.1:7950/ghcr.io/'), undefined)
  })

  it('is read as clients write it', () => {
    const cases: [string, object | undefined][] = [
      ['nginx', { registry: 'docker.io', name: 'library/nginx' }],
      ['nginx:1.27', { registry: 'docker.io', name: 'library/nginx', tag: '1.27' }],
      ['bitnami/redis', { registry: 'docker.io', name: 'bitnami/redis' }],
      ['docker.io/nginx', { registry: 'docker.io', name: 'library/nginx' }],
      ['index.docker.io/library/nginx:1', { registry: 'docker.io', name: 'library/nginx', tag: '1' }],
      ['registry-1.docker.io/org/app', { registry: 'docker.io', name: 'org/app' }],
      ['ghcr.io/org/team/app:v1', { registry: 'ghcr.io', name: 'org/team/app', tag: 'v1' }],
      ['ghcr.io/app', { registry: 'ghcr.io', name: 'app' }],
      ['GHCR.io/org/app', { registry: 'ghcr.io', name: 'org/app' }],
      ['localhost/app', { registry: 'localhost', name: 'app' }],
      ['localhost:5000/app', { registry: 'localhost:5000', name: 'app' }],
      ['localhost:5000', { registry: 'docker.io', name: 'library/localhost', tag: '5000' }],
      ['[::1]:5000/app:1', { registry: '[::1]:5000', name: 'app', tag: '1' }],
      [`nginx@${digest}`, { registry: 'docker.io', name: 'library/nginx', digest }],
      [`nginx:1@${digest}`, { registry: 'docker.io', name: 'library/nginx', tag: '1', digest }],
      ['registry.example:5000/a/b:1', { registry: 'registry.example:5000', name: 'a/b', tag: '1' }],
    ]
    for (const [text, expected] of cases) assert.deepEqual(parseImageReference(text), expected, text)
  })

  it('is refused if a client would refuse it', () => {
    for (const text of [
      '',
      ':1',
      '@',
      'Nginx',
      'nginx:',
      'nginx:a b',
      'nginx@sha256:1',
      'ghcr.io/',
      'ghcr.io//app',
      '../etc/passwd',
      'a/../b',
      'app/',
      `${'a'.repeat(250)}/${'b'.repeat(10)}`,
      `nginx:${'1'.repeat(129)}`,
      `nginx@${digest}@${digest}`,
      'moby-dangling@sha256:x',
    ]) {
      assert.equal(parseImageReference(text), undefined, text)
    }
  })

  it('survives being written and read', () => {
    const option = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
    fc.assert(
      fc.property(repositories, option(tags), option(digests), (repository, tag, digest) => {
        // A registry without dot or port cannot be told from a user's name.
        fc.pre(looksLikeRegistry(repository.registry))
        const text = `${repositoryKey(repository)}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
        const expected = {
          ...repository,
          ...(tag === undefined ? {} : { tag }),
          ...(digest === undefined ? {} : { digest }),
        }
        assert.deepEqual(parseImageReference(text), expected)
      }),
    )
  })

  it('never throws, and what it gives is well formed', () => {
    const texts = fc.oneof(
      fc.string(),
      fc.string({
        unit: fc.constantFrom('a', 'B', '/', ':', '@', '.', '-', '_', '[', ']', '0', digest),
        maxLength: 20,
      }),
    )
    fc.assert(
      fc.property(texts, (text) => {
        const read = parseImageReference(text)
        if (read === undefined) return
        assert.ok(isRegistry(read.registry))
        assert.ok(isRepositoryName(read.name))
        assert.ok(read.tag === undefined || isTag(read.tag))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('a repository', () => {
  it('survives being a key', () => {
    fc.assert(
      fc.property(repositories, (repository) => {
        assert.deepEqual(parseRepositoryKey(repositoryKey(repository)), repository)
      }),
    )
    assert.deepEqual(parseRepositoryKey('ghcr.io:443/app'), { registry: 'ghcr.io', name: 'app' })
    for (const text of ['', '/', 'a', 'docker.io/', '/a', 'docker.io/A', 'GHCR.io/a']) {
      assert.equal(parseRepositoryKey(text), undefined, text)
    }
  })

  it('has one name, however often that is made canonical', () => {
    fc.assert(
      fc.property(registries, repositoryNames, (registry, name) => {
        const once = canonicalRegistry(registry)
        assert.equal(canonicalRegistry(once), once)
        assert.equal(canonicalName(once, canonicalName(once, name)), canonicalName(once, name))
      }),
    )
  })
})

describe('a registry', () => {
  it('has one name, in whatever spelling a client names it', () => {
    for (const [name, ...spellings] of [
      ['ghcr.io', 'GHCR.io', 'ghcr.io:443', 'GHCR.io:0443', 'ghcr.io:00443'],
      ['docker.io', 'registry-1.docker.io:443', 'index.docker.io', 'registry.hub.docker.com', 'Docker.io:443'],
      ['r.example:5000', 'r.example:05000'],
      ['r.example:80', 'r.example:080'],
      ['r.example:4430'],
      ['10.0.0.1', '10.0.0.1:443', '0xa.1', '167772161:443'],
      ['[fd00::7]', '[fd00:0:0::7]:443', '[FD00::0007]'],
      // Plain HTTP: 443 is another port there.
      ['localhost:443', 'localhost:0443'],
      ['localhost', 'LOCALHOST:80', 'localhost:0080'],
      ['127.0.0.1:443', '127.1:443'],
      ['127.0.0.1', '127.0.0.1:80', '0x7f.1:80'],
      ['[::1]:443', '[0::1]:443'],
    ] as const)
      for (const spelling of [name, ...spellings]) assert.equal(canonicalRegistry(spelling), name, spelling)
  })

  it('is lower case alone where it is none', () => {
    for (const text of ['a%2eb', 'A B', 'r.example:99999', 'a_b.io:443', '*.Example.com:5000', ''])
      assert.equal(canonicalRegistry(text), text.toLowerCase())
  })

  it('is a host that a URL can name', () => {
    for (const good of ['docker.io', 'localhost', 'a', 'r.example:5000', '127.0.0.1:7950', '[::1]:80', '[fd00::7]']) {
      assert.ok(isRegistry(good), good)
    }
    for (const bad of [
      '',
      'a b',
      'a_b.io',
      '-a.io',
      'a.io-',
      'a..io',
      '.a',
      'a.',
      'A.io',
      'a/b',
      'a@b',
      'a:',
      'a:b',
      'a:123456',
      'a:65536',
      '[::1',
      '[::::]',
      '[:]',
      '1.2.3.999',
      'a%00',
      'a?b',
      'a#b',
      'a\n',
      `${'a'.repeat(64)}.${'b'.repeat(200)}`,
    ]) {
      assert.ok(!isRegistry(bad), JSON.stringify(bad))
    }
    const nearly = fc.string({ unit: fc.constantFrom('a', '0', '9', '.', ':', '-', '[', ']', 'f'), maxLength: 16 })
    fc.assert(
      fc.property(fc.oneof(fc.string(), nearly), (text) => {
        if (isRegistry(text)) assert.ok(URL.canParse(`https://${text}/v2/`), text)
      }),
      { numRuns: 2000 },
    )
  })

  it('is what a first component with a dot, a colon or localhost is', () => {
    for (const [text, expected] of [
      ['docker.io', true],
      ['localhost', true],
      ['host:5000', true],
      ['127.0.0.1:7950', true],
      ['library', false],
      ['.', false],
      ['..', false],
      [':', false],
      ['a..b', false],
    ] as const) {
      assert.equal(looksLikeRegistry(text), expected, text)
    }
  })
})
