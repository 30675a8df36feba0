import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { setImmediate, setTimeout } from 'node:timers/promises'

import { decodeMessage, encodeMessage } from '../../../src/contracts/message.ts'
import { nodeCaller } from '../../../src/contracts/node-caller.ts'
import { NODE_PROTOCOL } from '../../../src/contracts/node-protocol.ts'
import { GRACE, type NamedContent, type Probe, type PublicWord } from '../../../src/delivery/access/audience.ts'
import { SharedProofs } from '../../../src/delivery/access/cluster-proofs.ts'
import { type ClusterProofs, PublicProofs } from '../../../src/delivery/access/public-proofs.ts'
import type { KeptRepository } from '../../../src/delivery/access/public-record.ts'
import { type NodeMessageParts, nodeHandlers } from '../../../src/http/node-messages.ts'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import { type Repository, repositoryKey } from '../../../src/oci/reference.ts'
import { PeerError } from '../../../src/peers/peer-transport.ts'
import { keyOfRepository } from '../../../src/providers/index-key.ts'
import type { ContentSource } from '../../../src/store/content-store.ts'
import { hour, minute, second } from '../../../src/time/units.ts'
import {
  UpstreamError,
  type UpstreamOptions,
  type UpstreamProof,
  type UpstreamQuestion,
} from '../../../src/upstream/upstream.ts'
import { FakeCluster } from '../../support/fake-overlay.ts'
import { answered } from '../../support/wire.ts'

const signal = new AbortController().signal
const app = { registry: 'docker.io', name: 'library/app' }
const other = { registry: 'docker.io', name: 'library/app-too' }
const elsewhere = { registry: 'ghcr.io', name: 'library/app' }
const [one, two, three] = ['1', '2', '3'].map(
  (text) => ({ kind: 'blobs', digest: digestOf(Buffer.from(text)) }) as const,
)
assert.ok(one && two && three)
const tag = { kind: 'manifests', reference: 'latest' } as const
const probeOf = ({ kind, digest }: { kind: Probe['kind']; digest: Digest }) => ({ kind, reference: digest })
const DAY = 24 * hour

/** What a registry says to a HEAD without credentials; a number is the status of a failure. */
type Says = 'yes' | 'no' | UpstreamError['reason'] | number

function failureOf(says: Exclude<Says, 'yes' | 'no'>): UpstreamError {
  return typeof says === 'number' ? new UpstreamError('failed', 'no', { status: says }) : new UpstreamError(says, 'no')
}

/** A registry that says the same about everything. */
class Registry {
  says: Says = 'yes'
  /** `docker.io/library/app@sha256:…`, in the order of the questions. */
  readonly asked: string[] = []
  gate: Promise<void> | undefined

  async shows(repository: Repository, { reference }: UpstreamQuestion): Promise<UpstreamProof | undefined> {
    this.asked.push(`${repositoryKey(repository)}@${reference}`)
    await this.gate
    if (this.says === 'yes') return { anonymous: true }
    if (this.says === 'no') return undefined
    throw failureOf(this.says)
  }
}

const ACCESS = NODE_PROTOCOL.access
const SENDER = { id: 'a', address: '10.0.0.1:7951', remoteAddress: '10.0.0.1' }

/** How a node answers the body of an access message. */
async function answerOf(publicProofs: NodeMessageParts['publicProofs'], body: Uint8Array): Promise<Buffer> {
  const handlers = nodeHandlers({ publicProofs } as NodeMessageParts)
  const request = decodeMessage(ACCESS.request, body)
  return encodeMessage(
    ACCESS.answer,
    await handlers.access(request, { from: SENDER, signal: new AbortController().signal }),
  )
}

