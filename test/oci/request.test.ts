import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { parseDigest } from '../../src/oci/digest.ts'
import { OciError } from '../../src/oci/errors.ts'
import { isRegistry, isRepositoryName, isTag } from '../../src/oci/reference.ts'
import { type OciRequest, parseOciRequest, requestPath } from '../../src/oci/request.ts'
import { digests, repositories, tags } from './arbitraries.ts'

const D = `sha256:${'0'.repeat(64)}`

const refusalOf = (url: string): OciError => {
  try {
    parseOciRequest(url)
  } catch (error) {
    assert.ok(error instanceof OciError, `${url}: ${String(error)}`)
    return error
  }
  assert.fail(`${url} was accepted`)
}

/** Whatever comes out of the parser may be put into a path, a URL or a header. */
function assertHarmless(request: OciRequest): void {
  if (request.type === 'base') return
  assert.ok(isRegistry(request.repository.registry))
  assert.ok(isRepositoryName(request.repository.name))
  assert.ok(!request.repository.name.includes('..'))
  if (request.type === 'blob') assert.equal(parseDigest(request.digest), request.digest)
  if (request.type === 'listing')
    assert.match(
      request.pathAndQuery,
      /^(?:tags\/list|referrers\/sha\d{3}:[0-9a-f]+)(?:\?(?:[\w\-.~!$&'()*+,;:@/?=]|%[\dA-Fa-f]{2})*)?$/,
    )
  if (request.type !== 'manifest') return
  const { reference } = request
  if (reference.type === 'digest') assert.equal(parseDigest(reference.digest), reference.digest)
  else assert.ok(isTag(reference.tag))
}

describe('a request', () => {
  it('of one Nabo is read by another as it was meant', () => {
    fc.assert(
      fc.property(repositories, digests, tags, (repository, digest, tag) => {
        assert.deepEqual(parseOciRequest(requestPath(repository, 'blobs', digest)), {
          type: 'blob',
          repository,
          digest,
        })
        assert.deepEqual(parseOciRequest(requestPath(repository, 'manifests', digest)), {
          type: 'manifest',
          repository,
          reference: { type: 'digest', digest },
        })
        assert.deepEqual(parseOciRequest(requestPath(repository, 'manifests', tag)), {
          type: 'manifest',
          repository,
          reference: { type: 'tag', tag },
        })
      }),
    )
  })

  it('says its registry by ns, else by a first component that looks like a host, else means Docker Hub', () => {
    const repositoryOf = (url: string) => {
      const request = parseOciRequest(url)
      return request.type === 'base' ? undefined : `${request.repository.registry} ${request.repository.name}`
    }
    for (const [path, expected] of [
      ['library/nginx/manifests/1', 'docker.io library/nginx'],
      ['nginx/manifests/1', 'docker.io library/nginx'],
      ['ghcr.io/org/app/manifests/1', 'ghcr.io org/app'],
      ['GHCR.IO/org/app/manifests/1', 'ghcr.io org/app'],
      ['docker.io/nginx/manifests/1', 'docker.io library/nginx'],
      ['localhost:5000/app/manifests/1', 'localhost:5000 app'],
      ['[::1]:5000/app/manifests/1', '[::1]:5000 app'],
      ['%5B::1%5D:5000/app/manifests/1', '[::1]:5000 app'],
      ['org/app/manifests/1?ns=ghcr.io', 'ghcr.io org/app'],
      ['app/manifests/1?ns=ghcr.io', 'ghcr.io app'],
      ['app/manifests/1?ns=index.docker.io', 'docker.io library/app'],
      ['app/manifests/1?ns=registry.example%3A5000', 'registry.example:5000 app'],
      ['app/manifests/1?ns=GHCR.io:0443', 'ghcr.io app'],
      ['app/manifests/1?ns=registry-1.docker.io:443', 'docker.io library/app'],
      ['app/manifests/1?ns=localhost:443', 'localhost:443 app'],
      ['app/manifests/1?ns=registry.example:5000', 'registry.example:5000 app'],
      ['ghcr.io/app/manifests/1?ns=docker.io', 'docker.io ghcr.io/app'],
      ['app/manifests/1?x=1&ns=ghcr.io&ns=quay.io', 'ghcr.io app'],
      ['library%2Fnginx/manifests/1', 'docker.io library/nginx'],
      ['a/manifests/manifests/1', 'docker.io a/manifests'],
      ['a/blobs/b/manifests/1', 'docker.io a/blobs/b'],
      ['a/tags/list', 'docker.io library/a'],
      ['tags/list/tags/list', 'docker.io tags/list'],
    ] as const) {
      assert.equal(repositoryOf(`/v2/${path}`), expected, path)
    }
  })

  it('may be for the base of the API', () => {
    for (const url of ['/v2', '/v2/', '/v2/?ns=docker.io']) assert.deepEqual(parseOciRequest(url), { type: 'base' })
  })

  it('for a list keeps each parameter but the registry as it was written, whatever a registry calls its cursor', () => {
    const asked = (query: string) => {
      const request = parseOciRequest(`/v2/app/tags/list${query}`)
      assert.ok(request.type === 'listing')
      return request.pathAndQuery
    }
    for (const [query, expected] of [
      ['', 'tags/list'],
      ['?', 'tags/list'],
      ['?ns=ghcr.io', 'tags/list'],
      ['?n=5&last=a%2Fb&ns=ghcr.io&nextToken=gA%3D%3D', 'tags/list?n=5&last=a%2Fb&nextToken=gA%3D%3D'],
      ['?c=a+b%20c%2Bd&%6Es=ghcr.io&c=2&d&=e', 'tags/list?c=a+b%20c%2Bd&c=2&d&=e'],
      ['?c=%FF%00%e9', 'tags/list?c=%FF%00%e9'],
      ['?c=é"<>[]{}|\\^`#../?x', 'tags/list?c=%C3%A9%22%3C%3E%5B%5D%7B%7D%7C%5C%5E%60%23../?x'],
      ['?c=%&d=%zz', 'tags/list?c=%25&d=%25zz'],
    ] as const)
      assert.equal(asked(query), expected, query)
    const referrers = parseOciRequest(`/v2/a/b/referrers/${D}?artifactType=x/y&page=2`)
    assert.ok(referrers.type === 'listing')
    assert.equal(referrers.pathAndQuery, `referrers/${D}?artifactType=x/y&page=2`)
    const many = (count: number) =>
      `?${Array.from({ length: count }, (_, index) => `p${index}=1`).join('&')}&ns=ghcr.io`
    assert.equal(asked(many(32)).split('&').length, 32)
    assert.equal(refusalOf(`/v2/app/tags/list${many(33)}`).status, 400)
    assert.equal(refusalOf(`/v2/app/tags/list?c=${'a'.repeat(9000)}`).code, 'NAME_INVALID')
  })

  it('that is malformed is refused in the words of the specification', () => {
    for (const [path, code] of [
      ['', 'NOT_FOUND'],
      ['/', 'NOT_FOUND'],
      ['/v1/', 'NOT_FOUND'],
      ['/v2/_catalog', 'NOT_FOUND'],
      ['/v2//manifests/1', 'NOT_FOUND'],
      ['/v2/app/blobs/uploads/', 'NOT_FOUND'],
      ['/v2/app/blobs/uploads/7', 'NOT_FOUND'],
      ['/v2/app/blobs/', 'NOT_FOUND'],
      ['/v2/app/manifests/', 'NOT_FOUND'],
      ['/v2/tags/list', 'NOT_FOUND'],
      ['http://127.0.0.1/v2/', 'NOT_FOUND'],
      ['*', 'NOT_FOUND'],
      ['/v2/app/manifests/1%00', 'MANIFEST_UNKNOWN'],
      ['/v2/app%00/manifests/1', 'NAME_INVALID'],
      ['/v2/../etc/manifests/1', 'NAME_INVALID'],
      ['/v2/a/../b/manifests/1', 'NAME_INVALID'],
      ['/v2/a/%2e%2e/b/manifests/1', 'NAME_INVALID'],
      ['/v2/a/%252e%252e/b/manifests/1', 'NAME_INVALID'],
      ['/v2/a%5cb/manifests/1', 'NAME_INVALID'],
      ['/v2/Library/nginx/manifests/1', 'NAME_INVALID'],
      ['/v2/127.0.0.1:7950/ghcr.io/org/App/manifests/1', 'NAME_INVALID'],
      ['/v2/app/manifests/..', 'MANIFEST_UNKNOWN'],
      ['/v2/app/manifests/-', 'MANIFEST_UNKNOWN'],
      ['/v2/app/manifests/%ff', 'NAME_INVALID'],
      ['/v2/app/manifests/%', 'NAME_INVALID'],
      [`/v2/app/manifests/${D.slice(0, -1)}`, 'DIGEST_INVALID'],
      [`/v2/app/blobs/${D.toUpperCase()}`, 'DIGEST_INVALID'],
      ['/v2/app/blobs/sha256:..', 'DIGEST_INVALID'],
      ['/v2/app/blobs/md5:0', 'DIGEST_INVALID'],
      ['/v2/app/referrers/1', 'DIGEST_INVALID'],
      ['/v2/app/manifests/1?ns=', 'NAME_INVALID'],
      ['/v2/app/manifests/1?ns=a/b', 'NAME_INVALID'],
      ['/v2/app/manifests/1?ns=user@host.io', 'NAME_INVALID'],
      ['/v2/app/manifests/1?ns=host.io%0d%0ax:y', 'NAME_INVALID'],
      ['/v2/app/manifests/1?ns=host.io:99999', 'NAME_INVALID'],
      [`/v2/${'a'.repeat(300)}/manifests/1`, 'NAME_INVALID'],
      [`/v2/${'a'.repeat(5000)}/manifests/1`, 'NAME_INVALID'],
    ] as const) {
      assert.equal(refusalOf(path).code, code, path)
    }
  })

  it('may name the mirror itself, in the path or as ns, and then means what follows', () => {
    const isMirror = (registry: string) => ['127.0.0.1:7950', 'localhost:7950', '[::1]:7950'].includes(registry)
    for (const [path, expected] of [
      ['127.0.0.1:7950/ghcr.io/org/app/manifests/1', 'ghcr.io org/app'],
      ['localhost:7950/localhost:5000/app/manifests/1', 'localhost:5000 app'],
      ['127.0.0.1:7950/alpine/manifests/1', 'docker.io library/alpine'],
      ['127.0.0.1:7950/org/app/manifests/1', 'docker.io org/app'],
      ['%5B::1%5D:7950/docker.io/alpine/manifests/1', 'docker.io library/alpine'],
      ['127.0.0.1:7950/localhost:7950/quay.io/a/b/manifests/1', 'quay.io a/b'],
      ['ghcr.io/org/app/manifests/1?ns=127.0.0.1:7950', 'ghcr.io org/app'],
      ['alpine/manifests/1?ns=localhost:7950', 'docker.io library/alpine'],
      ['127.0.0.1:7950/org/app/manifests/1?ns=ghcr.io', 'refused'],
      ['127.0.0.1:5000/org/app/manifests/1', '127.0.0.1:5000 org/app'],
    ] as const) {
      let read
      try {
        const request = parseOciRequest(`/v2/${path}`, isMirror)
        assert.ok(request.type === 'manifest')
        read = `${request.repository.registry} ${request.repository.name}`
      } catch (error) {
        assert.ok(error instanceof OciError)
        read = 'refused'
      }
      assert.equal(read, expected, path)
    }
  })

  it('is either harmless or refused by an OciError that says no more than a code and a sentence', () => {
    const piece = fc.constantFrom(
      ...[
        '/',
        '//',
        '.',
        '..',
        '%2e',
        '%2E%2e',
        '%2f',
        '%00',
        '%',
        '%zz',
        '%ff',
        '%25',
        '\\',
        '?',
        '&',
        '#',
        'ns=',
        '=',
      ],
      ...[
        'v2',
        'library',
        'app',
        'A',
        'ghcr.io',
        'localhost:5000',
        '127.0.0.1',
        '[::1]',
        'manifests',
        'blobs',
        'tags/list',
      ],
      ...['referrers', 'uploads', 'latest', '_catalog', ':', '@', D, 'sha256:', ' ', '\t', 'é', '\u0000', '\ud800'],
    )
    const url = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.array(piece, { maxLength: 14 }).map((pieces) => `/v2/${pieces.join('')}`),
      fc.array(piece, { maxLength: 12 }).map((pieces) => `/v2/${pieces.join('/')}`),
    )
    fc.assert(
      fc.property(url, (url) => {
        let request: OciRequest
        try {
          request = parseOciRequest(url)
        } catch (error) {
          assert.ok(error instanceof OciError)
          assert.ok(error.status >= 400 && error.status < 500)
          assert.deepEqual(Object.keys((JSON.parse(error.body()) as { errors: [object] }).errors[0]), [
            'code',
            'message',
          ])
          return
        }
        assertHarmless(request)
      }),
      { numRuns: 2000 },
    )
  })
})
