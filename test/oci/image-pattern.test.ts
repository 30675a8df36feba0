import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parseImagePattern } from '../../src/oci/image-pattern.ts'
import { parseImageReference } from '../../src/oci/reference.ts'

const matches = (pattern: string, image: string): boolean => {
  const { registry, name, tag } = parseImageReference(image) ?? assert.fail(image)
  const parsed = parseImagePattern(pattern)
  return parsed.matchesRepository({ registry, name }) && (tag === undefined || parsed.matchesTag(tag))
}

describe('a pattern of images', () => {
  it('is compared with the full name', () => {
    for (const [pattern, yes, no] of [
      [
        'docker.io/nginx',
        ['nginx', 'nginx:1', 'index.docker.io/library/nginx'],
        ['nginx2', 'org/nginx', 'ghcr.io/nginx'],
      ],
      ['docker.io/library/nginx', ['nginx:1'], ['library/nginx2']],
      ['docker.io/*', ['nginx', 'alpine:3'], ['org/app']],
      ['docker.io/library/*', ['nginx', 'alpine:3'], ['org/app', 'library/a/b']],
      ['Docker.IO/org/**', ['org/a', 'org/a/b:1'], ['org2/a', 'library/org']],
      ['docker.io/**', ['nginx', 'org/app', 'a/b/c:1'], ['ghcr.io/org/app', 'xdocker.io/a']],
      [
        'registry.example:5000/team-*/app:v*',
        ['registry.example:5000/team-a/app:v1'],
        [
          'registry.example:5000/team-a/app:1',
          'registry.example/team-a/app:v1',
          'registry.example:5000/team-a/b/app:v1',
        ],
      ],
      ['*.example.com/**', ['a.example.com/x', 'b.example.com/x/y:1'], ['example.com/x', 'a.b.org/example.com/x']],
      ['**:latest', ['nginx:latest', 'ghcr.io/a/b/c:latest'], ['nginx:Latest', 'nginx:1', 'nginx:latest-1']],
      ['**', ['nginx', 'ghcr.io/a/b:1'], []],
      ['ghcr.io/org/app:*', ['ghcr.io/org/app:1'], ['ghcr.io/org/app2:1']],
      ['ghcr.io/secret/**', ['ghcr.io:443/secret/a', 'GHCR.io:0443/secret/a'], ['ghcr.io:5000/secret/a']],
      ['ghcr.io:443/secret/**', ['ghcr.io/secret/a'], []],
      ['docker.io/**', ['registry-1.docker.io:443/a', 'registry.hub.docker.com/a'], []],
      ['localhost:443/**', ['localhost:443/a'], ['localhost/a']],
      ['localhost/a', ['localhost/a'], ['a']],
      ['ghcr.io/org/a.b', ['ghcr.io/org/a.b'], ['ghcr.io/org/a-b']],
      ['**/hidden/**', ['docker.io/org/hidden/x', 'docker.io/a/hidden/b/c'], ['docker.io/org/hidden2']],
    ] as const) {
      for (const image of yes) assert.ok(matches(pattern, image), `${pattern} ${image}`)
      for (const image of no) assert.ok(!matches(pattern, image), `${pattern} ${image}`)
    }
  })

  it('that is none is refused in a sentence that says why', () => {
    for (const [pattern, why] of [
      ['nginx', /needs a registry and a name/],
      ['*:latest', /needs a registry and a name, .* \*\* stands for both/],
      ['library/nginx', /begins with "library", which is no registry: write docker\.io\/library\/nginx/],
      ['docker.io/', /names have letters/],
      ['docker.io/Nginx', /lower case/],
      ['docker.io/a:', /names have letters/],
      ['docker.io/a b', /names have letters/],
      ['docker.io/a:x+y', /names have letters/],
      ['docker.io/[ab]/(.*)+', /names have letters/],
      ['*.example.com:443/**', /port 443 .* leave it out/],
      ['docker.io/***', /any number of parts/],
      ['docker.io/a@sha256:1', /without a digest/],
      [`docker.io/${'a*'.repeat(9)}`, /8 wildcards/],
      [`docker.io/${'a'.repeat(600)}`, /512 characters/],
    ] as const)
      assert.throws(() => parseImagePattern(pattern), why, pattern)
  })
})