describe('what a registry shows to everybody', () => {
  let registry: Registry
  let now: number
  let proofs: PublicProofs

  beforeEach(() => {
    registry = new Registry()
    now = 5_000_000
    proofs = proofsWith()
  })
  afterEach(() => mock.timers.reset())

  const proofsWith = (cluster?: Partial<ClusterProofs>) => {
    const silent: ClusterProofs = { ask: async () => undefined, prove: async () => undefined, tell: () => {} }
    return new PublicProofs({ upstream: registry, cluster: { ...silent, ...cluster }, now: () => now })
  }
  const proves = (content: NamedContent = one, repository = app) => proofs.proves(repository, content, { signal })
  const standing = (probe: Probe = probeOf(one)) => proofs.standing(app, probe, { signal })

  it('is asked for without credentials, by one question', async () => {
    const asked: unknown[] = []
    const upstream = {
      shows: async (repository: Repository, probe: UpstreamQuestion, { as }: UpstreamOptions) => {
        asked.push([repository, probe, as])
        return { anonymous: true }
      },
    }
    assert.equal(await new PublicProofs({ upstream }).proves(app, one, { signal }), 'shown')
    assert.deepEqual(asked, [[app, probeOf(one), 'anonymous']])
  })

  for (const [says, word, life] of [
    ['yes', 'shown', DAY],
    ['no', 'absent', minute],
    ['denied', 'refused', minute],
    ['unreachable', 'unknown', 5 * second],
    ['limited', 'unknown', 5 * second],
    ['failed', 'unknown', 5 * second],
    [503, 'unknown', 5 * second],
    ['invalid', 'unclear', 5 * second],
    [401, 'unclear', 5 * second],
  ] as const) {
    it(`is remembered for ${life / second} s where it says ${says}`, async () => {
      registry.says = says
      assert.equal(await proves(), word)
      now += life - 1
      assert.equal(await proves(), word)
      assert.equal(registry.asked.length, 1)
      now += 1
      assert.equal(await proves(), word)
      assert.equal(registry.asked.length, 2)
    })
  }

  it('is a proof for one digest in one repository of one registry', async () => {
    await proves()
    for (const [content, repository] of [
      [two, app],
      [one, other],
      [one, elsewhere],
    ] as const) {
      assert.equal(proofs.knows(repository, content), false)
      registry.says = 'no'
      assert.equal(await proves(content, repository), 'absent')
    }
    assert.equal(registry.asked.length, 4)
    assert.equal(proofs.knows(app, one), true)
  })

  it('makes the repository public, and no other one', async () => {
    assert.equal(proofs.known(app), undefined)
    assert.equal(proofs.openness(app), 'unknown')
    assert.equal(proofs.publicAge(app), undefined)
    await proves()
    assert.equal(proofs.known(app), true)
    assert.equal(proofs.openness(app), 'public')
    assert.equal(proofs.openness({ ...app, access: 'unknown' }), 'public')
    now += hour
    assert.equal(proofs.publicAge(app), hour)
    for (const repository of [other, elsewhere]) assert.equal(proofs.known(repository), undefined)
  })

  it('says nothing about the repository where one digest is absent', async () => {
    registry.says = 'no'
    await proves()
    assert.equal(proofs.known(app), undefined)
    assert.equal(proofs.openness(app), 'unknown')
    registry.says = 'yes'
    assert.equal(await proves(two), 'shown')
  })

  it('is refused for the whole repository', async () => {
    registry.says = 'denied'
    await proves()
    assert.equal(proofs.known(app), false)
    assert.equal(proofs.openness(app), 'closed')
    assert.equal(proofs.publicAge(app), undefined)
    assert.equal(await proves(two), 'refused')
    assert.equal(registry.asked.length, 1)
    assert.equal(proofs.known(other), undefined)
  })

  it('counts on while the registry cannot be asked, and no longer once it refuses', async () => {
    await proves()
    for (const [says, word, openness] of [
      ['unreachable', 'shown', 'stale'],
      ['limited', 'shown', 'stale'],
      ['denied', 'refused', 'unknown'],
      ['unreachable', 'unknown', 'unknown'],
    ] as const) {
      now += DAY
      registry.says = says
      assert.equal(proofs.knows(app, one), false)
      assert.equal(await proves(), word, says)
      // It is asked again soon, whatever it said.
      now += minute
      assert.equal(proofs.openness(app), openness, says)
    }
    assert.equal(registry.asked.length, 5)
  })

  for (const says of [401, 403, 418, 'invalid'] as const) {
    it(`counts for its day and no longer where the registry answers ${says} without refusing it`, async () => {
      await proves()
      registry.says = says
      now += DAY - 1
      assert.equal(await proves(), 'shown')
      assert.equal(await standing(), 'public')
      // Older than the caller allows: the registry is asked, and does not show it.
      assert.equal(await proofs.standing(app, probeOf(one), { signal, maxAge: GRACE }), 'unknown')
      now += 1
      for (const later of [0, 5 * second, 5 * second, 30 * DAY]) {
        now += later
        assert.equal(await proves(), 'unclear')
        assert.equal(await standing(), 'unknown')
        assert.equal(proofs.openness(app), 'unknown')
        // Neither private: nobody is asked for credentials, and no other node is told so.
        assert.equal(proofs.known(app), undefined)
        assert.deepEqual(await proofs.proveFor(app, one), { word: 'unknown', age: 0 })
      }
      // That it cannot be asked any more does not bring the proof back.
      registry.says = 'unreachable'
      now += 5 * second
      assert.equal(await proves(), 'unknown')
      assert.equal(await standing(), 'unknown')
      registry.says = 'yes'
      now += 5 * second
      assert.equal(await standing(), 'public')
      registry.says = 'unreachable'
      now += DAY
      assert.equal(await proves(), 'shown')
      assert.equal(await standing(), 'public')
    })
  }

  it('counts on for the proven digests alone while the registry cannot be asked', async () => {
    await proves(one)
    registry.says = 'unreachable'
    assert.equal(await proves(two), 'unknown')
    assert.equal(await proves(one), 'shown')
    now += DAY
    assert.equal(await proves(two), 'unknown')
    assert.equal(await proves(one), 'shown')
    // The second failure was enough for both.
    assert.equal(registry.asked.length, 3)
  })

  it('stays public for its day when the registry cannot be asked about another digest', async () => {
    await proves(one)
    registry.says = 'unreachable'
    await proves(two)
    now += 10 * second
    assert.equal(proofs.known(app), true)
    assert.equal(proofs.openness(app), 'public')
    now += DAY
    assert.equal(proofs.openness(app), 'stale')
  })

  it('ends with a refusal of any digest of the repository', async () => {
    await proves(one)
    await proves(one, other)
    now += hour
    registry.says = 'denied'
    assert.equal(await proves(two), 'refused')
    assert.equal(proofs.knows(app, one), false)
    assert.equal(await proves(one), 'refused')
    assert.equal(proofs.knows(other, one), true)
    registry.says = 'unreachable'
    now += minute
    assert.equal(await proves(one), 'unknown')
  })

  it('ends with a refusal although a neighbour needed credentials shortly before', async () => {
    await proves()
    now += DAY
    proofs.notePrivate(app)
    registry.says = 'denied'
    assert.equal(await proves(), 'refused')
    registry.says = 'unreachable'
    now += minute
    assert.equal(await proves(), 'unknown')
  })

  it('ends with 404: content that was removed is not shown again while the registry is down', async () => {
    await proves()
    now += DAY
    registry.says = 'no'
    assert.equal(await proves(), 'absent')
    now += minute
    registry.says = 'unreachable'
    assert.equal(await proves(), 'unknown')
  })

  it('is asked for as a manifest although the content is absent as a blob, which ends no proof', async () => {
    const asManifest = { ...one, kind: 'manifests' } as const
    registry.says = 'no'
    assert.equal(await proves(one), 'absent')
    registry.says = 'yes'
    assert.equal(await proves(asManifest), 'shown')
    now += DAY
    registry.says = 'no'
    assert.equal(await proves(one), 'absent')
    registry.says = 'unreachable'
    assert.equal(await proves(asManifest), 'shown')
    assert.equal(registry.asked.length, 4)
  })

  it('is what it gave without credentials, and a tag is no proof', async () => {
    proofs.shown(app, one.digest)
    proofs.shown(app, 'latest')
    assert.equal(await proves(), 'shown')
    assert.equal(proofs.known(app), true)
    assert.deepEqual(registry.asked, [])
    assert.equal(proofs.kept(10)[0]?.contents.length, 1)
  })

  it('is asked for once by all requests at the same time, whoever of them goes', async () => {
    const open = Promise.withResolvers<void>()
    registry.gate = open.promise
    const gone = new AbortController()
    const left = proofs.proves(app, one, { signal: gone.signal })
    const waiting = Array.from({ length: 5 }, () => proves())
    gone.abort(new Error('gone'))
    open.resolve()
    await assert.rejects(left, /gone/)
    assert.deepEqual(await Promise.all(waiting), Array(5).fill('shown'))
    assert.equal(registry.asked.length, 1)
  })

  it('is not waited for longer than three seconds', async () => {
    mock.timers.enable({ apis: ['setTimeout'] })
    registry.gate = new Promise(() => {})
    const waiting = proves()
    await Promise.resolve()
    mock.timers.tick(3 * second)
    assert.equal(await waiting, 'unknown')
  })

  it('of a repository is told by a neighbour, unless the registry has just refused it to this node', async () => {
    proofs.heard(app)
    assert.equal(proofs.known(app), true)
    assert.equal(proofs.publicAge(app), 0)
    // That proves no digest.
    assert.equal(proofs.knows(app, one), false)
    registry.says = 'denied'
    await proves(one, other)
    proofs.heard(other)
    assert.equal(proofs.known(other), false)
    assert.equal(await proves(one, other), 'refused')
    now += minute
    proofs.heard(other)
    assert.equal(proofs.known(other), true)
    // It may be some minutes old.
    proofs.heard(elsewhere, GRACE)
    assert.equal(proofs.publicAge(elsewhere), GRACE)
  })

  it('of a content is told by its holder, unless the registry has just refused the repository to this node', async () => {
    proofs.heardOf(app, one.digest)
    assert.equal(await proves(), 'shown')
    assert.deepEqual(registry.asked, [])
    assert.equal(proofs.knows(app, two), false)
    // Of the repository a holder says nothing: it may have been closed since.
    assert.equal(proofs.known(app), undefined)
    assert.equal(proofs.publicAge(app), undefined)
    assert.deepEqual(proofs.kept(10), [])
    registry.says = 'denied'
    await proves(one, other)
    proofs.heardOf(other, one.digest)
    assert.equal(await proves(one, other), 'refused')
    now += minute
    proofs.heardOf(other, one.digest)
    assert.equal(await proves(one, other), 'shown')
    assert.equal(registry.asked.length, 1)
  })

  it('of a content is no tag', () => {
    proofs.heardOf(app, 'latest')
    proofs.heard(app)
    assert.deepEqual(
      proofs.kept(10).map(({ contents }) => contents),
      [[]],
    )
  })

  it('does not become younger because neighbours repeat it', async () => {
    await proves()
    now += 23 * hour
    proofs.heard(app)
    proofs.heardOf(app, one.digest)
    assert.equal(proofs.publicAge(app), 23 * hour)
    now += 2 * hour
    assert.equal(proofs.openness(app), 'stale')
    assert.equal(proofs.knows(app, one), false)
    proofs.heardOf(app, one.digest)
    assert.equal(proofs.knows(app, one), false)
  })

  it('is not told by neighbours in a cluster without a secret', async () => {
    const wary = new PublicProofs({ upstream: registry, believesPeers: false })
    wary.heard(app)
    wary.heardOf(app, one.digest)
    wary.notePrivate(other)
    for (const repository of [app, other]) assert.equal(wary.known(repository), undefined)
    assert.equal(wary.knows(app, one), false)
    wary.shown(app, one.digest)
    wary.forget(app)
    assert.equal(wary.knows(app, one), true)
    assert.equal(wary.known(app), true)
  })

  it('of a local registry is neither asked nor told of the cluster, nor believed of it', async () => {
    const never = () => assert.fail('not expected')
    proofs = proofsWith({ ask: never, prove: never, tell: never })
    for (const name of ['localhost', 'localhost:5000', 'reg.localhost', '127.0.0.1:5000', '[::1]', '169.254.1.1']) {
      const local = { registry: name, name: 'app' }
      assert.equal(await proofs.hearOpenness(local), 'unknown')
      proofs.heard(local)
      proofs.heardOf(local, one.digest)
      proofs.notePrivate(local)
      assert.equal(proofs.known(local), undefined)
      assert.equal(proofs.knows(local, one), false)
      registry.says = 'yes'
      assert.equal(await proves(one, local), 'shown')
      assert.equal(await proofs.standing(local, tag, { signal }), 'public')
      proofs.forget(local)
      assert.equal(proofs.knows(local, one), true)
      assert.deepEqual(await proofs.proveFor(local, one), { word: 'unknown', age: 0 })
      registry.says = 'denied'
      assert.equal(await proves(two, local), 'refused')
      proofs.refused(local)
      assert.equal(await proofs.hearOpenness(local), 'closed')
    }
  })

  it('is nothing for a minute after a neighbour needed credentials, unless it is known to be public', async () => {
    proofs.notePrivate(app)
    assert.equal(proofs.known(app), false)
    assert.equal(proofs.openness(app), 'closed')
    // Enough to keep content here, not to ask a client for its credentials.
    registry.says = 'no'
    assert.equal(await standing(), 'unknown')
    now += minute
    assert.equal(proofs.known(app), undefined)
    proofs.shown(app, one.digest)
    proofs.notePrivate(app)
    assert.equal(proofs.known(app), true)
  })

  it('ends with a refusal that was noticed elsewhere, of which the cluster is told', async () => {
    const told: unknown[] = []
    proofs = proofsWith({ tell: (of, isPublic) => void told.push([of.name, isPublic]) })
    for (const content of [one, two]) await proves(content)
    proofs.refused(app)
    proofs.refused(other)
    for (const content of [one, two]) {
      assert.equal(proofs.knows(app, content), false)
      assert.equal(await proves(content), 'refused')
    }
    for (const repository of [app, other]) assert.equal(proofs.known(repository), false)
    assert.equal(await standing(), 'closed')
    assert.equal(registry.asked.length, 2)
    assert.deepEqual(told, [
      [app.name, true],
      [app.name, false],
    ])
    // The registry may show it again.
    now += minute
    assert.equal(await proves(), 'shown')
    assert.equal(proofs.knows(app, two), false)
  })

  it('that was refused to this node stays so when a neighbour was refused as well', async () => {
    registry.says = 'denied'
    await proves()
    proofs.forget(app)
    assert.equal(proofs.known(app), false)
    proofs.heard(app)
    proofs.heardOf(app, one.digest)
    assert.equal(await proves(), 'refused')
    assert.equal(registry.asked.length, 1)
  })

  it('is forgotten when a neighbour was refused', async () => {
    await proves()
    proofs.forget(app)
    assert.equal(proofs.known(app), undefined)
    assert.equal(proofs.knows(app, one), false)
    registry.says = 'unreachable'
    assert.equal(await proves(), 'unknown')
  })

  it('tells the cluster of each repository that becomes public, and that is so no longer', async () => {
    const told: unknown[] = []
    proofs = proofsWith({ tell: (of, isPublic) => void told.push([of.name, isPublic]) })
    await proves(one)
    await proves(two)
    now += DAY
    await proves(one)
    registry.says = 'denied'
    now += DAY
    await proves(one)
    await proves(one, other)
    assert.deepEqual(told, [
      ['library/app', true],
      ['library/app', true],
      ['library/app', false],
    ])
  })

  it('is found out for a client that asks for any digest or tag', async () => {
    for (const probe of [probeOf(one), tag]) {
      for (const [says, expected] of [
        ['yes', 'public'],
        ['no', 'unknown'],
        ['denied', 'closed'],
        ['unreachable', 'unknown'],
      ] as const) {
        proofs = proofsWith()
        registry.says = says
        assert.equal(await standing(probe), expected, `${probe.reference} ${says}`)
      }
    }
    // Another digest of a public repository is not asked for.
    proofs.shown(app, one.digest)
    registry.says = 'denied'
    assert.equal(await standing(probeOf(two)), 'public')
    registry.says = 'unreachable'
    now += DAY
    assert.equal(await standing(probeOf(three)), 'public')
  })

  it('is found out anew, of the registry itself, if it is older than a client may take it', async () => {
    const options = { signal, maxAge: GRACE }
    const never = () => assert.fail('the registry is to be asked')
    for (const probe of [probeOf(one), tag]) {
      for (const [says, expected] of [
        ['yes', 'public'],
        ['no', 'unknown'],
        ['denied', 'closed'],
        // Public not long ago, and nobody can say otherwise.
        ['unreachable', 'public'],
      ] as const) {
        registry = new Registry()
        proofs = proofsWith({ prove: never })
        proofs.shown(app, one.digest)
        now += GRACE - 1
        registry.says = 'denied'
        assert.equal(await proofs.standing(app, probe, options), 'public')
        assert.deepEqual(registry.asked, [])
        now += 1
        registry.says = says
        assert.equal(await proofs.standing(app, probe, options), expected, `${probe.reference} ${says}`)
        assert.equal(registry.asked.length, 1)
      }
    }
    registry.says = 'unreachable'
    assert.equal(await proofsWith().standing(other, tag, options), 'unknown')
  })

  it('takes no notice of the wall clock', async () => {
    mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
    const byDefault = new PublicProofs({ upstream: registry })
    for (const each of [proofs, byDefault]) {
      registry.says = 'yes'
      assert.equal(await each.proves(app, one, { signal }), 'shown')
      registry.says = 'denied'
      assert.equal(await each.proves(other, one, { signal }), 'refused')
    }
    const count = registry.asked.length
    for (const time of [0, 1_700_000_000_000 + 365 * DAY]) {
      mock.timers.setTime(time)
      for (const each of [proofs, byDefault]) {
        assert.equal(await each.proves(app, one, { signal }), 'shown')
        assert.equal(each.openness(app), 'public')
        assert.ok((each.publicAge(app) ?? Infinity) < minute)
        assert.equal(await each.proves(other, one, { signal }), 'refused')
      }
    }
    assert.equal(registry.asked.length, count)
    mock.timers.setTime(0)
    now += DAY
    assert.equal(proofs.openness(app), 'stale')
    assert.equal(proofs.knows(app, one), false)
  })
})

