import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import type { Caller } from '../../../src/delivery/access/audience.ts'
import { CallerProofs } from '../../../src/delivery/access/caller-proofs.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import type { Repository } from '../../../src/oci/reference.ts'
import { hour, minute, second } from '../../../src/time/units.ts'
import { UpstreamError, type UpstreamOptions, type UpstreamProof } from '../../../src/upstream/upstream.ts'

const signal = new AbortController().signal
const repository = { registry: 'docker.io', name: 'org/hidden' }
const other = { registry: 'docker.io', name: 'org/hidden-too' }
const elsewhere = { registry: 'ghcr.io', name: 'org/hidden' }
const [first, later, missing] = ['first', 'later', 'missing'].map((text) => digestOf(Buffer.from(text))) as [
  ReturnType<typeof digestOf>,
  ReturnType<typeof digestOf>,
  ReturnType<typeof digestOf>,
]
const ANN = { username: 'ann', password: 'kept:to-herself' }
const BOB = { username: 'bob', password: 'knows-nothing' }
const DAY = 24 * hour
const blob = (reference: string) => ({ kind: 'blobs', reference }) as const
const manifest = (reference: string) => ({ kind: 'manifests', reference }) as const

describe('proofs of what registries show to a caller', () => {
  /** `ann:kept:to-herself docker.io/org/hidden blobs sha256:…`, in the order of the questions. */
  let asked: string[]
  let failure: UpstreamError | undefined
  let gate: Promise<void> | undefined
  let anonymous: boolean
  /** What a tag names, if the registry says it. */
  let tagged: UpstreamProof['digest']
  let openToAll: string[]
  let now: number
  let proofs: CallerProofs
  let ann: Caller
  let bob: Caller

  const upstream = {
    /** Shows everything but `missing` to ann and to the node, and nothing to others. */
    async shows(of: Repository, probe: { kind: string; reference: string }, { as }: UpstreamOptions) {
      const who = typeof as === 'object' ? `${as.username}:${as.password}` : String(as)
      asked.push(`${who} ${of.registry}/${of.name} ${probe.kind} ${probe.reference}`)
      await gate
      if (failure !== undefined) throw failure
      if (who !== 'ann:kept:to-herself' && who !== 'node') throw new UpstreamError('denied', '401')
      if (probe.reference === missing) return undefined
      const digest = probe.reference.startsWith('sha256:') ? { digest: probe.reference as typeof first } : {}
      return { anonymous, ...(tagged === undefined ? digest : { digest: tagged }) }
    },
  }

  beforeEach(() => {
    asked = []
    failure = undefined
    gate = undefined
    anonymous = false
    tagged = undefined
    openToAll = []
    now = 1_000_000
    proofs = new CallerProofs({
      upstream,
      onAnonymous: (of, reference) => openToAll.push(`${of.name} ${reference}`),
      now: () => now,
    })
    ann = proofs.identify(ANN)
    bob = proofs.identify(BOB)
  })
  afterEach(() => mock.timers.reset())

  const proves = (probe = blob(first) as Parameters<CallerProofs['proves']>[2], holder: Caller | 'node' = ann) =>
    proofs.proves(holder, repository, probe, { signal })

  it('cost one question with the credentials of the caller, and last five minutes', async () => {
    assert.equal(proofs.knows(ann, repository, first), false)
    assert.equal(await proves(), 'shown')
    assert.deepEqual(asked, [`ann:kept:to-herself docker.io/org/hidden blobs ${first}`])
    now += 5 * minute - 1
    assert.equal(await proves(), 'shown')
    assert.equal(proofs.knows(ann, repository, first), true)
    assert.equal(asked.length, 1)
    now += 1
    assert.equal(proofs.knows(ann, repository, first), false)
    assert.equal(await proves(), 'shown')
    assert.equal(asked.length, 2)
  })

  it('concern one digest', async () => {
    await proves(blob(first))
    assert.equal(proofs.knows(ann, repository, later), false)
    assert.equal(await proves(blob(later)), 'shown')
    assert.equal(await proves(blob(missing)), 'absent')
    assert.equal(asked.length, 3)
  })

  it('concern one repository of one registry', async () => {
    await proves()
    for (const [index, where] of [other, elsewhere].entries()) {
      assert.equal(proofs.knows(ann, where, first), false)
      assert.equal(await proofs.proves(ann, where, blob(first), { signal }), 'shown')
      assert.equal(asked.length, index + 2)
    }
  })

  it('concern one credential: same name and another password is another caller', async () => {
    await proves()
    for (const credential of [BOB, { ...ANN, password: 'guessed' }, { username: 'ann:kept', password: 'to-herself' }]) {
      const caller = proofs.identify(credential)
      assert.equal(proofs.knows(caller, repository, first), false)
      // A registry that joins name and password with a colon lets the last one in: it is another caller all the same.
      assert.equal(await proves(blob(first), caller), credential.username === 'ann:kept' ? 'shown' : 'refused')
    }
    assert.equal(asked.length, 4)
  })

  it('of the node are asked for with its own credentials, and are no caller’s', async () => {
    assert.equal(await proves(blob(first), 'node'), 'shown')
    assert.deepEqual(asked, [`node docker.io/org/hidden blobs ${first}`])
    assert.equal(proofs.knows('node', repository, first), true)
    assert.equal(proofs.knows(ann, repository, first), false)
    await proves()
    assert.equal(asked.length, 2)
  })

  it('of a tag are proofs of the digest that it names as well', async () => {
    tagged = later
    assert.equal(await proves(manifest('1')), 'shown')
    assert.equal(await proves(manifest('1')), 'shown')
    assert.equal(await proves(manifest(later)), 'shown')
    assert.equal(asked.length, 1)
    assert.equal(proofs.knows(ann, repository, first), false)
  })

  it('of a tag whose digest the registry does not say are of the tag alone', async () => {
    assert.equal(await proves(manifest('1')), 'shown')
    assert.equal(proofs.knows(ann, repository, '1'), true)
    assert.equal(await proves(manifest(later)), 'shown')
    assert.equal(asked.length, 2)
  })

  it('are at hand without a question after the registry gave the content itself', async () => {
    proofs.shown(ann, repository, first)
    assert.equal(proofs.knows(ann, repository, first), true)
    assert.equal(await proves(), 'shown')
    assert.deepEqual(asked, [])
    now += 5 * minute
    assert.equal(proofs.knows(ann, repository, first), false)
  })

  it('that needed no credentials are told, tag and digest', async () => {
    await proves()
    assert.deepEqual(openToAll, [])
    anonymous = true
    tagged = later
    await proves(manifest('1'))
    assert.deepEqual(openToAll, ['org/hidden 1', `org/hidden ${later}`])
    // They are the caller's as well.
    assert.equal(proofs.knows(ann, repository, later), true)
  })

  it('are not asked for again for a minute after a refusal, which concerns the whole repository', async () => {
    for (const probe of [blob(first), blob(later), manifest('1')]) assert.equal(await proves(probe, bob), 'refused')
    assert.equal(asked.length, 1)
    assert.equal(proofs.isRefused(bob, repository), true)
    assert.equal(proofs.isRefused(bob, other), false)
    assert.equal(proofs.isRefused(ann, repository), false)
    now += minute - 1
    assert.equal(await proves(blob(first), bob), 'refused')
    assert.equal(asked.length, 1)
    now += 1
    assert.equal(proofs.isRefused(bob, repository), false)
    assert.equal(await proves(blob(first), bob), 'refused')
    assert.equal(asked.length, 2)
  })

  it('end with a refusal, in this repository and for this caller alone', async () => {
    for (const where of [repository, other]) for (const digest of [first, later]) proofs.shown(ann, where, digest)
    proofs.shown('node', repository, first)
    failure = new UpstreamError('denied', '403')
    assert.equal(await proves(manifest('1')), 'refused')
    for (const digest of [first, later]) {
      assert.equal(proofs.knows(ann, repository, digest), false)
      assert.equal(proofs.knows(ann, other, digest), true)
    }
    assert.equal(proofs.knows('node', repository, first), true)
    failure = undefined
    assert.equal(await proves(), 'refused')
    now += minute
    assert.equal(await proves(), 'shown')
  })

  it('end with a refusal that was noticed elsewhere', async () => {
    await proves()
    proofs.refused(ann, repository)
    assert.equal(proofs.isRefused(ann, repository), true)
    assert.equal(proofs.knows(ann, repository, first), false)
    assert.equal(await proves(), 'refused')
    assert.equal(asked.length, 1)
  })

  it('are not asked for again for ten seconds where the content is absent', async () => {
    for (let i = 0; i < 3; i += 1) assert.equal(await proves(blob(missing)), 'absent')
    assert.equal(asked.length, 1)
    assert.equal(proofs.isRefused(ann, repository), false)
    assert.equal(proofs.knows(ann, repository, missing), false)
    now += 10 * second
    assert.equal(await proves(blob(missing)), 'absent')
    assert.equal(asked.length, 2)
    // It has been pushed meanwhile.
    proofs.shown(ann, repository, missing)
    assert.equal(await proves(blob(missing)), 'shown')
  })

  it('are asked for as a manifest although the content is absent as a blob, and the other way round', async () => {
    assert.equal(await proves(blob(missing)), 'absent')
    assert.equal(await proves(manifest(missing)), 'absent')
    assert.equal(asked.length, 2)
    for (const probe of [blob(missing), manifest(missing)]) assert.equal(await proves(probe), 'absent')
    assert.equal(asked.length, 2)
    // A proof is one of the digest, whatever it was asked for as.
    await proves(blob(first))
    assert.equal(await proves(manifest(first)), 'shown')
    assert.equal(asked.length, 3)
  })

  for (const [reason, status, word] of [
    ['unreachable', undefined, 'unknown'],
    ['limited', 429, 'unknown'],
    ['failed', undefined, 'unknown'],
    ['failed', 502, 'unknown'],
    ['failed', 401, 'unclear'],
    ['invalid', 200, 'unclear'],
  ] as const) {
    it(`count to their end, and there are no new ones, while the registry is ${reason} (${status})`, async () => {
      await proves()
      failure = new UpstreamError(reason, 'no', { status })
      assert.equal(await proves(), 'shown')
      // An image of twenty layers waits once.
      for (let layer = 0; layer < 20; layer += 1) assert.equal(await proves(blob(layer === 0 ? later : missing)), word)
      assert.equal(asked.length, 2)
      assert.equal(proofs.isRefused(ann, repository), false)
      assert.equal(proofs.knows(ann, repository, later), false)
      // Another kind of content and another client have questions of their own.
      await proves(manifest(later))
      await proves(blob(later), 'node')
      assert.equal(asked.length, 4)
      now += 5 * minute
      assert.equal(await proves(), word)
      failure = undefined
      assert.equal(await proves(), word)
      now += 5 * second
      assert.equal(await proves(), 'shown')
      assert.equal(await proves(blob(later)), 'shown')
    })
  }

  it('are not waited for longer than three seconds', async () => {
    mock.timers.enable({ apis: ['setTimeout'] })
    gate = new Promise(() => {})
    const waiting = proves()
    mock.timers.tick(3 * second)
    assert.equal(await waiting, 'unknown')
  })

  it('are asked for once by all requests at the same time, whoever of them goes', async () => {
    const open = Promise.withResolvers<void>()
    gate = open.promise
    const gone = new AbortController()
    const left = proofs.proves(ann, repository, blob(first), { signal: gone.signal })
    const waiting = Array.from({ length: 5 }, () => proves())
    gone.abort(new Error('gone'))
    open.resolve()
    await assert.rejects(left, /gone/)
    assert.deepEqual(await Promise.all(waiting), Array(5).fill('shown'))
    assert.equal(asked.length, 1)
  })

  it('take no notice of the wall clock', async () => {
    mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
    const byDefault = new CallerProofs({ upstream })
    const caller = byDefault.identify(ANN)
    for (const each of [proofs, byDefault]) {
      assert.equal(await each.proves(caller, repository, blob(first), { signal }), 'shown')
      assert.equal(await each.proves(caller, other, blob(missing), { signal }), 'absent')
      each.refused(caller, elsewhere)
    }
    const count = asked.length
    for (const time of [0, 1_700_000_000_000 + 365 * DAY]) {
      mock.timers.setTime(time)
      for (const each of [proofs, byDefault]) {
        assert.equal(await each.proves(caller, repository, blob(first), { signal }), 'shown')
        assert.equal(await each.proves(caller, other, blob(missing), { signal }), 'absent')
        assert.equal(each.isRefused(caller, elsewhere), true)
      }
    }
    assert.equal(asked.length, count)
    mock.timers.setTime(0)
    now += 5 * minute
    assert.equal(proofs.knows(caller, repository, first), false)
    assert.equal(proofs.isRefused(caller, elsewhere), false)
  })
})

describe('the id of a caller', () => {
  const upstream = { shows: () => assert.fail('nothing is asked to tell callers apart') }

  it('is the same for the same credential, and another one for each other', () => {
    const proofs = new CallerProofs({ upstream })
    assert.equal(proofs.identify({ ...ANN }).id, proofs.identify(ANN).id)
    assert.deepEqual(proofs.identify(ANN).credential, ANN)
    const others = [
      BOB,
      { ...ANN, password: 'guessed' },
      { ...ANN, username: 'Ann' },
      // Where one ends and the other begins is part of both.
      { username: 'ann:kept', password: 'to-herself' },
      { username: 'annkept', password: ':to-herself' },
    ]
    assert.equal(new Set([ANN, ...others].map((credential) => proofs.identify(credential).id)).size, 6)
  })

  it('does not tell the secret, and is another one in each process', () => {
    const { id } = new CallerProofs({ upstream }).identify(ANN)
    for (const text of [id, Buffer.from(id, 'base64url').toString('latin1')]) {
      assert.ok(!text.includes('kept') && !text.includes('ann'))
    }
    assert.notEqual(new CallerProofs({ upstream }).identify(ANN).id, id)
  })
})
