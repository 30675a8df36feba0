import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import { GRACE } from '../../../src/delivery/access/audience.ts'
import { type Access, type Delivery, Provenance } from '../../../src/delivery/access/provenance.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { isLocalRegistry } from '../../../src/oci/local-registry.ts'
import { type Repository, repositoryKey } from '../../../src/oci/reference.ts'
import { hour } from '../../../src/time/units.ts'
import { type ContentSource, UNRECORDED } from '../../../src/store/content-store.ts'

const app = { registry: 'docker.io', name: 'library/app' }
const other = { registry: 'docker.io', name: 'library/other' }
const elsewhere = { registry: 'ghcr.io', name: 'library/app' }
const hidden = { registry: 'docker.io', name: 'org/hidden' }
const [digest, another] = ['content', 'another'].map((text) => digestOf(Buffer.from(text)))
assert.ok(digest && another)

const MAX_SOURCES = 64
const NOW = 1000
const DAY = 24 * hour

interface Recorded {
  readonly delivery: Delivery
  readonly isPublic?: boolean
}

/** The registry showed it to a request without credentials; its bytes are verified, or not yet. */
const verified: Recorded = { delivery: { from: 'upstream', anonymous: true }, isPublic: true }
const unverified: Recorded = { delivery: { from: 'upstream', anonymous: true } }
const withCredentials: Recorded = { delivery: { from: 'upstream', anonymous: false } }
const peer = (access: Access): Recorded => ({ delivery: { from: 'peer', access } })
const vouched: Recorded = { delivery: { from: 'peer', access: 'unknown', isVouched: true } }