describe('whether content that came from a repository is public', () => {
  let now: number
  let proofs: PublicProofs
  beforeEach(() => {
    now = 3 * DAY
    proofs = new PublicProofs({ upstream: new Registry(), now: () => now })
  })

  /** What is known of content that came at a time, or before this process began. */
  const openness = (access: ContentSource['access'], at?: number) =>
    proofs.openness({ ...app, access, ...(at === undefined ? {} : { at }) })

  it('is not known of a repository that was never shown', () => {
    for (const at of [undefined, 0, now]) assert.equal(openness('unknown', at), 'unknown')
  })

  it('follows from the repository if it was shown then or later', () => {
    const shown = now
    proofs.shown(app, one.digest)
    now += DAY - 1
    for (const at of [undefined, 0, shown - DAY, shown]) assert.equal(openness('unknown', at), 'public')
    for (const at of [shown + 1, now]) assert.equal(openness('unknown', at), 'unknown')
    now += 1
    for (const at of [undefined, shown]) assert.equal(openness('unknown', at), 'stale')
    for (const at of [shown + 1, now]) assert.equal(openness('unknown', at), 'unknown')
    proofs.shown(app, two.digest)
    for (const at of [undefined, shown + 1, now]) assert.equal(openness('unknown', at), 'public')
  })

  it('does not follow from what an earlier process was shown, for content of which no time is known', () => {
    const restored = (age: number) => {
      now = hour
      proofs = new PublicProofs({ upstream: new Registry(), now: () => now })
      proofs.restore([{ repository: app, age, contents: [] }])
    }
    restored(hour)
    assert.equal(openness('unknown'), 'public')
    restored(hour + 1)
    assert.equal(openness('unknown'), 'unknown')
    // It came before the repository was shown.
    assert.equal(openness('unknown', -DAY), 'public')
  })

  it('is a day’s evidence itself if it came without credentials', () => {
    const at = now
    assert.equal(openness('public', at), 'public')
    now += DAY - 1
    assert.equal(openness('public', at), 'public')
    now += 1
    assert.equal(openness('public', at), 'stale')
    now += 10 * DAY
    assert.equal(openness('public', at), 'stale')
    // A later word about the repository is as good, however long after the content.
    proofs.shown(app, one.digest)
    assert.equal(openness('public', at), 'public')
  })

  it('is old evidence if nothing says when it came without credentials', () => {
    assert.equal(openness('public'), 'stale')
    proofs.shown(app, one.digest)
    assert.equal(openness('public'), 'public')
  })

  it('is not said by content that came without credentials before the registry refused the repository', () => {
    proofs.shown(app, one.digest)
    const at = now
    now += hour
    proofs.refused(app)
    for (const wait of [0, minute, hour]) {
      now += wait
      const expected = wait === 0 ? 'closed' : 'unknown'
      assert.equal(openness('public', at), expected)
      assert.equal(openness('public'), expected)
      assert.equal(openness('unknown', at), expected)
    }
    // What came since is evidence again, and a registry that shows the repository again says so of all.
    assert.equal(openness('public', now), 'public')
    proofs.shown(app, two.digest)
    for (const each of [at, undefined]) assert.equal(openness('public', each), 'public')
  })

  it('is not said by it days after the refusal either', () => {
    const at = now
    now += hour
    proofs.refused(app)
    now += 2 * DAY
    assert.equal(openness('public', at), 'unknown')
    assert.equal(openness('public'), 'unknown')
  })

  it('is not said by it because a neighbour needed credentials after the refusal', () => {
    const at = now
    now += hour
    proofs.refused(app)
    now += 2 * minute
    proofs.notePrivate(app)
    assert.equal(openness('public', at), 'closed')
    now += minute
    assert.equal(openness('public', at), 'unknown')
  })

  it('is not said by it after the registry has refused the repository to a neighbour', () => {
    proofs.shown(app, one.digest)
    const at = now
    now += hour
    proofs.forget(app)
    for (const each of [at, undefined]) assert.notEqual(openness('public', each), 'public')
    assert.equal(openness('unknown', at), 'unknown')
    assert.equal(openness('public', now + 1), 'public')
  })

  it('is heard of the cluster, as far as that is as good as a word to this node', async () => {
    const at = now
    let age: number | undefined
    const cluster = { ask: async () => age, prove: async () => undefined, tell: () => {} }
    const hear = (access: ContentSource['access'], at?: number) => {
      proofs = new PublicProofs({ upstream: new Registry(), cluster, now: () => now })
      return proofs.hearOpenness({ ...app, access, ...(at === undefined ? {} : { at }) })
    }
    for (const [said, unknown, isPublic] of [
      [undefined, 'unknown', 'public'],
      [0, 'public', 'public'],
      [1, 'unknown', 'public'],
      [2 * DAY, 'unknown', 'public'],
    ] as const) {
      age = said
      assert.equal(await hear('unknown', at), unknown, `${said}`)
      assert.equal(await hear('public', at), isPublic, `${said}`)
    }
    age = 2 * DAY
    assert.equal(await hear('unknown', at - 3 * DAY), 'stale')
    assert.equal(await hear('public'), 'stale')
    age = hour
    assert.equal(await hear('public'), 'public')
  })
})

