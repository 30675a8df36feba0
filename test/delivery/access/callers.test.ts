import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { Callers, type Pull } from '../../../src/delivery/access/callers.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { type Repository, repositoryKey } from '../../../src/oci/reference.ts'
import { minute } from '../../../src/time/units.ts'
import { UpstreamError, type UpstreamOptions } from '../../../src/upstream/upstream.ts'

const signal = new AbortController().signal
const repository = { registry: 'docker.io', name: 'org/hidden' }
const other = { registry: 'docker.io', name: 'org/other' }
const [first, second, foreign] = ['first', 'second', 'foreign'].map((text) => digestOf(Buffer.from(text)))
const ann = { username: 'ann', password: 'kept-to-herself' }
const bob = { username: 'bob', password: 'knows-nothing' }
const blob = (reference = first ?? '', of: Repository = repository): Pull => ({
  repository: of,
  kind: 'blobs',
  reference,
})

describe('a caller', () => {
  let asked: string[]
  let failure: UpstreamError['reason'] | undefined
  let members: Set<string>
  let callers: Callers

  beforeEach(() => {
    mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
    asked = []
    failure = undefined
    members = new Set()
    const answer = (of: Repository, reference: string, { as }: UpstreamOptions) => {
      const who = typeof as === 'object' ? `${as.username}:${as.password}` : String(as)
      asked.push(`${who} ${of.name} ${reference}`)
      if (failure !== undefined) throw new UpstreamError(failure, 'no')
      if (who !== 'ann:kept-to-herself') throw new UpstreamError('denied', 'no')
      return reference !== foreign
    }
    callers = new Callers({
      upstream: {
        headBlob: async (of, digest, options) => (answer(of, digest, options) ? 7 : undefined),
        headManifest: async (of, reference, options) =>
          answer(of, reference, options)
            ? { descriptor: { digest: second ?? assert.fail(), mediaType: 'a/b', size: 7 }, date: 0, anonymous: false }
            : undefined,
      },
      visibility: {
        belongs: async (of, digest) => members.has(`${repositoryKey(of)}@${digest}`),
        noteMembers: (of, digests, access) => {
          assert.equal(access, 'personal')
          for (const digest of digests) members.add(`${repositoryKey(of)}@${digest}`)
        },
      },
    })
  })
  afterEach(() => mock.timers.reset())
  const admit = (pull = blob(), credential = ann) => callers.admit(pull, credential, { signal })

  it('is let in by its registry, which is asked once for as long as its word is good', async () => {
    assert.deepEqual((await admit())?.credential, ann)
    assert.equal((await admit())?.id, (await admit())?.id)
    assert.equal(asked.length, 1)
    mock.timers.tick(5 * minute)
    await admit()
    assert.equal(asked.length, 2)
  })

  it('has to be let in for each repository, and with each of its credentials', async () => {
    await admit()
    await admit(blob(first, other))
    assert.equal(await admit(blob(), { ...ann, password: 'guessed' }), undefined)
    // Where one ends and the other begins is part of both.
    assert.equal(await admit(blob(), { username: 'ann:kept', password: 'to-herself' }), undefined)
    assert.equal(asked.length, 4)
  })

  it('gets of a repository what is known to be of it, and what the registry shows it there', async () => {
    await admit()
    assert.ok(await admit(blob(second)))
    assert.equal(asked.length, 2)
    assert.equal(await admit(blob(foreign)), undefined)
    assert.ok(await admit(blob(second)))
    assert.equal(asked.length, 3)
    members.add(`${repositoryKey(repository)}@${foreign}`)
    assert.ok(await admit(blob(foreign)))
    assert.equal(asked.length, 3)
  })

  it('has what a tag names as well', async () => {
    assert.ok(await admit({ repository, kind: 'manifests', reference: '1' }))
    assert.ok(await admit({ repository, kind: 'manifests', reference: second ?? '' }))
    assert.equal(asked.length, 1)
  })

  it('that was refused is not asked about again for a minute', async () => {
    for (let i = 0; i < 3; i += 1) assert.equal(await admit(blob(), bob), undefined)
    assert.equal(asked.length, 1)
    mock.timers.tick(minute)
    await admit(blob(), bob)
    assert.equal(asked.length, 2)
    const caller = await admit()
    assert.ok(caller)
    callers.refused(caller, repository)
    assert.equal(await admit(), undefined)
    assert.equal(asked.length, 3)
  })

  it('is nobody while the registry cannot be asked, unless it was let in before', async () => {
    for (const reason of ['unreachable', 'limited', 'failed'] as const) {
      failure = reason
      assert.equal(await admit(), undefined)
    }
    failure = undefined
    assert.ok(await admit())
    failure = 'unreachable'
    assert.ok(await admit())
    assert.equal(await admit(blob(second)), undefined)
    mock.timers.tick(5 * minute)
    assert.equal(await admit(), undefined)
  })

  it('is asked about once for all its requests at the same time', async () => {
    assert.equal((await Promise.all(Array.from({ length: 5 }, () => admit()))).filter(Boolean).length, 5)
    assert.equal(asked.length, 1)
  })

  it('has an id that does not tell its secret, and is another in each process', async () => {
    const id = (await admit())?.id ?? assert.fail()
    assert.ok(!id.includes('kept') && !Buffer.from(id, 'base64url').includes('kept'))
    const elsewhere = new Callers({
      upstream: { headBlob: async () => 7, headManifest: () => assert.fail() },
      visibility: { belongs: async () => true, noteMembers: () => {} },
    })
    assert.notEqual((await elsewhere.admit(blob(), ann, { signal }))?.id, id)
  })
})
