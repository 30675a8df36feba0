import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { scopesOf } from '../../../src/upstream/registry/scopes.ts'

const app = { registry: 'docker.io', name: 'library/app' }
const OWN = 'repository:library/app:pull'

describe('the scope of a token', () => {
  it('is the one that the challenge names, for pulling only', () => {
    for (const [challenge, scope] of [
      [undefined, OWN],
      ['', OWN],
      [OWN, OWN],
      ['repository:docker-remote/library/app:pull', 'repository:docker-remote/library/app:pull'],
      ['repository:library/app:pull,push', OWN],
      ['repository:library/app:push,pull,delete', OWN],
      ['repository:library/app:*', OWN],
      ['repository(plugin):library/app:pull', OWN],
      [
        'repository:a/library/app:pull repository:b/library/app:pull,push',
        'repository:a/library/app:pull repository:b/library/app:pull',
      ],
      [`${OWN} ${OWN}`, OWN],
    ] as const) {
      for (const hasCredential of [true, false])
        assert.equal(scopesOf(challenge, app, hasCredential), scope, String(challenge))
    }
  })

  it('is that of the repository where the challenge names none for pulling', () => {
    for (const challenge of [
      'aws',
      'registry:catalog:*',
      'repository:library/app:push',
      'repository:library/app:',
      'repository::pull',
      'repository:LIBRARY/app:pull',
      'repository:library/app:pull:more',
      'repository:../app:pull',
      `repository:${'a'.repeat(256)}/library/app:pull`,
    ]) {
      for (const hasCredential of [true, false]) assert.equal(scopesOf(challenge, app, hasCredential), OWN, challenge)
    }
  })

  it('is for another repository only if anybody may have the token', () => {
    for (const name of ['other/secret', 'app', 'evil-library/app', 'library/app/more']) {
      const scope = `repository:${name}:pull`
      assert.equal(scopesOf(scope, app, true), OWN)
      assert.equal(scopesOf(scope, app, false), scope)
    }
  })

  it('is bounded, and never for more than pulling, whatever the challenge says', () => {
    const piece = fc.constantFrom(
      'repository',
      ':',
      'library/app',
      'x/library/app',
      'pull',
      'push',
      ',',
      '*',
      ' ',
      '(plugin)',
      'registry',
    )
    const text = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 60 }).map((pieces) => pieces.join('')),
    )
    fc.assert(
      fc.property(text, fc.boolean(), (challenge, hasCredential) => {
        const scopes = scopesOf(challenge, app, hasCredential).split(' ')
        assert.ok(scopes.length <= 4)
        for (const scope of scopes) assert.match(scope, /^repository:[a-z0-9._/-]{1,255}:pull$/)
      }),
      { numRuns: 2000 },
    )
  })
})