describe('proofs that another node has', () => {
  const heard = (word: PublicWord | undefined, age?: number): ClusterProofs => ({
    prove: async () => word,
    ask: async () => age,
    tell: () => {},
  })
  let registry: Registry
  let now: number
  beforeEach(() => {
    registry = new Registry()
    now = 5_000_000
  })
  const proofsWith = (cluster: ClusterProofs) => new PublicProofs({ upstream: registry, cluster, now: () => now })
  const proves = (proofs: PublicProofs) => proofs.proves(app, one, { signal })

  it('count instead of a question to the registry, for what is left of their time', async () => {
    const proofs = proofsWith(heard({ word: 'shown', age: 20 * hour }))
    assert.equal(await proves(proofs), 'shown')
    assert.equal(proofs.publicAge(app), 20 * hour)
    now += 4 * hour - 1
    assert.equal(proofs.knows(app, one), true)
    now += 1
    assert.equal(proofs.knows(app, one), false)
    assert.deepEqual(registry.asked, [])
  })

  it('count as refusals and absences too', async () => {
    const refused = proofsWith(heard({ word: 'refused', age: 0 }))
    refused.shown(app, two.digest)
    assert.equal(await proves(refused), 'refused')
    assert.equal(refused.knows(app, two), false)
    assert.equal(refused.known(app), false)
    assert.equal(await proves(proofsWith(heard({ word: 'absent', age: 0 }))), 'absent')
    assert.deepEqual(registry.asked, [])
  })

  it('leave it to this node to ask where the other node does not know, or gives no answer', async () => {
    for (const word of [undefined, { word: 'unknown', age: 0 }] as const) {
      registry.asked.length = 0
      assert.equal(await proves(proofsWith(heard(word))), 'shown')
      assert.equal(registry.asked.length, 1)
    }
  })

  for (const [what, probe] of [
    ['a digest', probeOf(one)],
    ['a tag', tag],
  ] as const) {
    it(`of ${what} do not count if they are older than a refusal to this node`, async () => {
      const word = { age: 0 }
      const proofs = proofsWith({
        prove: async () => (word.age < 0 ? undefined : { word: 'shown', age: word.age }),
        ask: async () => (word.age < 0 ? undefined : word.age),
        tell: () => {},
      })
      // Nobody knows.
      word.age = -1
      registry.says = 'denied'
      assert.equal(await proofs.standing(app, probe, { signal }), 'closed')
      now += 2 * minute
      word.age = 3 * minute
      assert.equal(await proofs.standing(app, probe, { signal }), 'closed')
      now += 2 * minute
      word.age = minute
      assert.equal(await proofs.standing(app, probe, { signal }), 'public')
      assert.equal(registry.asked.length, 2)
    })

    it(`of ${what} do not count after such a refusal because a neighbour needed credentials since`, async () => {
      let age: number | undefined
      const proofs = proofsWith({
        prove: async () => (age === undefined ? undefined : { word: 'shown', age }),
        ask: async () => age,
        tell: () => {},
      })
      registry.says = 'denied'
      assert.equal(await proofs.standing(app, probe, { signal }), 'closed')
      now += 2 * minute
      proofs.notePrivate(app)
      now += minute
      age = 4 * minute
      assert.equal(await proofs.standing(app, probe, { signal }), 'closed')
      assert.equal(registry.asked.length, 2)
    })
  }

  it('tell whether a repository is public without a question to its registry', async () => {
    assert.equal(await proofsWith(heard(undefined, hour)).hearOpenness(app), 'public')
    // For content that came before that.
    assert.equal(await proofsWith(heard(undefined, 48 * hour)).hearOpenness({ ...app, at: -48 * hour }), 'stale')
    assert.equal(await proofsWith(heard(undefined)).hearOpenness(app), 'unknown')
    assert.deepEqual(registry.asked, [])
  })

  it('are not asked for again for ten seconds where no node knows the repository', async () => {
    let asked = 0
    const proofs = proofsWith({ ...heard(undefined), ask: async () => void (asked += 1) })
    for (let i = 0; i < 3; i += 1) assert.equal(await proofs.hearOpenness(app), 'unknown')
    assert.equal(asked, 1)
    now += 10 * second
    await proofs.hearOpenness(app)
    assert.equal(asked, 2)
  })

  it('are waited for by neither of two nodes that take each other for the one that asks', async () => {
    const nodes: PublicProofs[] = []
    const ofThe = (other: number) =>
      proofsWith({
        ...heard(undefined),
        prove: async (repository, content) => nodes[other]?.proveFor(repository, content),
      })
    nodes.push(ofThe(1), ofThe(0))
    assert.deepEqual(await Promise.all(nodes.map(proves)), ['shown', 'shown'])
    assert.ok(registry.asked.length <= 2)
  })
})