describe('the sources of content that passed through this process', () => {
  let now: number
  let provenance: Provenance
  beforeEach(() => {
    now = NOW
    provenance = new Provenance(() => now)
  })

  const record = (repository: Repository, { delivery, isPublic }: Recorded, of = digest) =>
    provenance.record(repository, of, delivery, isPublic)

  /** What is recorded after these deliveries from one repository, one millisecond apart. */
  const sourceAfter = (...deliveries: readonly Recorded[]): Pick<ContentSource, 'access' | 'at'> => {
    provenance = new Provenance(() => now)
    for (const [index, delivery] of deliveries.entries()) {
      now = NOW + index
      record(app, delivery)
    }
    const [source, ...more] = provenance.of(digest)
    assert.ok(source)
    assert.deepEqual(more, [])
    const { access, at, ...repository } = source
    assert.deepEqual(repository, app)
    return { access, ...(at === undefined ? {} : { at }) }
  }
  const accessAfter = (...deliveries: readonly Recorded[]) => sourceAfter(...deliveries).access

  it('are none for a digest that did not pass', () => {
    record(app, verified)
    assert.deepEqual(provenance.of(another), [])
  })

  it('are all repositories that it was had from, and when', () => {
    record(app, verified)
    now += 1
    record(other, withCredentials)
    now += 1
    record(elsewhere, peer('unknown'))
    record(app, verified, another)
    assert.deepEqual(provenance.of(digest), [
      { ...app, access: 'public', at: NOW },
      { ...other, access: 'unknown', at: NOW + 1 },
      { ...elsewhere, access: 'unknown', at: NOW + 2 - GRACE },
    ])
    assert.deepEqual(provenance.of(another), [{ ...app, access: 'public', at: NOW + 2 }])
  })

  it('hold nothing of a reference but its repository', () => {
    record({ ...app, tag: 'latest' } as typeof app, verified)
    assert.deepEqual(provenance.of(digest), [{ ...app, access: 'public', at: NOW }])
  })

  it('are dated by the monotonic clock of the process unless another one is given', () => {
    const before = performance.now()
    const byDefault = new Provenance()
    byDefault.record(app, digest, withCredentials.delivery)
    const at = byDefault.of(digest)[0]?.at ?? -1
    assert.ok(before <= at && at <= performance.now())
  })

  it('are as old as the last word that the repository was public may be, if it came without credentials', () => {
    assert.deepEqual(sourceAfter(unverified), { access: 'unknown', at: NOW - GRACE })
    // A peer that was not told that the registry showed it to a client gives what it would give to everybody.
    assert.deepEqual(sourceAfter(peer('unknown')), { access: 'unknown', at: NOW - GRACE })
    for (const each of [withCredentials, vouched]) assert.deepEqual(sourceAfter(each), { access: 'unknown', at: NOW })
    assert.deepEqual(sourceAfter(verified), { access: 'public', at: NOW })
    // The earliest one counts: the repository had it then.
    assert.deepEqual(sourceAfter(unverified, withCredentials), { access: 'unknown', at: NOW - GRACE })
  })

  it('are public if the registry gave the verified content without credentials, and unknown otherwise', () => {
    assert.equal(accessAfter(verified), 'public')
    assert.equal(accessAfter(unverified), 'unknown')
    assert.equal(accessAfter(withCredentials), 'unknown')
  })

  it('are what a peer says', () => {
    for (const access of ['public', 'imported', 'unknown'] as const) assert.equal(accessAfter(peer(access)), access)
  })

  it('are not public because a peer gives open content under their name, which may be any', () => {
    assert.equal(accessAfter(peer('open')), 'unknown')
    for (const before of [withCredentials, verified])
      assert.deepEqual(sourceAfter(before, peer('open')), sourceAfter(before))
  })

  it('need not be known for a day after a peer has said that the content is public', () => {
    provenance.noteOpen(digest)
    assert.equal(provenance.isOpen(another), false)
    now += DAY - 1
    assert.equal(provenance.isOpen(digest), true)
    now += 1
    assert.equal(provenance.isOpen(digest), false)
    assert.deepEqual(provenance.of(digest), [])
    for (const each of [verified, unverified, withCredentials, peer('public'), peer('open'), peer('imported')]) {
      record(app, each, another)
      assert.equal(provenance.isOpen(another), false)
    }
  })

  it('stay public, since the time when they were: the bytes are the same', () => {
    for (const later of [unverified, withCredentials, peer('unknown'), peer('imported')])
      assert.deepEqual(sourceAfter(verified, later), { access: 'public', at: NOW })
  })

  it('become public when a registry or a peer shows that they are', () => {
    for (const before of [unverified, withCredentials, peer('unknown'), peer('imported')]) {
      for (const later of [verified, peer('public')])
        assert.deepEqual(sourceAfter(before, later), { access: 'public', at: NOW + 1 })
    }
  })

  it('are as young as the last time when they were shown to be public', () => {
    for (const later of [verified, peer('public')])
      assert.deepEqual(sourceAfter(verified, later), { access: 'public', at: NOW + 1 })
  })

  it('that are not public are as old as when the content came from there first', () => {
    for (const access of ['unknown', 'imported'] as const) {
      assert.deepEqual(sourceAfter(peer(access), peer(access)), { access, at: NOW - GRACE })
      assert.equal(sourceAfter(withCredentials, peer(access)).at, NOW)
    }
  })

  it('that a registry gave are not imported, whatever a peer says before or afterwards', () => {
    for (const given of [unverified, withCredentials]) {
      assert.equal(accessAfter(peer('imported'), given), 'unknown')
      assert.equal(accessAfter(given, peer('imported')), 'unknown')
      assert.equal(accessAfter(given, peer('unknown'), peer('imported')), 'unknown')
    }
  })

  it('that are imported stay so when another peer does not know it', () => {
    assert.equal(accessAfter(peer('imported'), peer('unknown')), 'imported')
  })

  describe('of content that was here before', () => {
    const unrecorded = { ...UNRECORDED, access: 'unknown' }

    it('are not all recorded, and the record says so', () => {
      provenance.recordUnknown(digest)
      assert.deepEqual(provenance.of(digest), [unrecorded])
      record(app, verified)
      assert.deepEqual(provenance.of(digest), [unrecorded, { ...app, access: 'public', at: NOW }])
      assert.deepEqual(provenance.of(another), [])
    })

    it('are all recorded if it passed through this process', () => {
      record(app, withCredentials)
      provenance.recordUnknown(digest)
      assert.deepEqual(provenance.of(digest), [{ ...app, access: 'unknown', at: NOW }])
    })

    it('cannot be made public by content that passes under the name that stands for them', () => {
      provenance.recordUnknown(digest)
      // Rights treats each name at a host below `localhost` as private, whatever its access.
      record(UNRECORDED, verified)
      assert.deepEqual(provenance.of(digest).map(repositoryKey), [repositoryKey(UNRECORDED)])
      assert.ok(isLocalRegistry(UNRECORDED.registry))
    })
  })

  describe('that are more than are kept', () => {
    const repositories = (count: number, name = 'x') =>
      Array.from({ length: count }, (_, index) => ({ registry: 'evil.test', name: `${name}/${index}` }))
    const isRecorded = (repository: Repository) =>
      provenance.of(digest).some((source) => repositoryKey(source) === repositoryKey(repository))

    it('are bounded', () => {
      for (const each of [verified, withCredentials, peer('imported')]) {
        provenance = new Provenance()
        for (const repository of repositories(1000)) record(repository, each)
        assert.ok(provenance.of(digest).length <= MAX_SOURCES)
        assert.ok(provenance.of(digest).length >= MAX_SOURCES - 1)
      }
    })

    it('lose a public one for one that may be private', () => {
      for (const repository of repositories(MAX_SOURCES)) record(repository, verified)
      record(app, verified)
      assert.equal(isRecorded(app), false)
      record(hidden, withCredentials)
      assert.equal(isRecorded(hidden), true)
      assert.equal(isRecorded(UNRECORDED), false)
      assert.equal(provenance.of(digest).length, MAX_SOURCES)
    })

    it('still learn about those that are kept', () => {
      const all = repositories(MAX_SOURCES)
      for (const repository of all) record(repository, withCredentials)
      for (const repository of all) record(repository, verified)
      assert.ok(provenance.of(digest).every(({ access }) => access === 'public'))
    })

    it('are not only those of a registry that an attacker filled the record with', () => {
      for (const repository of repositories(MAX_SOURCES)) record(repository, withCredentials)
      record(hidden, withCredentials)
      // Otherwise that registry's word would be enough.
      assert.ok(provenance.of(digest).some(({ registry }) => registry !== 'evil.test'))
      assert.ok(isRecorded(UNRECORDED))
    })

    it('never lose the mark that some are not recorded', () => {
      for (const repository of repositories(MAX_SOURCES + 1)) record(repository, withCredentials)
      for (const repository of repositories(3 * MAX_SOURCES, 'y')) {
        record(repository, withCredentials)
        assert.ok(isRecorded(UNRECORDED))
      }
      for (const repository of repositories(3 * MAX_SOURCES)) record(repository, verified)
      for (const repository of repositories(3 * MAX_SOURCES, 'z')) record(repository, withCredentials)
      assert.ok(isRecorded(UNRECORDED))
    })
  })
})
