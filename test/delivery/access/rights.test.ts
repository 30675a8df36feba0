import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { type Audience, GRACE, PEER } from '../../../src/delivery/access/audience.ts'
import { CallerProofs } from '../../../src/delivery/access/caller-proofs.ts'
import { type Access, type Delivery, Provenance } from '../../../src/delivery/access/provenance.ts'
import { type ClusterProofs, PublicProofs } from '../../../src/delivery/access/public-proofs.ts'
import { Rights, type RightsOptions } from '../../../src/delivery/access/rights.ts'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import { type Repository, parseRepositoryKey, repositoryKey } from '../../../src/oci/reference.ts'
import { type ContentSource, UNRECORDED } from '../../../src/store/content-store.ts'
import { hour, minute, second } from '../../../src/time/units.ts'
import {
  UpstreamError,
  type UpstreamOptions,
  type UpstreamProof,
  type UpstreamQuestion,
} from '../../../src/upstream/upstream.ts'
import { MemoryStore } from '../../support/memory-store.ts'

const POLICIES = ['verify', 'skip', 'share'] as const
type Policy = (typeof POLICIES)[number]

/** To whom a registry shows a repository: to everybody, to the node and ann, to ann alone, or to nobody; 404; no answer. */
type Says = 'all' | 'members' | 'ann' | 'nobody' | 'absent' | 'unreachable' | 'unclear'

const DAY = 24 * hour
const NODE: Audience = { kind: 'node' }
const VERIFIED: Audience = { kind: 'peer', verified: true }
const ANN = { username: 'ann', password: 'secret' }
const signal = new AbortController().signal
const bytes = Buffer.from('content')
const content = { kind: 'blobs', digest: digestOf(bytes) } as const
const probe = { kind: 'blobs', reference: content.digest } as const

/** docker.io is named by --fallback, and localhost:5000 by --upstream. Everybody can run the others. */
const registries = {
  mirrored: 'all',
  fallback: new Set(['docker.io']),
  upstreams: new Set(['localhost:5000']),
} as const
const repo = (text: string): Repository => parseRepositoryKey(text) ?? assert.fail(text)
const app = repo('docker.io/library/app')
const other = repo('docker.io/library/other')
const team = repo('reg.test/team/app')
const evil = repo('evil.test/x/app')
const local = repo('localhost:5000/app')

const anonymously = { from: 'upstream', anonymous: true } as const
const withCredentials = { from: 'upstream', anonymous: false } as const
const peer = (access: Access) => ({ from: 'peer', access }) as const

const labs: Lab[] = []
afterEach(() => {
  mock.restoreAll()
  const unwanted = labs.flatMap((lab) => lab.unwanted.splice(0))
  labs.splice(common === undefined ? 0 : 1)
  assert.deepEqual(unwanted, [])
})

/** One node, and registries that say of each repository what the test sets. */
class Lab {
  readonly store = new MemoryStore()
  readonly says = new Map<string, Says>()
  /** `anonymous docker.io/library/app`, in the order of the questions. */
  readonly asked: string[] = []
  /** Repositories that the test did not want to be asked about. */
  readonly unwanted: string[] = []
  /** The process began ten days ago. */
  now = 10 * DAY
  readonly provenance = new Provenance(() => this.now)
  readonly rights: Rights
  readonly publicProofs: PublicProofs
  readonly callers: CallerProofs
  readonly #options: RightsOptions
  /** When content came from a repository, by `digest repository`; absent: before this process. */
  readonly #came = new Map<string, number>()

  constructor(options: Partial<RightsOptions> & { readonly cluster?: Partial<ClusterProofs> } = {}) {
    const { cluster, ...rest } = options
    const upstream = {
      shows: (repository: Repository, question: UpstreamQuestion, { as }: UpstreamOptions) =>
        this.#answer(repository, question, typeof as === 'object' ? as.username : (as ?? 'node')),
    }
    const now = () => this.now
    const silent: ClusterProofs = { ask: async () => undefined, prove: async () => undefined, tell: () => {} }
    const believesPeers = rest.believesPeers ?? true
    this.publicProofs = new PublicProofs({ upstream, now, believesPeers, cluster: { ...silent, ...cluster } })
    const onAnonymous = (repository: Repository, reference: string) => this.publicProofs.shown(repository, reference)
    this.callers = new CallerProofs({ upstream, now, onAnonymous })
    this.#options = {
      store: {
        open: (...asked) => this.store.open(...asked),
        sources: async (digest, options) => {
          const sources = await this.store.sources(digest, options)
          return sources.map((source): ContentSource => {
            const at = this.#came.get(`${digest} ${repositoryKey(source)}`)
            return at === undefined ? source : { ...source, at }
          })
        },
      },
      provenance: this.provenance,
      publicProofs: this.publicProofs,
      callers: this.callers,
      registries,
      policy: 'verify',
      hasCredentials: true,
      isBelieved: true,
      ...rest,
    }
    this.rights = new Rights(this.#options)
    labs.push(this)
  }