describe('proofs in a cluster', () => {
  const N = 5
  let now: number
  let says: Says
  let gate: Promise<void> | undefined
  /** Nodes that cannot reach the registry. */
  let cutOff: Set<number>
  /** `0 docker.io/library/app@sha256:…`: which node asked the registry for what. */
  let asked: string[]
  let nodes: { proofs: PublicProofs; overlay: ReturnType<FakeCluster['overlay']>; isUp: boolean; hangs: boolean }[]

  beforeEach(async () => {
    now = 5_000_000
    // The time for which a node is left alone that did not answer.
    mock.method(performance, 'now', () => now)
    says = 'yes'
    gate = undefined
    cutOff = new Set()
    asked = []
    nodes = []
    const cluster = new FakeCluster()
    for (let i = 0; i < N; i += 1) await add(cluster)
  })
  afterEach(() => {
    mock.timers.reset()
    mock.restoreAll()
  })

  async function add(cluster: FakeCluster): Promise<void> {
    const number = nodes.length
    const overlay = cluster.overlay({ id: `n${number}`, address: String(number) })
    await overlay.start()
    const post = async (peer: { address: string }, path: string, body: Uint8Array) => {
      const node = nodes[Number(peer.address)]
      if (node?.isUp !== true) throw new PeerError('unreachable', 'gone')
      if (node.hangs) return new Promise<never>(() => {})
      assert.equal(path, ACCESS.path)
      return answerOf(node.proofs, body)
    }
    const log = { debug: () => {} }
    const shared = new SharedProofs({ overlay, nodes: nodeCaller(post), replicas: 2, log })
    const upstream = {
      shows: async (repository: Repository, { reference }: UpstreamQuestion) => {
        asked.push(`${number} ${repositoryKey(repository)}@${reference}`)
        await gate
        if (cutOff.has(number)) throw new UpstreamError('unreachable', 'no way')
        if (says === 'yes') return { anonymous: true }
        if (says === 'no') return undefined
        throw failureOf(says)
      },
    }
    const proofs = new PublicProofs({ upstream, cluster: shared, now: () => now })
    nodes.push({ proofs, overlay, isUp: true, hangs: false })
  }

  const nodeOf = (number: number) => nodes[number] ?? assert.fail()
  const prove = async (number: number, content: typeof one = one, repository: Repository = app) => {
    const word = await nodeOf(number).proofs.proves(repository, content, { signal })
    // What is told to others waits for nothing but promises.
    await setImmediate()
    return word
  }
  const standing = async (number: number, probe: Probe = tag) => {
    const found = await nodeOf(number).proofs.standing(app, probe, { signal })
    await setImmediate()
    return found
  }
  const all = <T>(work: (number: number) => Promise<T>) => Promise.all(nodes.map((_, number) => work(number)))
  /** The numbers of the nodes, the closest to the name of a repository first. */
  const closest = async (repository: Repository = app) => {
    const peers = await nodeOf(0).overlay.closest(keyOfRepository(repository), N, { signal })
    return peers.map(({ address }) => Number(address))
  }

  it('cost one request for a digest and a repository when all nodes ask at the same time', async () => {
    const open = Promise.withResolvers<void>()
    gate = open.promise
    const waiting = all((number) => prove(number))
    await setImmediate()
    open.resolve()
    assert.deepEqual(await waiting, Array(N).fill('shown'))
    const [keeper] = await closest()
    assert.deepEqual(asked, [`${keeper} docker.io/library/app@${one.digest}`])
    gate = undefined
    assert.deepEqual(await all((number) => prove(number, two)), Array(N).fill('shown'))
    assert.deepEqual(await all((number) => prove(number, one, other)), Array(N).fill('shown'))
    assert.equal(asked.length, 3)
  })

  it('cost one request a day when nodes ask one after the other', async () => {
    for (let number = 0; number < N; number += 1) assert.equal(await prove(number), 'shown')
    assert.equal(asked.length, 1)
    now += DAY
    for (let number = 0; number < N; number += 1) assert.equal(await prove(number), 'shown')
    assert.equal(asked.length, 2)
  })

  it('are as old as where they were found out, wherever they were heard', async () => {
    await prove(0)
    now += 20 * hour
    await prove(1)
    now += 5 * hour
    await prove(1)
    assert.equal(asked.length, 2)
  })

  it('that the registry refuses or does not have cost one request a minute', async () => {
    for (const [answer, word] of [
      ['denied', 'refused'],
      ['no', 'absent'],
    ] as const) {
      asked = []
      now += hour
      says = answer
      assert.deepEqual(await all((number) => prove(number)), Array(N).fill(word))
      assert.equal(asked.length, 1, answer)
    }
  })

  it('are asked for by each node that finds the closest one down, then by the next one for all', async () => {
    const [keeper, next] = await closest()
    nodeOf(keeper ?? assert.fail()).isUp = false
    const others = nodes.map((_, number) => number).filter((number) => number !== keeper)
    for (const number of others) assert.equal(await prove(number), 'shown')
    assert.ok(asked.every((line) => !line.startsWith(`${keeper} `)))
    asked = []
    for (const number of others) assert.equal(await prove(number, two), 'shown')
    assert.deepEqual(asked, [`${next} docker.io/library/app@${two.digest}`])
    // Thirty seconds later the closest one is asked again.
    nodeOf(keeper ?? assert.fail()).isUp = true
    now += 31 * second
    // The list of nodes that are left alone reads its clock once a millisecond.
    await setTimeout(5)
    asked = []
    for (const number of others) assert.equal(await prove(number, three), 'shown')
    assert.deepEqual(asked, [`${keeper} docker.io/library/app@${three.digest}`])
  })

  it('are asked for by the node itself when the closest one does not answer in time', async () => {
    const [keeper, , far] = await closest()
    nodeOf(keeper ?? assert.fail()).hangs = true
    mock.timers.enable({ apis: ['setTimeout'] })
    const waiting = nodeOf(far ?? assert.fail()).proofs.proves(app, one, { signal })
    await setImmediate()
    assert.deepEqual(asked, [])
    mock.timers.tick(3500)
    assert.equal(await waiting, 'shown')
    assert.deepEqual(asked, [`${far} docker.io/library/app@${one.digest}`])
  })

  it('are asked for by the node itself when the closest one cannot reach the registry', async () => {
    const [keeper, , far] = await closest()
    assert.ok(keeper !== undefined && far !== undefined)
    cutOff.add(keeper)
    assert.equal(await prove(far), 'shown')
    assert.deepEqual(
      asked.map((line) => Number(line.split(' ')[0])),
      [keeper, far],
    )
    // It was told that the repository is public, and proves nothing by that.
    assert.equal(nodeOf(keeper).proofs.known(app), true)
    assert.equal(nodeOf(keeper).proofs.knows(app, one), false)
  })

  it('count on for nodes that come while the registry is down, however old', async () => {
    await prove(0)
    says = 'unreachable'
    const [keeper] = await closest()
    const [late, later] = nodes.map((_, number) => number).filter((number) => number !== keeper && number !== 0)
    assert.ok(late !== undefined && later !== undefined)
    assert.equal(await prove(late), 'shown')
    assert.equal(await nodeOf(late).proofs.hearOpenness(app), 'public')
    now += 48 * hour
    assert.equal(await nodeOf(later).proofs.hearOpenness(app), 'stale')
    assert.equal(await prove(later), 'shown')
    assert.equal(await prove(later), 'shown')
    now += 5 * second
    says = 'denied'
    assert.equal(await prove(later), 'refused')
  })

  it('do not exist while no node knows and the registry is down', async () => {
    says = 'unreachable'
    assert.equal(await prove(0), 'unknown')
    assert.equal(await standing(0), 'unknown')
    for (const node of nodes) node.isUp = false
    says = 'yes'
    now += 5 * second
    assert.equal(await prove(0), 'shown')
    assert.equal(nodes.filter(({ proofs }) => proofs.known(app) === true).length, 1)
  })

  it('end for all once the registry has refused the repository to one', async () => {
    await all((number) => prove(number))
    now += DAY
    says = 'denied'
    assert.equal(await prove(0, two), 'refused')
    says = 'unreachable'
    for (let number = 1; number < N; number += 1) {
      assert.notEqual(await prove(number), 'shown', String(number))
      assert.notEqual(await standing(number), 'public', String(number))
    }
  })

  it('of a repository are shared by the tags that clients ask for', async () => {
    for (let number = 0; number < N; number += 1) assert.equal(await standing(number), 'public')
    assert.equal(await standing(0, { kind: 'manifests', reference: 'other' }), 'public')
    assert.equal(asked.length, 1)
    now += DAY
    await standing(0)
    assert.equal(asked.length, 2)
  })

  it('make a repository known to the two other nodes that are closest to its name', async () => {
    const [keeper, ...others] = await closest()
    assert.equal(await prove(keeper ?? assert.fail()), 'shown')
    assert.deepEqual(
      others.map((number) => nodeOf(number).proofs.known(app)),
      [true, true, undefined, undefined],
    )
    // They know of it, and were not shown this digest.
    assert.ok(others.every((number) => !nodeOf(number).proofs.knows(app, one)))
    nodeOf(keeper ?? assert.fail()).isUp = false
    assert.equal(await standing(others[3] ?? assert.fail()), 'public')
    assert.equal(asked.length, 1)
  })

  it('of a digest say nothing about another one that is absent', async () => {
    says = 'no'
    const both = await Promise.all([standing(0, probeOf(one)), standing(0, probeOf(two))])
    assert.deepEqual(both, ['unknown', 'unknown'])
    assert.equal(nodeOf(0).proofs.known(app), undefined)
    assert.equal(asked.length, 2)
    says = 'denied'
    assert.equal(await standing(0, probeOf(three)), 'closed')
    assert.equal(nodeOf(0).proofs.known(app), false)
  })

  it('of a local registry are of this node alone: each node has another one', async () => {
    for (const local of [
      { registry: 'localhost:5000', name: 'app' },
      { registry: '127.0.0.1:5000', name: 'app' },
    ]) {
      asked = []
      assert.equal(await prove(0, one, local), 'shown')
      assert.deepEqual(asked, [`0 ${repositoryKey(local)}@${one.digest}`])
      for (const { proofs } of nodes.slice(1)) assert.equal(proofs.known(local), undefined)
      says = 'denied'
      assert.deepEqual(await all((number) => prove(number, one, local)), ['shown', ...Array(N - 1).fill('refused')])
      assert.equal(asked.length, N)
      says = 'yes'
      const question = Buffer.from(JSON.stringify({ repository: repositoryKey(local), content: one }))
      const answer = await answerOf(nodeOf(0).proofs, question)
      assert.notEqual(decodeMessage(ACCESS.answer, answer).word, 'shown')
    }
  })
})

