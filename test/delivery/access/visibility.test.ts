import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { type Audience, PEER } from '../../../src/delivery/access/audience.ts'
import { Visibility, type VisibilityOptions } from '../../../src/delivery/access/visibility.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { hour, minute, second } from '../../../src/time/units.ts'
import { UpstreamError, type UpstreamOptions, type UpstreamTag } from '../../../src/upstream/upstream.ts'
import { MemoryStore } from '../../support/memory-store.ts'

const NODE: Audience = { kind: 'node' }
const signal = new AbortController().signal
const app = { registry: 'docker.io', name: 'library/app' }
const other = { registry: 'docker.io', name: 'library/other' }
const bytes = Buffer.from('content')
const content = { kind: 'blobs', digest: digestOf(bytes) } as const

/** An upstream that says of everything that it is there, is not, or cannot be seen. */
class FakeUpstream {
  readonly asked: string[] = []
  says: 'yes' | 'no' | UpstreamError['reason'] = 'yes'

  async headBlob(repository: { name: string }, _digest: string, options: UpstreamOptions): Promise<number | undefined> {
    assert.ok(typeof options.as === 'string')
    this.asked.push(`${repository.name} ${options.as}`)
    if (this.says === 'yes') return 7
    if (this.says === 'no') return undefined
    throw new UpstreamError(this.says, 'no')
  }

  async headManifest(
    repository: { name: string },
    _reference: string,
    options: UpstreamOptions,
  ): Promise<UpstreamTag | undefined> {
    const size = await this.headBlob(repository, '', options)
    if (size === undefined) return undefined
    return { descriptor: { digest: content.digest, mediaType: 'a/b', size }, date: 0, anonymous: true }
  }
}