  /** The rights of the same node under other flags. */
  rightsWith(options: Partial<RightsOptions>): Rights {
    return new Rights({ ...this.#options, ...options })
  }

  /** A client with credentials of its own. */
  get caller() {
    return { kind: 'node', caller: this.callers.identify(ANN) } as const
  }

  get audiences(): readonly Audience[] {
    return [NODE, this.caller, PEER, VERIFIED]
  }

  /** Holds the content; sources as in {@link sourceOf}. */
  hold(...sources: readonly string[]): this {
    this.put(bytes, ...sources.map(sourceOf))
    return this
  }

  /** Holds the content, which came from there at this time of the monotonic clock. */
  holdSince(at: number, source: string): void {
    this.hold(source)
    this.#came.set(`${content.digest} ${repositoryKey(sourceOf(source))}`, at)
  }

  put(bytes: Uint8Array, ...sources: readonly HeldSource[]): Digest {
    const digest = this.store.put(bytes, ...sources)
    for (const source of sources) if (source.isNew) this.#came.set(`${digest} ${repositoryKey(source)}`, this.now)
    return digest
  }

  access(repository: Repository, audience: Audience = PEER, digest: Digest = content.digest) {
    return this.rights.access(repository, { kind: 'blobs', digest }, audience, { signal })
  }

  async #answer(
    repository: Repository,
    { reference }: UpstreamQuestion,
    who: string,
  ): Promise<UpstreamProof | undefined> {
    const key = repositoryKey(repository)
    this.asked.push(`${who} ${key}`)
    const says = this.says.get(key)
    if (says === undefined) this.unwanted.push(key)
    if (says === 'absent') return undefined
    if (says === 'unreachable' || says === undefined) throw new UpstreamError('unreachable', 'no route')
    if (says === 'unclear') throw new UpstreamError('failed', 'it names no place for a token', { status: 401 })
    if (says === 'all') return { anonymous: true }
    const isShown = who === 'ann' ? says !== 'nobody' : who === 'node' && says === 'members'
    if (!isShown) throw new UpstreamError('denied', '401')
    return { anonymous: false, ...(reference.includes(':') ? {} : { digest: content.digest }) }
  }
}

interface HeldSource extends ContentSource {
  /** The content comes now, and not before this process began. */
  readonly isNew: boolean
}

/** `docker.io/library/app unknown`, or `public`, which came from there now, or `public-before`, before this process began. */
function sourceOf(text: string): HeldSource {
  const [key = '', how = ''] = text.split(' ')
  const access = how.replace('-before', '') as ContentSource['access']
  return { ...repo(key), access, isNew: how === 'public' }
}

interface Scenario {
  readonly sources: readonly string[]
  readonly asked: Repository
  readonly says?: Readonly<Record<string, Says>>
  readonly hasCredentials?: boolean
  /** The access of the node, of a caller, of a peer, and of a peer with a verified client; `-` for none. */
  readonly expected: Partial<Readonly<Record<Policy, string>>>
}

/** One for all scenarios, since its caches are large. Each case has a digest and repositories of its own. */
let common: Lab | undefined
let cases = 0

function itGives(title: string, { sources, asked, says = {}, hasCredentials = true, expected }: Scenario): void {
  const lab = (common ??= new Lab())
  for (const policy of POLICIES) {
    const row = expected[policy]?.split(' ')
    if (row === undefined) continue
    it(`${title}: ${policy}`, async () => {
      const found: string[] = []
      for (const audience of lab.audiences) {
        cases += 1
        const own = <T extends Repository>(repository: T): T => ({ ...repository, name: `${repository.name}${cases}` })
        const digest = lab.put(Buffer.from(`content ${cases}`), ...sources.map((text) => own(sourceOf(text))))
        for (const [key, answer] of Object.entries(says)) lab.says.set(repositoryKey(own(repo(key))), answer)
        const rights = lab.rightsWith({ policy, hasCredentials })
        found.push((await rights.access(own(asked), { kind: 'blobs', digest }, audience, { signal })) ?? '-')
      }
      assert.deepEqual(found, row)
    })
  }
}

const forEach = (row: string): Record<Policy, string> => ({ verify: row, skip: row, share: row })
const NONE = '- - - -'
const UNKNOWN = 'unknown unknown unknown unknown'
const OPEN = 'open open open open'
/** What a proof of the requested repository gives, by what its registry says. */
const PROVEN = {
  all: {
    verify: 'public public public unknown',
    skip: 'public public public public',
    share: 'public public public unknown',
  },
  members: { verify: 'unknown unknown - unknown', skip: NONE, share: 'unknown unknown - unknown' },
  ann: { verify: '- unknown - unknown', skip: NONE, share: '- unknown - unknown' },
  nobody: { verify: '- - - unknown', skip: NONE, share: '- - - unknown' },
  absent: { verify: '- - - unknown', skip: NONE, share: '- - - unknown' },
  unreachable: { verify: '- - - unknown', skip: NONE, share: '- - - unknown' },
  unclear: { verify: '- - - unknown', skip: NONE, share: '- - - unknown' },
} as const satisfies Record<Says, Record<Policy, string>>
const ANSWERS = Object.keys(PROVEN) as Says[]

describe('content from the registry that is asked for', () => {
  for (const says of ANSWERS) {
    itGives(`is for those to whom it shows this digest in this repository (${says})`, {
      sources: ['docker.io/library/app unknown'],
      asked: app,
      says: { 'docker.io/library/app': says },
      // The owner gives each image to everybody who names it.
      expected: { ...PROVEN[says], share: UNKNOWN },
    })
    itGives(`is under another name for those to whom the registry shows it there (${says})`, {
      sources: ['docker.io/library/app unknown'],
      asked: other,
      says: { 'docker.io/library/other': says },
      expected: PROVEN[says],
    })
    itGives(`is so at a registry that no flag names too (${says})`, {
      sources: ['reg.test/team/app unknown'],
      asked: repo('reg.test/team/other'),
      says: { 'reg.test/team/other': says },
      expected: PROVEN[says],
    })
  }

  itGives('is for no client without credentials if the node has none and it is not public', {
    sources: ['docker.io/library/app unknown'],
    asked: app,
    says: { 'docker.io/library/app': 'members' },
    hasCredentials: false,
    expected: { ...PROVEN.ann, share: UNKNOWN },
  })
})

describe('content of which no source is recorded', () => {
  for (const says of ANSWERS) {
    itGives(`is for those to whom a registry that the operator named shows it (${says})`, {
      sources: [],
      asked: app,
      says: { 'docker.io/library/app': says },
      expected: PROVEN[says],
    })
  }

  itGives('is for nobody under the name of another registry, which is not even asked', {
    sources: [],
    asked: evil,
    expected: forEach(NONE),
  })
})

describe('content from another registry', () => {
  for (const says of ANSWERS) {
    itGives(`is for those to whom a registry that the operator named shows it (${says})`, {
      sources: ['reg.test/team/app unknown'],
      asked: app,
      says: { 'docker.io/library/app': says },
      expected: PROVEN[says],
    })
    itGives(`is under the name of a registry that no flag names for all if its own one shows it to all (${says})`, {
      sources: ['docker.io/library/app unknown'],
      asked: evil,
      // evil.test itself must not be asked.
      says: { 'docker.io/library/app': says },
      expected: forEach(says === 'all' ? OPEN : NONE),
    })
  }

  for (const set of ['mirrored', 'upstreams'] as const) {
    it(`counts as proven by a registry that is named in ${set}`, async () => {
      const named = { mirrored: 'all', fallback: 'all', [set]: new Set(['evil.test']) } as const
      const lab = new Lab({ registries: named }).hold('docker.io/library/app unknown')
      lab.says.set('evil.test/x/app', 'all')
      assert.equal(await lab.access(evil), 'public')
    })
  }

  it('is for nobody although proofs of the other registry are at hand, for everybody and for the caller', async () => {
    for (const policy of POLICIES) {
      const lab = new Lab({ policy }).hold('docker.io/library/app unknown')
      lab.says.set('docker.io/library/app', 'nobody')
      lab.publicProofs.shown(evil, content.digest)
      lab.callers.shown(lab.caller.caller, evil, content.digest)
      lab.callers.shown('node', evil, content.digest)
      for (const audience of lab.audiences) assert.equal(await lab.access(evil, audience), undefined)
      assert.ok(lab.asked.every((line) => line.endsWith('docker.io/library/app')))
    }
  })
})

describe('content that the owner of the node imported', () => {
  itGives('is for everybody under its name', {
    sources: ['docker.io/library/app imported'],
    asked: app,
    expected: forEach('imported imported imported imported'),
  })

  for (const says of ANSWERS) {
    itGives(`is under another name for those to whom the registry shows it there (${says})`, {
      sources: ['docker.io/library/app imported'],
      asked: other,
      says: { 'docker.io/library/other': says },
      expected: PROVEN[says],
    })
  }

  itGives('is for nobody under the name of a registry that no flag names', {
    sources: ['docker.io/library/app imported'],
    asked: evil,
    expected: forEach(NONE),
  })

  for (const says of ['all', 'members', 'nobody'] as const) {
    itGives(`and that came from a registry as well is content from that registry (${says})`, {
      sources: ['docker.io/library/app imported', 'reg.test/team/app unknown'],
      asked: team,
      says: { 'reg.test/team/app': says },
      expected: { ...PROVEN[says], share: UNKNOWN },
    })
    itGives(`and that came from a registry as well needs a proof under the name of the import (${says})`, {
      sources: ['docker.io/library/app imported', 'reg.test/team/app unknown'],
      asked: app,
      says: { 'docker.io/library/app': says },
      expected: { verify: PROVEN[says].verify, skip: PROVEN[says].skip },
    })
  }

  it('is not public because the repository of its name is', async () => {
    for (const policy of POLICIES) {
      const lab = new Lab({ policy }).hold('docker.io/library/app imported')
      lab.publicProofs.shown(app, digestOf(Buffer.from('something else')))
      for (const audience of lab.audiences) assert.equal(await lab.access(evil, audience), undefined)
    }
  })

  itGives('and that is public at each of its registries is public', {
    sources: ['docker.io/library/app imported', 'reg.test/team/app public'],
    asked: evil,
    expected: forEach(OPEN),
  })
})

describe('content of which all sources are public', () => {
  for (const asked of [app, other, team, evil]) {
    itGives(`is for everybody under ${repositoryKey(asked)}, without a question`, {
      sources: ['docker.io/library/app public', 'reg.test/team/app public'],
      asked,
      expected: forEach(OPEN),
    })
  }

  it('is so for a day, then as long as no registry that it came from can be asked, or once each shows it again', async () => {
    const lab = new Lab().hold('docker.io/library/app public', 'reg.test/team/app public')
    lab.now += DAY - 1
    assert.equal(await lab.access(evil), 'open')
    assert.deepEqual(lab.asked, [])
    lab.now += 1
    for (const [says, expected] of [
      ['unreachable', 'unknown'],
      ['all', 'open'],
    ] as const) {
      for (const key of ['docker.io/library/app', 'reg.test/team/app']) lab.says.set(key, says)
      lab.asked.length = 0
      assert.equal(await lab.access(evil), expected, says)
      assert.deepEqual(lab.asked, ['anonymous docker.io/library/app', 'anonymous reg.test/team/app'])
      lab.now += 5 * second
    }
  })

  it('is for nobody after its day where a registry is reached and does not show it', async () => {
    for (const asked of [evil, app])
      for (const audience of ['node', 'caller', 'peer'] as const) {
        const lab = new Lab().hold('docker.io/library/app public')
        const of: Audience = audience === 'caller' ? lab.caller : audience === 'node' ? NODE : PEER
        lab.now += DAY - 1
        lab.says.set('docker.io/library/app', 'unclear')
        assert.ok(await lab.access(asked, of), audience)
        lab.now += 1
        for (const says of ['unclear', 'unreachable'] as const) {
          lab.says.set('docker.io/library/app', says)
          // A caller's question is about the caller: only everybody's shows that the registry is reached.
          const expected = audience === 'caller' && asked === app && says === 'unreachable' ? 'unknown' : undefined
          assert.equal(await lab.access(asked, of), expected, `${audience} ${says}`)
          lab.now += 5 * second
        }
      }
  })

  it('is for everybody no longer after a registry has refused the repository', async () => {
    for (const wait of [0, minute, hour]) {
      const lab = new Lab().hold('docker.io/library/app public')
      lab.now += hour
      lab.rights.refusedToEverybody(app)
      lab.now += wait
      lab.says.set('docker.io/library/app', 'nobody')
      for (const asked of [evil, app]) assert.equal(await lab.access(asked), undefined)
      lab.now += minute
      lab.says.set('docker.io/library/app', 'unreachable')
      for (const asked of [evil, app]) assert.equal(await lab.access(asked), undefined)
    }
  })

  it('is content that came while its repository was public, and not what came later', async () => {
    for (const [wait, expected] of [
      [0, 'open'],
      [1, undefined],
    ] as const) {
      const lab = new Lab()
      lab.publicProofs.shown(app, digestOf(Buffer.from('something else')))
      lab.now += wait
      lab.rights.verifiedCame(app, content.digest, withCredentials)
      lab.hold('docker.io/library/app unknown')
      lab.says.set('docker.io/library/app', 'nobody')
      assert.equal(await lab.access(evil), expected)
    }
  })

  it('is called public under the names that are known to be public', async () => {
    for (const policy of POLICIES) {
      const lab = new Lab({ policy }).hold('docker.io/library/app unknown', 'reg.test/team/app public')
      lab.publicProofs.shown(app, digestOf(Buffer.from('something else')))
      for (const audience of lab.audiences) {
        assert.equal(await lab.access(app, audience), 'public')
        assert.equal(await lab.access(team, audience), 'open')
        assert.equal(await lab.access(evil, audience), 'open')
      }
      assert.deepEqual(lab.asked, [])
    }
  })

  it('is so by the word of the cluster, without a question to a registry', async () => {
    const ask = async ({ name }: Repository) => (name === 'library/app' ? hour : undefined)
    const lab = new Lab({ cluster: { ask } }).hold('docker.io/library/app unknown')
    assert.equal(await lab.access(evil), 'open')
    assert.equal(await lab.access(app), 'public')
    // The cluster knows of a requested repository, too, that is no source; for a peer alone it is asked.
    const renamed = new Lab({ cluster: { ask } }).hold('reg.test/team/app public')
    assert.equal(await renamed.access(app, NODE), 'open')
    assert.equal(await renamed.access(app, PEER), 'public')
    assert.deepEqual(renamed.asked, [])
    const mixed = new Lab({ cluster: { ask } }).hold('docker.io/library/app unknown', 'docker.io/library/other unknown')
    for (const key of ['docker.io/library/app', 'docker.io/library/other']) mixed.says.set(key, 'nobody')
    assert.equal(await mixed.access(evil), undefined)
  })

  it('is not so by an old word of the cluster, which counts while the registry cannot be asked', async () => {
    for (const [says, expected] of [
      ['unreachable', 'unknown'],
      ['nobody', undefined],
      ['absent', undefined],
      ['all', 'public'],
    ] as const) {
      const lab = new Lab({ cluster: { ask: async () => 48 * hour } }).hold('docker.io/library/app unknown')
      lab.says.set('docker.io/library/app', says)
      assert.equal(await lab.access(app), expected, says)
    }
  })

  it('is not looked for at more than four sources', async () => {
    const sourcesOf = (count: number) =>
      Array.from({ length: count }, (_, index) => `docker.io/library/${index} unknown`)
    for (const [count, expected] of [
      [4, 'open'],
      [5, undefined],
    ] as const) {
      const ask = async ({ registry }: Repository) => (registry === 'docker.io' ? hour : undefined)
      const lab = new Lab({ cluster: { ask } }).hold(...sourcesOf(count))
      assert.equal(await lab.access(evil), expected)
      const shown = new Lab().hold(...sourcesOf(count))
      for (let index = 0; index < count; index += 1) shown.says.set(`docker.io/library/${index}`, 'all')
      assert.equal(await shown.access(evil), expected)
      assert.equal(shown.asked.length, expected === undefined ? 0 : 4)
    }
  })
})

describe('content that a store dates', () => {
  it('before this process began counts as public if its repository was shown five minutes before at most', async () => {
    for (const [wait, expected] of [
      [GRACE, 'open'],
      [GRACE + 1, undefined],
    ] as const) {
      const lab = new Lab()
      lab.holdSince(-minute, 'docker.io/library/app unknown')
      lab.publicProofs.restore([{ repository: app, age: lab.now + minute + wait, contents: [] }])
      // It was shown more than a day ago.
      lab.says.set('docker.io/library/app', 'absent')
      assert.equal(await lab.access(evil), undefined)
      lab.says.set('docker.io/library/app', 'unreachable')
      lab.now += minute
      assert.equal(await lab.access(app), expected === undefined ? undefined : 'unknown')
    }
  })

  it('after that came past Nabo, and counts as public only if its repository was shown later', async () => {
    const lab = new Lab()
    lab.publicProofs.shown(app, digestOf(Buffer.from('something else')))
    lab.holdSince(lab.now + 1, 'docker.io/library/app unknown')
    lab.now += 2
    lab.says.set('docker.io/library/app', 'absent')
    assert.equal(await lab.access(evil), undefined)
    lab.publicProofs.shown(app, digestOf(Buffer.from('something else')))
    assert.equal(await lab.access(evil), 'open')
  })
})

describe('content that is public at some of its sources and not at one', () => {
  const sources = ['docker.io/library/app public', 'docker.io/library/other public', 'reg.test/team/app unknown']
  const says = { 'reg.test/team/app': 'members', 'docker.io/library/app': 'all' } as const

  itGives('is for those to whom a named registry shows it', {
    sources,
    asked: app,
    says,
    expected: { ...PROVEN.all, share: UNKNOWN },
  })
  itGives('is for nobody at the private source, which no flag names', {
    sources,
    asked: team,
    says,
    expected: { verify: NONE, skip: NONE, share: UNKNOWN },
  })
  itGives('is for nobody under the name of a registry that no flag names', {
    sources,
    asked: evil,
    says,
    expected: forEach(NONE),
  })

  it('stays so when that one refuses the whole repository', async () => {
    const lab = new Lab().hold('docker.io/library/app unknown', 'docker.io/team/app unknown')
    lab.publicProofs.shown(app, content.digest)
    lab.says.set('docker.io/team/app', 'nobody')
    for (let i = 0; i < 2; i += 1) {
      assert.equal(await lab.access(repo('docker.io/team/app')), undefined)
      assert.equal(await lab.access(evil), undefined)
      assert.equal(await lab.access(app), 'public')
    }
    assert.deepEqual(lab.asked, ['anonymous docker.io/team/app'])
    lab.says.set('docker.io/team/app', 'all')
    lab.now += minute
    assert.equal(await lab.access(repo('docker.io/team/app')), 'public')
    assert.equal(await lab.access(evil), 'open')
  })
})

describe('content of a local registry, which is another one on each node', () => {
  for (const [says, expected] of [
    ['all', { verify: 'public public - -', skip: 'public public - -', share: 'unknown unknown - -' }],
    ['members', { verify: 'unknown unknown - -', skip: NONE, share: 'unknown unknown - -' }],
    ['nobody', { verify: NONE, skip: NONE, share: 'unknown unknown - -' }],
  ] as const) {
    itGives(`is for clients on this node to whom it shows it (${says})`, {
      sources: ['localhost:5000/app unknown'],
      asked: local,
      says: { 'localhost:5000/app': says },
      expected,
    })
  }

  itGives('is not for peers, imported or not', {
    sources: ['localhost:5000/app imported'],
    asked: local,
    expected: forEach('imported imported - -'),
  })
  itGives('is not for peers where it is public', {
    sources: ['docker.io/library/app public'],
    asked: local,
    expected: forEach('open open - -'),
  })
  itGives('is for nobody under the name of a registry that no flag names', {
    sources: ['localhost:5000/app unknown'],
    asked: evil,
    expected: forEach(NONE),
  })
  itGives('is not public because all its other sources are', {
    sources: ['localhost:5000/app unknown', 'docker.io/library/app public'],
    asked: evil,
    expected: forEach(NONE),
  })
  itGives('is for peers to whose clients a named registry shows it', {
    sources: ['localhost:5000/app unknown'],
    asked: app,
    says: { 'docker.io/library/app': 'members' },
    expected: PROVEN.members,
  })
  itGives('stands for sources that could not be recorded', {
    sources: [`${repositoryKey(UNRECORDED)} unknown`, 'docker.io/library/app public'],
    asked: evil,
    expected: forEach(NONE),
  })

  it('is not public because its repository is here, and is not asked for there on behalf of others', async () => {
    for (const policy of POLICIES) {
      const lab = new Lab({ policy }).hold('localhost:5000/app unknown')
      lab.says.set('localhost:5000/app', 'all')
      for (const isKnown of [false, true]) {
        if (isKnown) lab.publicProofs.shown(local, digestOf(Buffer.from('something else')))
        for (const audience of lab.audiences) assert.equal(await lab.access(evil, audience), undefined)
      }
      assert.deepEqual(lab.asked, [])
    }
  })

  it('is not for peers under another name either, although it needs no credentials here', async () => {
    for (const policy of POLICIES) {
      for (const asked of [evil, app]) {
        const lab = new Lab({ policy }).hold('localhost:5000/app public')
        lab.says.set('docker.io/library/app', 'nobody')
        assert.equal(await lab.access(asked), undefined)
      }
    }
  })
})

describe('content that containerd labels with the host of the mirror', () => {
  const isMirrorHost = (host: string) => host === '127.0.0.1'
  const own = '127.0.0.1/library/app unknown'

  it('came from the registry behind the mirror if it passed through this process', async () => {
    const lab = new Lab({ isMirrorHost }).hold(own)
    lab.rights.verifiedCame(app, content.digest, anonymously)
    for (const asked of [evil, repo('127.0.0.1/library/app')]) assert.equal(await lab.access(asked, NODE), 'open')
    assert.equal(await lab.access(evil), 'open')
    assert.deepEqual(lab.asked, [])
  })

  it('came from a registry of this machine otherwise, and is never public', async () => {
    const others = new Lab({ isMirrorHost }).hold(own)
    others.rights.verifiedCame(other, content.digest, anonymously)
    const elsewhere = new Lab({ isMirrorHost }).hold(own.replace('127.0.0.1', 'localhost'))
    elsewhere.rights.verifiedCame(app, content.digest, anonymously)
    for (const lab of [new Lab({ isMirrorHost }).hold(own), new Lab().hold(own), others, elsewhere]) {
      for (const audience of lab.audiences) assert.equal(await lab.access(evil, audience), undefined)
      assert.deepEqual(lab.asked, [])
    }
  })
})

describe('content of a repository that was public more than a day ago', () => {
  let lab: Lab
  beforeEach(() => {
    lab = new Lab().hold('docker.io/library/app unknown')
    lab.publicProofs.shown(app, digestOf(Buffer.from('something else')))
    lab.now += DAY
  })

  it('is for everybody while its registry cannot be asked', async () => {
    for (const asked of [app, other]) {
      lab.says.set(repositoryKey(asked), 'unreachable')
      for (const audience of lab.audiences) assert.equal(await lab.access(asked, audience), 'unknown')
      lab.now += 5 * second
    }
    assert.ok(lab.asked.length > 0)
  })

  it('is so under the name of a registry that no flag names too, at the first request and later', async () => {
    lab.says.set('docker.io/library/app', 'unreachable')
    for (let i = 0; i < 4; i += 1) {
      assert.equal(await lab.access(evil), 'unknown', `request ${i}`)
      lab.now += 3 * second
    }
  })

  it('is for nobody once its registry refuses it', async () => {
    lab.says.set('docker.io/library/app', 'nobody')
    for (const asked of [app, evil]) assert.equal(await lab.access(asked), undefined)
    lab.now += minute
    lab.says.set('docker.io/library/app', 'unreachable')
    for (const asked of [app, evil]) assert.equal(await lab.access(asked), undefined)
  })

  it('is for nobody if this digest is absent there', async () => {
    lab.says.set('docker.io/library/app', 'absent')
    for (const asked of [app, evil]) assert.equal(await lab.access(asked), undefined)
  })

  it('is public again once the registry shows it', async () => {
    lab.says.set('docker.io/library/app', 'all')
    assert.equal(await lab.access(app), 'public')
    assert.equal(await lab.access(evil), 'open')
    assert.equal(lab.asked.length, 1)
  })

  it('is called no more than old by its holder, whose word would make it a day younger at each receiver', async () => {
    lab.publicProofs.shown(app, content.digest)
    lab.now += DAY
    for (const key of ['docker.io/library/app', 'docker.io/library/other']) lab.says.set(key, 'unreachable')
    for (const asked of [app, other, evil]) assert.equal(await lab.access(asked), 'unknown')
  })
})

describe('content that an earlier process recorded as public', () => {
  for (const says of ANSWERS) {
    const isUnreachable = says === 'unreachable'
    itGives(`is for those to whom its registry shows it, and for everybody while that cannot be asked (${says})`, {
      sources: ['docker.io/library/app public-before'],
      asked: app,
      says: { 'docker.io/library/app': says },
      expected: isUnreachable ? forEach(UNKNOWN) : { ...PROVEN[says], share: UNKNOWN },
    })
    itGives(`is so under the name of a registry that no flag names (${says})`, {
      sources: ['docker.io/library/app public-before'],
      asked: evil,
      says: { 'docker.io/library/app': says },
      expected: forEach(says === 'all' ? OPEN : isUnreachable ? UNKNOWN : NONE),
    })
  }
})

describe('a proof for everybody', () => {
  it('counts a day, then on while the registry cannot be asked, until it refuses', async () => {
    const lab = new Lab().hold('docker.io/library/app unknown')
    lab.says.set('docker.io/library/app', 'all')
    assert.equal(await lab.access(app), 'public')
    lab.now += DAY - 1
    assert.equal(await lab.access(app), 'public')
    assert.equal(lab.asked.length, 1)
    for (const [says, expected] of [
      ['unreachable', 'unknown'],
      ['all', 'public'],
      ['unreachable', 'unknown'],
      ['nobody', undefined],
      ['unreachable', undefined],
    ] as const) {
      lab.now += DAY
      lab.says.set('docker.io/library/app', says)
      assert.equal(await lab.access(app), expected, says)
    }
  })

  it('is asked for once by all requests at the same time', async () => {
    const lab = new Lab().hold('docker.io/library/app unknown')
    lab.says.set('docker.io/library/app', 'all')
    assert.deepEqual(await Promise.all(Array.from({ length: 5 }, () => lab.access(app))), Array(5).fill('public'))
    assert.deepEqual(lab.asked, ['anonymous docker.io/library/app'])
  })

  it('is for this digest alone', async () => {
    const lab = new Lab().hold('docker.io/library/app unknown')
    const another = Buffer.from('another')
    lab.store.put(another, { ...team, access: 'unknown' })
    lab.publicProofs.shown(app, content.digest)
    lab.says.set('docker.io/library/app', 'absent')
    assert.equal(await lab.access(app), 'public')
    assert.equal(await lab.access(app, PEER, digestOf(another)), undefined)
  })
})

describe('rights and the wall clock', () => {
  afterEach(() => mock.timers.reset())

  it('have nothing to do with each other: a clock that jumps changes nothing', async () => {
    mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
    const lab = new Lab().hold('docker.io/library/app unknown')
    lab.says.set('docker.io/library/app', 'members')
    const all = async () => [await lab.access(app, NODE), await lab.access(app, lab.caller), await lab.access(app)]
    const expected = ['unknown', 'unknown', undefined]
    assert.deepEqual(await all(), expected)
    const count = lab.asked.length
    for (const time of [0, 1_700_000_000_000 + 365 * DAY]) {
      mock.timers.setTime(time)
      assert.deepEqual(await all(), expected)
    }
    assert.equal(lab.asked.length, count)
    lab.now += 5 * minute
    lab.says.set('docker.io/library/app', 'nobody')
    mock.timers.setTime(0)
    assert.deepEqual(await all(), [undefined, undefined, undefined])
  })
})

describe('verified content that came', () => {
  it('from its registry without credentials is public, under its name and all others', async () => {
    const lab = new Lab()
    assert.equal(lab.rights.verifiedCame(app, content.digest, anonymously), 'public')
    lab.hold()
    for (const audience of lab.audiences) {
      assert.equal(await lab.access(app, audience), 'public')
      assert.equal(await lab.access(evil, audience), 'open')
    }
    assert.equal(lab.rights.knownVerdict(app), true)
    assert.deepEqual(lab.provenance.of(content.digest), [{ ...app, access: 'public', at: lab.now }])
    assert.deepEqual(lab.asked, [])
  })

  it('from its registry with the credentials of the node is for the clients on this node, for five minutes', async () => {
    const lab = new Lab()
    assert.equal(lab.rights.verifiedCame(app, content.digest, withCredentials), 'unknown')
    lab.says.set('docker.io/library/app', 'nobody')
    assert.equal(await lab.access(app, NODE), 'unknown')
    assert.deepEqual(lab.asked, [])
    assert.equal(await lab.access(app, PEER), undefined)
    assert.equal(await lab.access(app, lab.caller), undefined)
    assert.equal(await lab.access(evil, NODE), undefined)
    lab.now += 5 * minute
    assert.equal(await lab.access(app, NODE), undefined)
  })

  it('from its registry with the credentials of a caller is for this caller, for five minutes', async () => {
    const lab = new Lab()
    const bob = { kind: 'node', caller: lab.callers.identify({ ...ANN, username: 'bob' }) } as const
    assert.equal(lab.rights.verifiedCame(app, content.digest, withCredentials, lab.caller.caller), 'unknown')
    lab.says.set('docker.io/library/app', 'nobody')
    assert.equal(await lab.access(app, lab.caller), 'unknown')
    assert.deepEqual(lab.asked, [])
    for (const audience of [NODE, bob, PEER]) assert.equal(await lab.access(app, audience), undefined)
    lab.now += 5 * minute
    assert.equal(await lab.access(app, lab.caller), undefined)
  })

  it('proves a right although the content is here already: the registry had the very bytes', async () => {
    const lab = new Lab().hold('docker.io/library/app unknown')
    lab.rights.verifiedCame(app, content.digest, withCredentials)
    assert.equal(await lab.access(app, NODE), 'unknown')
    lab.rights.verifiedCame(app, content.digest, anonymously)
    assert.equal(await lab.access(evil), 'open')
    assert.deepEqual(lab.asked, [])
  })

  it('from a private repository is no longer for all under the names of public ones', async () => {
    const lab = new Lab().hold('docker.io/library/app public')
    assert.equal(await lab.access(evil), 'open')
    lab.rights.verifiedCame(team, content.digest, withCredentials)
    for (const key of ['docker.io/library/app', 'reg.test/team/app']) lab.says.set(key, 'nobody')
    for (const asked of [evil, team]) assert.equal(await lab.access(asked), undefined)
  })

  it('with credentials stays public if its record says that it was had there without', async () => {
    const lab = new Lab().hold('docker.io/library/app public')
    lab.rights.verifiedCame(app, content.digest, withCredentials)
    assert.equal(await lab.access(evil), 'open')
    assert.deepEqual(lab.asked, [])
  })

  it('from a registry is not imported, whatever the store says of its name', async () => {
    const lab = new Lab().hold('docker.io/library/app imported')
    lab.rights.verifiedCame(app, content.digest, withCredentials)
    lab.says.set('docker.io/library/app', 'nobody')
    assert.equal(await lab.access(app), undefined)
  })

  it('from a registry is not imported, whatever a peer says of it before or afterwards', async () => {
    for (const deliveries of [
      [withCredentials, peer('imported')],
      [peer('imported'), withCredentials],
    ]) {
      const lab = new Lab()
      for (const delivery of deliveries) lab.rights.verifiedCame(app, content.digest, delivery)
      lab.hold()
      lab.says.set('docker.io/library/app', 'nobody')
      for (const audience of [PEER, lab.caller]) assert.equal(await lab.access(app, audience), undefined)
    }
  })
})

describe('a blob that comes, whose bytes are not verified', () => {
  const comes = (lab: Lab, repository: Repository, delivery: Delivery) =>
    lab.rights.blobComes(repository, content.digest, delivery, { signal })

  it('proves nothing and makes nothing public by an answer with 200, without credentials or with some', async () => {
    for (const delivery of [anonymously, withCredentials]) {
      const lab = new Lab()
      await comes(lab, app, delivery)
      assert.equal(lab.rights.knownVerdict(app), undefined)
      assert.equal(lab.publicProofs.knows(app, content), false)
      for (const holder of ['node', lab.caller.caller] as const)
        assert.equal(lab.callers.knows(holder, app, content.digest), false)
      lab.hold()
      lab.says.set('docker.io/library/app', 'members')
      assert.equal(await lab.access(app, NODE), 'unknown')
      for (const asked of [app, evil]) assert.equal(await lab.access(asked), undefined)
    }
  })

  it('comes from its repository, and is public if that was public a moment before', async () => {
    for (const [wait, expected] of [
      [GRACE, 'open'],
      [GRACE + 1, undefined],
    ] as const) {
      const lab = new Lab()
      lab.publicProofs.shown(app, digestOf(Buffer.from('a manifest')))
      lab.now += wait
      await comes(lab, app, anonymously)
      lab.hold()
      lab.says.set('docker.io/library/app', 'nobody')
      assert.equal(await lab.access(evil), expected)
    }
  })

  it('is public once its bytes are verified', async () => {
    const lab = new Lab()
    await comes(lab, app, anonymously)
    lab.hold()
    lab.rights.verifiedCame(app, content.digest, anonymously)
    for (const audience of lab.audiences) assert.equal(await lab.access(app, audience), 'public')
    assert.equal(await lab.access(evil), 'open')
    assert.deepEqual(lab.asked, [])
  })

  it('proves no right to what this node holds already: a registry may send anything before it breaks off', async () => {
    for (const sources of [[], ['docker.io/library/app unknown'], ['docker.io/library/app imported']]) {
      const lab = new Lab().hold(...sources)
      lab.says.set('docker.io/library/app', 'nobody')
      for (const delivery of [anonymously, withCredentials]) await comes(lab, evil, delivery)
      // evil.test would be an unwanted question.
      for (const audience of lab.audiences) assert.equal(await lab.access(evil, audience), undefined)
    }
  })

  it('under the name of a named registry proves no right to what this node holds either', async () => {
    const lab = new Lab().hold('docker.io/library/app unknown')
    await comes(lab, other, anonymously)
    lab.says.set('docker.io/library/other', 'nobody')
    for (const audience of [NODE, lab.caller, PEER]) assert.equal(await lab.access(other, audience), undefined)
  })

  it('leaves what is held to those to whom a named registry shows it', async () => {
    const lab = new Lab().hold()
    await comes(lab, evil, anonymously)
    lab.says.set('docker.io/library/app', 'members')
    assert.equal(await lab.access(app, NODE), 'unknown')
    assert.equal(await lab.access(app, lab.caller), 'unknown')
    assert.equal(await lab.access(app, PEER), undefined)
  })

  it('of content that is held, and whose way here is not recorded, marks it as of unknown origin', async () => {
    const lab = new Lab().hold()
    await comes(lab, app, anonymously)
    assert.deepEqual(lab.provenance.of(content.digest).map(repositoryKey), [UNRECORDED, app].map(repositoryKey))
    const recorded = new Lab()
    await comes(recorded, app, anonymously)
    recorded.hold()
    await comes(recorded, other, anonymously)
    assert.deepEqual(recorded.provenance.of(content.digest).map(repositoryKey), [app, other].map(repositoryKey))
  })

  for (const [believesPeers, said] of [
    [false, 'unknown'],
    [false, 'public'],
    [false, 'open'],
    [false, 'imported'],
    [true, 'unknown'],
  ] as const) {
    it(`marks it so where a peer that is ${believesPeers ? '' : 'not '}believed calls it ${said}`, async () => {
      const lab = new Lab({ believesPeers, isBelieved: believesPeers }).hold()
      await comes(lab, evil, peer(said))
      // Anyone can run evil.test, and be a node of a cluster without a secret.
      lab.says.set('evil.test/x/app', 'all')
      for (const audience of [NODE, lab.caller, PEER]) assert.equal(await lab.access(evil, audience), undefined)
    })
  }

  it('marks it so where the store does not say whether the content is held', async () => {
    const lab = new Lab().hold()
    lab.store.open = () => Promise.reject(new Error('EIO'))
    await comes(lab, evil, anonymously)
    lab.says.set('evil.test/x/app', 'all')
    for (const audience of [NODE, lab.caller, PEER]) assert.equal(await lab.access(evil, audience), undefined)
  })

  for (const said of ['public', 'open', 'imported', 'unknown'] as const) {
    // A peer that is getting the blob from evil.test calls it public, since evil.test shows its name to everybody, and has verified nothing.
    it(`opens nothing that came from a private repository, whatever a peer says of it (${said})`, async () => {
      const before = new Lab().hold('docker.io/library/app unknown')
      await comes(before, evil, peer(said))
      const afterwards = new Lab()
      await comes(afterwards, evil, peer(said))
      afterwards.rights.verifiedCame(app, content.digest, withCredentials)
      afterwards.hold()
      for (const lab of [before, afterwards]) {
        lab.says.set('docker.io/library/app', 'nobody')
        lab.says.set('evil.test/x/app', 'all')
        for (const asked of [evil, app]) assert.equal(await lab.access(asked), undefined)
      }
    })
  }

  it('from a registry that lies about having it does not open what came from another one', async () => {
    const lab = new Lab().hold('docker.io/library/app unknown')
    lab.says.set('docker.io/library/app', 'nobody')
    await comes(lab, evil, anonymously)
    for (const asked of [evil, app]) assert.equal(await lab.access(asked), undefined)
  })

  it('leaves no blob of the store open', async () => {
    const lab = new Lab().hold()
    const open = lab.store.open.bind(lab.store)
    let count = 0
    lab.store.open = async (...asked) => {
      const blob = (await open(...asked)) ?? assert.fail()
      count += 1
      return { ...blob, close: async () => void (count -= 1) }
    }
    for (const delivery of [anonymously, withCredentials, peer('public')]) await comes(lab, app, delivery)
    assert.equal(count, 0)
  })
})

describe('content that a peer gives', () => {
  /** Both ways in which it may come. */
  const ways = {
    'a verified manifest': (lab: Lab, said: Access) => lab.rights.verifiedCame(app, content.digest, peer(said)),
    'a blob': (lab: Lab, said: Access) => lab.rights.blobComes(app, content.digest, peer(said), { signal }),
  }

  for (const [what, come] of Object.entries(ways)) {
    it(`is what the peer says of it (${what})`, async () => {
      for (const [said, underItsName, underAnother] of [
        ['public', 'public', 'open'],
        ['open', 'open', 'open'],
        ['imported', 'imported', undefined],
        ['unknown', undefined, undefined],
      ] as const) {
        const lab = new Lab()
        lab.says.set('docker.io/library/app', 'nobody')
        const counted = await come(lab, said)
        assert.ok(counted === undefined || counted === said)
        lab.hold()
        for (const audience of [NODE, PEER]) assert.equal(await lab.access(app, audience), underItsName, said)
        assert.equal(await lab.access(evil), underAnother, said)
        if (said !== 'unknown') assert.deepEqual(lab.asked, [])
        // Of the repository the peer says nothing: it may have been closed since.
        assert.equal(lab.rights.knownVerdict(app), said === 'unknown' ? false : undefined)
      }
    })

    it(`is as public as the peer says for a day (${what})`, async () => {
      for (const said of ['public', 'open'] as const) {
        const lab = new Lab()
        await come(lab, said)
        lab.hold()
        lab.now += DAY - 1
        assert.equal(await lab.access(evil), 'open')
        lab.now += 1
        lab.says.set('docker.io/library/app', 'nobody')
        for (const asked of [evil, app]) assert.equal(await lab.access(asked), undefined)
      }
    })

    it(`is nothing in a cluster without a secret (${what})`, async () => {
      for (const said of ['public', 'open', 'imported', 'unknown'] as const) {
        const lab = new Lab({ believesPeers: false, isBelieved: false })
        lab.says.set('docker.io/library/app', 'nobody')
        const counted = await come(lab, said)
        assert.ok(counted === undefined || counted === 'unknown')
        lab.hold()
        for (const asked of [app, evil]) assert.equal(await lab.access(asked), undefined, said)
        assert.notEqual(lab.rights.knownVerdict(app), true)
      }
    })

    it(`proves nothing to this node or its clients (${what})`, async () => {
      const lab = new Lab()
      await come(lab, 'unknown')
      for (const holder of ['node', lab.caller.caller] as const)
        assert.equal(lab.callers.knows(holder, app, content.digest), false)
    })
  }

  it('as open stays so although the repository of its name is refused, and is no source unless that is public', async () => {
    const lab = new Lab()
    lab.rights.verifiedCame(evil, content.digest, peer('open'))
    assert.deepEqual(lab.provenance.of(content.digest), [])
    lab.hold()
    // Whoever runs evil.test must not close it for all.
    lab.rights.refusedToEverybody(evil)
    for (const asked of [evil, app]) assert.equal(await lab.access(asked), 'open')
    lab.publicProofs.shown(app, digestOf(Buffer.from('something else')))
    lab.rights.verifiedCame(app, content.digest, peer('open'))
    assert.deepEqual(lab.provenance.of(content.digest).map(repositoryKey), [repositoryKey(app)])
  })

  it('as open is for everybody no longer once it came from a private repository', async () => {
    const lab = new Lab()
    lab.rights.verifiedCame(evil, content.digest, peer('open'))
    lab.rights.verifiedCame(app, content.digest, withCredentials)
    lab.hold()
    lab.says.set('docker.io/library/app', 'nobody')
    for (const asked of [evil, other]) {
      lab.says.set('docker.io/library/other', 'nobody')
      assert.equal(await lab.access(asked), undefined)
    }
  })

  it('returns what counts of the peer’s word', () => {
    for (const said of ['public', 'open', 'imported', 'unknown'] as const) {
      assert.equal(new Lab().rights.verifiedCame(app, content.digest, peer(said)), said)
      const wary = new Lab({ believesPeers: false, isBelieved: false })
      assert.equal(wary.rights.verifiedCame(app, content.digest, peer(said)), 'unknown')
    }
  })
})

describe('a tag that a registry resolved', () => {
  const tag = { ...app, tag: '1' }

  it('proves what it names to everybody, to the node, or to the caller that asked', async () => {
    const everybody = new Lab().hold()
    everybody.rights.resolved(tag, content.digest, { anonymous: true })
    assert.equal(await everybody.access(app), 'public')
    for (const isCaller of [true, false]) {
      const lab = new Lab().hold()
      const caller = isCaller ? lab.caller.caller : undefined
      lab.rights.resolved(tag, content.digest, { anonymous: false, caller })
      assert.equal(await lab.access(app, isCaller ? lab.caller : NODE), 'unknown')
      assert.deepEqual(lab.asked, [])
      lab.says.set('docker.io/library/app', 'nobody')
      for (const audience of [PEER, isCaller ? NODE : lab.caller])
        assert.equal(await lab.access(app, audience), undefined)
      const reference = { kind: 'manifests', reference: '1' } as const
      assert.equal(await lab.rights.vouchesFor(caller, app, reference, { signal }), isCaller)
    }
  })

  it('is no source of what it names: the word of a registry that no flag names is not enough', async () => {
    const lab = new Lab().hold()
    lab.rights.resolved({ ...evil, tag: '1' }, content.digest, { anonymous: true })
    assert.equal(await lab.access(evil), undefined)
  })
})

describe('the word of this node that a registry showed content to its client', () => {
  it('is given if the registry says so, for a digest or a tag, and asked for once', async () => {
    for (const asked of [probe, { kind: 'manifests', reference: '1' } as const]) {
      for (const says of ANSWERS) {
        const lab = new Lab()
        lab.says.set('docker.io/library/app', says)
        const isShown = ['all', 'members', 'ann'].includes(says)
        for (let i = 0; i < 2; i += 1)
          assert.equal(await lab.rights.vouchesFor(lab.caller.caller, app, asked, { signal }), isShown, says)
        assert.deepEqual(new Set(lab.asked), new Set(['ann docker.io/library/app']))
        if (isShown) assert.equal(lab.asked.length, 1)
      }
    }
  })

  it('is not given without a caller, where private images are skipped, without a secret, or of a local registry', async () => {
    const ofNobody = new Lab()
    assert.equal(await ofNobody.rights.vouchesFor(undefined, app, probe, { signal }), false)
    for (const options of [{ policy: 'skip' }, { isBelieved: false }] as const) {
      const lab = new Lab(options)
      lab.callers.shown(lab.caller.caller, app, content.digest)
      assert.equal(await lab.rights.vouchesFor(lab.caller.caller, app, probe, { signal }), false)
    }
    const lab = new Lab()
    lab.callers.shown(lab.caller.caller, local, content.digest)
    assert.equal(await lab.rights.vouchesFor(lab.caller.caller, local, probe, { signal }), false)
    assert.deepEqual(lab.asked, [])
  })

  it('is given where everything is shared', async () => {
    const lab = new Lab({ policy: 'share' })
    lab.says.set('docker.io/library/app', 'ann')
    assert.equal(await lab.rights.vouchesFor(lab.caller.caller, app, probe, { signal }), true)
  })

  it('is not asked for again within a minute after a refusal', async () => {
    const lab = new Lab()
    const { caller } = lab.caller
    lab.says.set('docker.io/library/app', 'nobody')
    assert.equal(lab.rights.isRefused(caller, app), false)
    assert.equal(await lab.rights.vouchesFor(caller, app, probe, { signal }), false)
    assert.equal(lab.rights.isRefused(caller, app), true)
    assert.equal(lab.rights.isRefused(undefined, app), false)
    assert.equal(lab.rights.isRefused(caller, other), false)
    assert.equal(await lab.access(app, lab.caller), undefined)
    assert.equal(lab.asked.length, 1)
    lab.now += minute
    assert.equal(lab.rights.isRefused(caller, app), false)
  })
})

describe('a node that shares all and fetches nothing', () => {
  const options = { policy: 'share', registries: { mirrored: 'all', fallback: 'none' } } as const

  it('asks no registry whether it may serve', async () => {
    for (const [sources, asked, expected] of [
      [['docker.io/library/app unknown'], app, 'unknown'],
      [['docker.io/library/app unknown'], other, undefined],
      [['docker.io/library/app unknown'], evil, undefined],
      [[], app, undefined],
      [['docker.io/library/app public'], evil, 'open'],
    ] as const) {
      const lab = new Lab(options).hold(...sources)
      for (const audience of [NODE, lab.caller, PEER]) assert.equal(await lab.access(asked, audience), expected)
    }
  })

  it('is the only one that asks none: without sharing, or with a fallback, registries are asked', async () => {
    for (const other of [
      { ...options, policy: 'verify' },
      { ...options, registries },
    ] as const) {
      const lab = new Lab(other).hold('docker.io/library/app unknown', 'reg.test/team/app public')
      lab.says.set('docker.io/library/app', 'all')
      assert.equal(await lab.access(evil), 'open')
      assert.deepEqual(lab.asked, ['anonymous docker.io/library/app'])
    }
  })

  it('serves what is proven by what passed', async () => {
    const lab = new Lab(options).hold('docker.io/library/app unknown')
    lab.callers.shown(lab.caller.caller, other, content.digest)
    assert.equal(await lab.access(other, lab.caller), 'unknown')
    assert.equal(await lab.access(other, VERIFIED), 'unknown')
    lab.publicProofs.shown(other, content.digest)
    assert.equal(await lab.access(other), 'public')
  })

  it('serves what was public long ago', async () => {
    const lab = new Lab(options).hold('docker.io/library/app unknown')
    lab.publicProofs.shown(app, digestOf(Buffer.from('something else')))
    lab.now += 2 * DAY
    assert.equal(await lab.access(other), 'unknown')
  })

  it('asks no registry about a client, a repository or content either', async () => {
    const lab = new Lab(options)
    lab.says.set('docker.io/library/app', 'all')
    await lab.rights.vouchesFor(lab.caller.caller, app, probe, { signal })
    await lab.rights.standing(app, probe, { signal })
    await lab.rights.isPublic(app, content, { signal })
    assert.deepEqual(lab.asked, [])
  })
})

describe('a repository', () => {
  it('is shared by nodes until it is known that they may not give each other what they get', async () => {
    const lab = new Lab()
    assert.equal(lab.rights.mayShare(app), true)
    lab.rights.notePrivate(app)
    assert.equal(lab.rights.mayShare(app), false)
    lab.now += minute
    assert.equal(lab.rights.mayShare(app), true)
    lab.rights.heardPublic(app)
    lab.rights.notePrivate(app)
    assert.equal(lab.rights.knownVerdict(app), true)
    assert.equal(lab.rights.mayShare(app), true)
    lab.says.set('docker.io/library/other', 'nobody')
    await lab.rights.isPublic(other, content, { signal })
    assert.equal(lab.rights.mayShare(other), false)
  })

  it('is shared although it is private where the owner shares all, and of a local registry never', () => {
    const sharing = new Lab({ policy: 'share' })
    sharing.rights.notePrivate(app)
    assert.equal(sharing.rights.sharesAll, true)
    assert.equal(sharing.rights.mayShare(app), true)
    for (const policy of POLICIES) {
      const lab = new Lab({ policy })
      lab.publicProofs.shown(local, content.digest)
      assert.equal(lab.rights.mayShare(local), false)
      assert.equal(lab.rights.sharesAll, policy === 'share')
    }
  })

  it('is known or not without asking: public, refused, or nobody could say', async () => {
    for (const [says, expected] of [
      ['all', true],
      ['nobody', false],
      ['members', false],
      ['absent', undefined],
      ['unreachable', undefined],
    ] as const) {
      const lab = new Lab().hold('docker.io/library/app unknown')
      lab.says.set('docker.io/library/app', says)
      assert.equal(lab.rights.knownVerdict(app), undefined)
      await lab.access(app)
      assert.equal(lab.rights.knownVerdict(app), expected, says)
      const standing = { all: 'public', nobody: 'closed', members: 'closed', absent: 'unknown', unreachable: 'unknown' }
      assert.equal(await lab.rights.standing(app, probe, { signal }), standing[says])
    }
  })

  it('that is public is asked about each content that comes now: it may have been closed since', async () => {
    for (const says of ANSWERS) {
      const lab = new Lab()
      lab.rights.heardPublic(app)
      lab.says.set('docker.io/library/app', says)
      assert.equal(await lab.rights.isPublic(app, content, { signal }), says === 'all')
      assert.deepEqual(lab.asked, ['anonymous docker.io/library/app'])
    }
  })

  it('is not asked about content that it has shown within a day', async () => {
    const lab = new Lab()
    lab.publicProofs.shown(app, content.digest)
    assert.equal(await lab.rights.isPublic(app, content, { signal }), true)
    assert.deepEqual(lab.asked, [])
  })

  it('that was public is asked about again for a client that takes no old word', async () => {
    const options = { signal, maxAge: GRACE }
    const lab = new Lab()
    lab.publicProofs.shown(app, digestOf(Buffer.from('something else')))
    assert.equal(await lab.rights.standing(app, probe, options), 'public')
    lab.now += GRACE
    assert.equal(await lab.rights.standing(app, probe, { signal }), 'public')
    assert.deepEqual(lab.asked, [])
    // A neighbour may have been shown it some minutes ago, and its word is no younger.
    lab.rights.heardPublic(other)
    assert.equal(await lab.rights.standing(other, probe, { signal }), 'public')
    lab.says.set('docker.io/library/other', 'all')
    assert.equal(await lab.rights.standing(other, probe, options), 'public')
    assert.deepEqual(lab.asked.splice(0), ['anonymous docker.io/library/other'])
    lab.says.set('docker.io/library/app', 'nobody')
    assert.equal(await lab.rights.standing(app, probe, options), 'closed')
    assert.deepEqual(lab.asked, ['anonymous docker.io/library/app'])
  })

  it('that the registry refuses to everybody is closed', async () => {
    const lab = new Lab().hold('docker.io/library/app unknown')
    lab.publicProofs.shown(app, content.digest)
    lab.rights.refusedToEverybody(app)
    assert.equal(lab.rights.knownVerdict(app), false)
    assert.equal(lab.rights.mayShare(app), false)
    assert.equal(await lab.rights.standing(app, probe, { signal }), 'closed')
    assert.equal(await lab.access(app), undefined)
    assert.deepEqual(lab.asked, [])
  })

  it('is no place to send peers to that would be given nothing there', async () => {
    const lab = new Lab().hold('docker.io/library/app unknown')
    lab.says.set('docker.io/library/app', 'members')
    assert.equal(await lab.rights.mayOffer(app, content, { signal }), false)
    assert.equal(await lab.rights.mayServe(app, content, NODE, { signal }), true)
    lab.publicProofs.shown(app, content.digest)
    assert.equal(await lab.rights.mayOffer(app, content, { signal }), true)
  })

  it('is of no interest to a request that has ended', async () => {
    const lab = new Lab().hold('docker.io/library/app unknown')
    const ended = AbortSignal.abort(new Error('gone'))
    await assert.rejects(lab.rights.access(app, content, PEER, { signal: ended }), /gone/)
    assert.deepEqual(lab.asked, [])
  })
})