describe('proofs that are kept over a restart', () => {
  let registry: Registry
  let now: number
  let proofs: PublicProofs
  beforeEach(() => {
    registry = new Registry()
    now = 5_000_000
    proofs = new PublicProofs({ upstream: registry, now: () => now })
  })

  /** As another process reads it, after a time during which there was none; its clock begins anew. */
  const restart = (kept: readonly KeptRepository[], pause = 0) => {
    now = 7
    const later = new PublicProofs({ upstream: registry, now: () => now })
    const text = JSON.stringify(kept)
    const older = (JSON.parse(text) as KeptRepository[]).map(({ repository, age, contents }) => ({
      repository,
      age: age + pause,
      contents: contents.map(({ digest, age }) => ({ digest, age: age + pause })),
    }))
    later.restore(older)
    return later
  }
  const proves = (of: PublicProofs, content: typeof one = one) => of.proves(app, content, { signal })

  it('are as old as before', async () => {
    await proves(proofs)
    now += hour
    await proves(proofs, two)
    now += hour
    const kept = proofs.kept(10)
    assert.deepEqual(kept, [
      {
        repository: app,
        age: hour,
        contents: [
          { digest: two.digest, age: hour },
          { digest: one.digest, age: 2 * hour },
        ],
      },
    ])
    const later = restart(kept, 3 * hour)
    assert.equal(later.known(app), true)
    assert.equal(later.publicAge(app), 4 * hour)
    registry.asked.length = 0
    now += 19 * hour - 1
    assert.equal(await proves(later), 'shown')
    assert.deepEqual(registry.asked, [])
    now += 1
    assert.equal(later.knows(app, one), false)
    assert.equal(later.knows(app, two), true)
    // For content that came before the other process was shown the repository.
    const source = { ...app, at: -DAY }
    assert.equal(later.openness(source), 'public')
    now += hour
    assert.equal(later.openness(source), 'stale')
    assert.equal(later.openness(app), 'unknown')
  })

  it('are asked for again when they are old, and are good until the registry answers', async () => {
    await proves(proofs)
    const kept = proofs.kept(10)
    const later = restart(kept, 48 * hour)
    assert.equal(later.known(app), undefined)
    assert.equal(later.openness({ ...app, at: -48 * hour }), 'stale')
    assert.equal(later.openness(app), 'unknown')
    assert.equal(later.knows(app, one), false)
    registry.asked.length = 0
    registry.says = 'unreachable'
    assert.equal(await proves(later), 'shown')
    assert.equal(await proves(later, two), 'unknown')
    assert.equal(registry.asked.length, 1)
    registry.says = 'denied'
    now += 5 * second
    assert.equal(await proves(later), 'refused')
    assert.deepEqual(later.kept(10), [])
    registry.says = 'yes'
    const again = restart(kept, 48 * hour)
    assert.equal(await proves(again), 'shown')
    assert.equal(again.publicAge(app), 0)
  })

  it('are not kept of what is refused, absent, forgotten or not known', async () => {
    proofs.shown(other, one.digest)
    proofs.forget(other)
    for (const says of ['denied', 'no', 'unreachable'] as const) {
      registry.says = says
      await proofs.proves({ ...app, name: `library/${says}` }, one, { signal })
    }
    proofs.notePrivate({ ...app, name: 'library/private' })
    assert.deepEqual(proofs.kept(10), [])
  })

  it('are not kept once the registry is reached and does not show them', async () => {
    await proves(proofs)
    now += 25 * hour
    registry.says = 401
    await proves(proofs)
    assert.deepEqual(proofs.kept(10), [])
    registry.says = 'yes'
    now += hour
    await proves(proofs, two)
    assert.deepEqual(
      proofs.kept(10).map(({ contents }) => contents),
      [[{ digest: two.digest, age: 0 }]],
    )
  })

  it('are kept while the registry is down', async () => {
    await proves(proofs)
    now += 25 * hour
    registry.says = 'unreachable'
    await proves(proofs)
    now += hour
    assert.equal(await proves(restart(proofs.kept(10))), 'shown')
  })

  it('give way to what is known already', async () => {
    await proves(proofs)
    const kept = proofs.kept(10)
    const later = new PublicProofs({ upstream: registry, now: () => now })
    registry.says = 'denied'
    await proves(later)
    later.restore(kept)
    assert.equal(later.known(app), false)
    assert.equal(later.knows(app, one), false)
  })

  describe('if not all are', () => {
    const order = [one, three, two].map(({ digest }) => digest)
    const used = (of: PublicProofs, max: number) =>
      of.kept(max).map(({ repository, contents }) => [repository.name, ...contents.map(({ digest }) => digest)])
    beforeEach(() => {
      for (const name of ['a', 'b', 'c'])
        for (const { digest } of [one, two, three]) proofs.shown({ registry: 'docker.io', name }, digest)
      proofs.knows({ registry: 'docker.io', name: 'c' }, one)
    })

    it('are those used last', () => {
      assert.deepEqual(used(proofs, 2), [['c', ...order.slice(0, 2)], ['b']])
      assert.deepEqual(used(proofs, 100)[0], ['c', ...order])
    })

    it('are in the same order after a restart', () => {
      assert.deepEqual(used(restart(proofs.kept(100)), 100), used(proofs, 100))
    })
  })

  it('are told of when they change', async () => {
    let changes = 0
    proofs.onChange(() => (changes += 1))
    const isTold = async (work: () => unknown) => {
      const before = changes
      await work()
      return changes > before
    }
    assert.equal(await isTold(() => proves(proofs)), true)
    assert.equal(await isTold(() => proves(proofs)), false)
    assert.equal(await isTold(() => proofs.heard(other)), true)
    assert.equal(await isTold(() => proofs.heardOf(other, one.digest)), true)
    assert.equal(await isTold(() => proofs.heardOf(other, one.digest)), false)
    assert.equal(await isTold(() => proofs.forget(other)), true)
    registry.says = 'denied'
    assert.equal(await isTold(() => proves(proofs, two)), true)
    proofs.shown(app, one.digest)
    assert.equal(await isTold(() => proofs.refused(app)), true)
  })
})