describe('what may be seen', () => {
  let store: MemoryStore
  let upstream: FakeUpstream

  beforeEach(() => {
    mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
    store = new MemoryStore()
    upstream = new FakeUpstream()
  })
  afterEach(() => mock.timers.reset())

  const visibilityOf = (options: Partial<VisibilityOptions> = {}) =>
    new Visibility({ store, upstream, policy: 'verify', ownsContent: false, ...options })
  const may = (visibility: Visibility, repository = app, audience: Audience = PEER) =>
    visibility.mayServe(repository, content, audience, { signal })

  it('is nothing under a name that content does not belong to, whoever asks and whatever the policy', async () => {
    store.put(bytes, { ...app, access: 'public' })
    for (const policy of ['verify', 'share', 'skip'] as const) {
      for (const audience of [NODE, PEER]) {
        assert.equal(await may(visibilityOf({ policy, ownsContent: true }), other, audience), false)
      }
    }
    assert.deepEqual(upstream.asked, [])
  })

  it('is what came without credentials, or was put here by the owner', async () => {
    for (const access of ['public', 'imported'] as const) {
      store.put(bytes, { ...app, access })
      assert.equal(await may(visibilityOf()), true)
    }
    assert.deepEqual(upstream.asked, [])
  })

  it('is what the upstream shows to anybody', async () => {
    store.put(bytes, { ...app, access: 'unknown' })
    for (const [says, expected] of [
      ['yes', true],
      ['no', false],
      ['denied', false],
      ['unreachable', false],
    ] as const) {
      upstream.says = says
      assert.equal(await may(visibilityOf()), expected, says)
    }
    assert.deepEqual(new Set(upstream.asked), new Set(['library/app anonymous']))
  })

  it('takes the best that is known of a name', async () => {
    store.put(bytes, { ...app, access: 'unknown' })
    store.put(bytes, { ...other, access: 'public' })
    upstream.says = 'denied'
    assert.equal(await may(visibilityOf()), false)
    assert.equal(await may(visibilityOf(), other), true)
  })

  it('is everything of a name when the owner shares all', async () => {
    store.put(bytes, { ...app, access: 'unknown' })
    upstream.says = 'denied'
    assert.equal(await may(visibilityOf({ policy: 'share' })), true)
    assert.equal(await may(visibilityOf({ policy: 'skip' })), false)
  })

  it('is for clients on the node what Nabo fetched itself, which its peers may not see', async () => {
    store.put(bytes, { ...app, access: 'unknown' })
    upstream.says = 'denied'
    const visibility = visibilityOf({ ownsContent: true })
    assert.equal(await may(visibility, app, NODE), true)
    assert.equal(await may(visibility, app, PEER), false)
    assert.equal(await may(visibilityOf(), app, NODE), false)
  })

  it('is what a manifest seen under a name has named, if that name is public', async () => {
    store.put(bytes)
    const visibility = visibilityOf()
    assert.equal(await may(visibility), false)
    assert.deepEqual(upstream.asked, [])
    visibility.noteMembers(app, [content.digest])
    assert.equal(await may(visibility), true)
    assert.equal(await may(visibility, other), false)
    upstream.says = 'denied'
    const strict = visibilityOf()
    strict.noteMembers(app, [content.digest])
    assert.equal(await may(strict), false)
  })

  it('is what a neighbour has from its owner, and nothing else of that name', async () => {
    const imported = { kind: 'blobs', digest: digestOf(Buffer.from('imported elsewhere')) } as const
    store.put(bytes, { ...app, access: 'unknown' })
    upstream.says = 'denied'
    const visibility = visibilityOf()
    visibility.noteMembers(app, [imported.digest], 'imported')
    visibility.noteMembers(app, [imported.digest])
    assert.equal(await visibility.mayServe(app, imported, PEER, { signal }), true)
    assert.equal(await visibility.mayServe(other, imported, PEER, { signal }), false)
    assert.equal(await may(visibility), false)
  })

  it('is remembered: a day for public, a minute for private, seconds for silence', async () => {
    store.put(bytes, { ...app, access: 'unknown' })
    for (const [says, life] of [
      ['yes', 24 * hour],
      ['no', minute],
      ['denied', minute],
      ['unreachable', 5 * second],
    ] as const) {
      upstream.says = says
      upstream.asked.length = 0
      const visibility = visibilityOf()
      await may(visibility)
      mock.timers.tick(life - 1)
      await may(visibility)
      assert.equal(upstream.asked.length, 1, says)
      mock.timers.tick(1)
      await may(visibility)
      assert.equal(upstream.asked.length, 2, says)
    }
  })

  it('stays public while the upstream says nothing, until it says no', async () => {
    store.put(bytes, { ...app, access: 'unknown' })
    const visibility = visibilityOf()
    assert.equal(await may(visibility), true)
    for (const [says, expected] of [
      ['unreachable', true],
      ['limited', true],
      ['denied', false],
      ['unreachable', false],
    ] as const) {
      mock.timers.tick(24 * hour)
      upstream.says = says
      assert.equal(await may(visibility), expected, says)
    }
  })

  it('is for a caller and for a verified peer, whose registries were asked, and for no peer where it is skipped', async () => {
    store.put(bytes)
    upstream.says = 'denied'
    const caller = { id: 'ann', credential: { username: 'ann', password: 'secret' } }
    for (const policy of ['verify', 'share', 'skip'] as const) {
      const visibility = visibilityOf({ policy })
      assert.equal(await may(visibility, app, { kind: 'node', caller }), true)
      assert.equal(await may(visibility, app, { kind: 'peer', verified: true }), policy !== 'skip')
      assert.equal(await may(visibility, app, { kind: 'peer', verified: false }), false)
      assert.equal(await may(visibility, app, NODE), false)
    }
    assert.deepEqual(upstream.asked, [])
  })

  it('is not for all of a node what one of its clients had with its own credentials', async () => {
    const visibility = visibilityOf({ ownsContent: true })
    upstream.says = 'denied'
    visibility.noteMembers(app, [content.digest], 'personal')
    assert.equal(await may(visibility, app, NODE), false)
    assert.equal(await visibility.belongs(app, content.digest, { signal }), true)
    assert.equal(await visibility.belongs(other, content.digest, { signal }), false)
    visibility.noteMembers(app, [content.digest])
    visibility.noteMembers(app, [content.digest], 'personal')
    assert.equal(await may(visibility, app, NODE), true)
    assert.equal(await may(visibility, app), false)
    upstream.says = 'yes'
    mock.timers.tick(minute)
    assert.equal(await may(visibility, app), true)
  })

  it('is known without asking where something came without credentials before', async () => {
    store.put(bytes, { ...app, access: 'unknown' })
    const visibility = visibilityOf()
    visibility.notePublic(app)
    assert.equal(await may(visibility), true)
    assert.deepEqual(upstream.asked, [])
  })

  it('is asked once for all who want to know', async () => {
    store.put(bytes, { ...app, access: 'unknown' })
    const visibility = visibilityOf()
    assert.deepEqual(await Promise.all(Array.from({ length: 5 }, () => may(visibility))), Array(5).fill(true))
    assert.equal(upstream.asked.length, 1)
  })

  it('is known or not without asking: public, private, or nobody could say', async () => {
    store.put(bytes, { ...app, access: 'unknown' })
    const verdictOf = async (says: FakeUpstream['says']) => {
      upstream.says = says
      const visibility = visibilityOf()
      assert.equal(visibility.knownVerdict(app), undefined)
      await may(visibility)
      return visibility.knownVerdict(app)
    }
    assert.equal(await verdictOf('yes'), true)
    assert.equal(await verdictOf('no'), false)
    assert.equal(await verdictOf('denied'), false)
    assert.equal(await verdictOf('unreachable'), undefined)
  })

  it('is private for a minute if a neighbour says so, unless it is known to be public', () => {
    const visibility = visibilityOf()
    assert.equal(visibility.mayShare(app), true)
    visibility.notePrivate(app)
    assert.equal(visibility.mayShare(app), false)
    mock.timers.tick(minute)
    assert.equal(visibility.mayShare(app), true)
    visibility.notePublic(app)
    visibility.notePrivate(app)
    assert.equal(visibility.knownVerdict(app), true)
    const sharing = visibilityOf({ policy: 'share' })
    sharing.notePrivate(app)
    assert.equal(sharing.mayShare(app), true)
  })

  it('is called public where the owner shares all, once that is known', async () => {
    store.put(bytes, { ...app, access: 'unknown' })
    const visibility = visibilityOf({ policy: 'share' })
    assert.equal(await visibility.access(app, content, PEER, { signal }), 'unknown')
    visibility.notePublic(app)
    assert.equal(await visibility.access(app, content, PEER, { signal }), 'public')
    assert.deepEqual(upstream.asked, [])
  })
})