describe('the message in which nodes tell each other about a repository', () => {
  const content = { kind: 'blobs', digest: one.digest }
  const proofs = {
    publicAge: () => 1500,
    heard: () => assert.fail(),
    forget: () => assert.fail(),
    proveFor: async () => ({ word: 'shown', age: 2100 }) as const,
  }
  const answer = async (body: unknown) => (await answerOf(proofs, Buffer.from(JSON.stringify(body)))).toString()

  it('is answered with an age in whole seconds, never too young', async () => {
    assert.equal(await answer({ repository: repositoryKey(app) }), '{"ageSeconds":2}')
    assert.equal(await answer({ repository: repositoryKey(app), content }), '{"ageSeconds":3,"word":"shown"}')
  })

  it('is read strictly', async () => {
    const good = { repository: repositoryKey(app) }
    for (const body of [
      {},
      [],
      { repository: 'x' },
      { repository: 'docker.io/../x' },
      { repository: 7 },
      { ...good, found: 'maybe' },
      { ...good, more: true },
      { ...good, content: {} },
      { ...good, content: { ...content, kind: 'tags' } },
      { ...good, content: { ...content, digest: 'latest' } },
      { ...good, content: { ...content, digest: 'sha256:short' } },
      { ...good, content: { ...content, more: true } },
    ])
      await assert.rejects(answer(body), { name: 'InvalidMessage' }, JSON.stringify(body))
  })

  it('is taken only in a cluster with a secret', () => {
    assert.equal(ACCESS.needsSecret, true)
  })

  it('has an answer that is read strictly', async () => {
    const ask = (text: string) => answered(ACCESS, { repository: app, content: one }, text)
    assert.deepEqual(await ask('{"ageSeconds":3,"word":"shown"}'), { word: 'shown', age: 3000 })
    // A node of an older version does not know the question.
    assert.deepEqual(await ask('{"ageSeconds":3}'), { word: undefined, age: 3000 })
    for (const text of [
      '',
      '{}',
      '{"ageSeconds":-1,"word":"shown"}',
      '{"ageSeconds":1,"word":"yes"}',
      '{"ageSeconds":1e10}',
    ])
      await assert.rejects(ask(text), { name: 'InvalidMessage' }, text)
  })
})
