import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import { type Audience, type Caller, GRACE, type NamedContent, PEER } from '../../../src/delivery/access/audience.ts'
import {
  CHALLENGE,
  ClientAccess,
  type ClientAccessOptions,
  type Pull,
  NotShownError,
} from '../../../src/delivery/access/client-access.ts'
import type { Holder } from '../../../src/delivery/access/caller-proofs.ts'
import type { Standing } from '../../../src/delivery/access/public-proofs.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { OciError, type OciErrorCode } from '../../../src/oci/errors.ts'
import { type Repository, type TagReference, repositoryKey } from '../../../src/oci/reference.ts'
import { type PullCredential, UpstreamError, type UpstreamListing } from '../../../src/upstream/upstream.ts'

const signal = new AbortController().signal
const repository = { registry: 'docker.io', name: 'org/app' }
const digest = digestOf(Buffer.from('content'))
const blob: Pull = { repository, kind: 'blobs', reference: digest }
const manifest: Pull = { repository, kind: 'manifests', reference: digest }
const tag: Pull = { repository, kind: 'manifests', reference: '1' }
const ann = { username: 'ann', password: 'secret' }

/** A refusal as a use case throws it. */
const missing = (cause?: unknown, code: OciErrorCode = 'BLOB_UNKNOWN') => new OciError(code, { message: 'no', cause })
const denied = () => new UpstreamError('denied', 'docker.io denies access: 401', { status: 401 })

const nameOf = (holder: Holder) => (holder === 'node' ? holder : holder.credential.username)

describe('a client of the mirror', () => {
  /** What the registry shows to anonymous requests. */
  let standing: Standing
  /** Callers that the registry has refused the repository lately, by user name. */
  let refused: Set<string>
  /** Whether peers may have the content. */
  let mayServe: boolean
  let isTagHeld: boolean
  /** Calls to the collaborators, in order. */
  let events: string[]
  let upstream: (as: string) => UpstreamListing | Error
  /** Whether the registry shows the content to a caller. */
  let showsToCallers: boolean

  beforeEach(() => {
    standing = 'unknown'
    refused = new Set()
    mayServe = false
    isTagHeld = false
    events = []
    showsToCallers = true
    upstream = () => assert.fail('not expected')
  })

  function accessWith(options: Partial<ClientAccessOptions> = {}): ClientAccess {
    return new ClientAccess({
      rights: {
        standing: async (of, { kind, reference }, { maxAge }) => {
          assert.deepEqual(of, repository)
          events.push(`standing ${kind} ${reference === digest ? 'digest' : reference} ${maxAge ?? ''}`.trimEnd())
          return standing
        },
        mayServe: async (of: Repository, content: NamedContent, audience: Audience) => {
          assert.deepEqual([of, content.digest, audience], [repository, digest, PEER])
          events.push(`may serve ${content.kind}`)
          return mayServe
        },
        refusedToEverybody: (of) => {
          assert.deepEqual(of, repository)
          events.push('refused to everybody')
          standing = 'closed'
        },
      },
      callers: {
        identify: (credential) => ({ id: credential.username, credential }),
        proves: async (holder, of, { kind, reference }) => {
          assert.deepEqual([of, reference], [repository, digest])
          events.push(`${nameOf(holder)} asks for ${kind}`)
          if (showsToCallers) return 'shown'
          refused.add(nameOf(holder))
          return 'refused'
        },
        refusal: (holder, of) => {
          assert.deepEqual(of, repository)
          return refused.has(nameOf(holder)) ? { tokenError: 'insufficient_scope' } : undefined
        },
        refused: (holder, of, error) => {
          assert.deepEqual(of, repository)
          assert.ok(error instanceof UpstreamError)
          refused.add(nameOf(holder))
          events.push(`refused to ${nameOf(holder)}`)
        },
      },
      tags: {
        resolveLocal: async (of: TagReference, audience: Audience) => {
          assert.deepEqual([of, audience], [{ ...repository, tag: '1' }, PEER])
          events.push('resolve local')
          return isTagHeld
            ? { descriptor: { mediaType: 'x/y', digest, size: 1 }, asOf: 0, access: 'public' }
            : undefined
        },
      },
      upstream: {
        getListing: async (of, pathAndQuery, { as }) => {
          assert.deepEqual(of, repository)
          const user = typeof as === 'object' ? as.username : String(as)
          events.push(`${pathAndQuery} as ${user}`)
          const answer = upstream(user)
          if (answer instanceof Error) throw answer
          return answer
        },
      },
      policy: 'verify',
      hasCredentials: false,
      fetches: () => true,
      ...options,
    })
  }

  /** Serves a pull with `work`, which gets the rights that it runs with: `everybody`, or a user name. */
  const serve = (
    access: ClientAccess,
    credential: PullCredential | undefined,
    work: (rights: string) => string | Error,
    pull: Pull = blob,
  ) =>
    access.serve(pull, credential, signal, async (caller: Caller | undefined) => {
      if (caller !== undefined) assert.deepEqual(caller.credential, credential)
      const rights = caller?.id ?? 'everybody'
      events.push(`work as ${rights}`)
      const result = work(rights)
      if (result instanceof Error) throw result
      return `${result} as ${rights}`
    })
  const gives = () => 'given'
  const refuses = (cause?: unknown) => () => missing(cause)
  /** Succeeds with these rights and refuses all others. */
  const givesTo = (allowed: string, cause?: unknown) => (rights: string) =>
    rights === allowed ? 'given' : missing(cause)

  const isChallenge = (error: unknown) => {
    assert.ok(error instanceof OciError)
    assert.deepEqual([error.code, error.status, error.headers], ['UNAUTHORIZED', 401, CHALLENGE])
    assert.ok(error.message.includes(repositoryKey(repository)))
    return true
  }
  /** The same whether the registry has it or not. */
  const isUnseen = (error: unknown, pull: Pull = blob) => {
    assert.ok(error instanceof OciError)
    assert.equal(error.status, 404)
    assert.equal(error.code, pull.kind === 'blobs' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN')
    assert.match(error.message, /^docker\.io\/org\/app[:@].+: docker\.io does not show it to this client$/)
    assert.ok(error.cause instanceof NotShownError)
    assert.equal(error.cause.tokenError, refused.has('ann') ? 'insufficient_scope' : undefined)
    return true
  }

  describe('that sends no credentials', () => {
    it('is served anonymously, without a request to the registry', async () => {
      for (const policy of ['verify', 'share'] as const) {
        events = []
        assert.equal(await serve(accessWith({ policy }), undefined, gives), 'given as everybody')
        assert.deepEqual(events, ['work as everybody'])
      }
    })

    it('gets 401 if no other source has the content and the registry refuses the repository', async () => {
      standing = 'closed'
      await assert.rejects(serve(accessWith(), undefined, refuses()), isChallenge)
      assert.deepEqual(events, ['work as everybody', 'standing blobs digest'])
    })

    it('gets 401 once the registry refuses a repository that was public before, and the repository is closed', async () => {
      standing = 'public'
      await assert.rejects(serve(accessWith(), undefined, refuses(denied())), isChallenge)
      assert.deepEqual(events, ['work as everybody', 'refused to everybody', 'standing blobs digest'])
    })

    it('gets 401 if the registry refuses anonymous requests, and 404 if it refuses only the credentials of the node', async () => {
      const access = accessWith({ hasCredentials: true })
      standing = 'closed'
      await assert.rejects(serve(access, undefined, refuses(denied())), isChallenge)
      standing = 'public'
      await assert.rejects(serve(access, undefined, refuses(denied())), { code: 'BLOB_UNKNOWN', message: 'no' })
      assert.ok(events.includes('standing blobs digest 0'))
      assert.ok(!events.includes('refused to everybody'))
    })

    it('gets 404 where the registry did not refuse: an upstream that has no content must not fail every pull', async () => {
      for (const said of ['public', 'unknown'] as const) {
        standing = said
        const failure = missing()
        await assert.rejects(
          serve(accessWith(), undefined, () => failure),
          (error) => error === failure,
        )
      }
      assert.ok(!events.includes('refused to everybody'))
    })

    it('gets 404 without a further request where the registry did not answer', async () => {
      standing = 'closed'
      for (const reason of ['unreachable', 'limited', 'failed', 'invalid'] as const) {
        events = []
        await assert.rejects(serve(accessWith(), undefined, refuses(new UpstreamError(reason, 'no'))), {
          code: 'BLOB_UNKNOWN',
          message: 'no',
        })
        assert.deepEqual(events, ['work as everybody'])
      }
    })

    it('never gets 401 under the policy share', async () => {
      standing = 'closed'
      for (const cause of [undefined, denied()])
        await assert.rejects(serve(accessWith({ policy: 'share' }), undefined, refuses(cause)), { message: 'no' })
      assert.ok(!events.some((event) => event.startsWith('standing')))
    })
  })

  describe('that sends credentials', () => {
    it('is served anonymously where the repository is public: the credentials are not looked at', async () => {
      standing = 'public'
      assert.equal(await serve(accessWith(), ann, gives), 'given as everybody')
      assert.deepEqual(events, ['standing blobs digest', 'work as everybody'])
    })

    it('is served with its credentials where the repository is not known to be public', async () => {
      for (const policy of ['verify', 'share'] as const) {
        for (const said of ['closed', 'unknown'] as const) {
          events = []
          standing = said
          assert.equal(await serve(accessWith({ policy }), ann, gives), 'given as ann')
          assert.deepEqual(events, ['standing blobs digest', 'work as ann'])
        }
      }
    })

    it('has the repository checked with the digest or tag that it pulls', async () => {
      for (const [pull, event] of [
        [manifest, 'standing manifests digest'],
        [tag, 'standing manifests 1'],
      ] as const) {
        events = []
        await serve(accessWith(), ann, gives, pull)
        assert.equal(events[0], event)
      }
    })

    it('is served with its credentials once the registry refuses a repository that was public before', async () => {
      for (const policy of ['verify', 'share'] as const) {
        events = []
        standing = 'public'
        assert.equal(await serve(accessWith({ policy }), ann, givesTo('ann', denied())), 'given as ann')
        assert.deepEqual(events, ['standing blobs digest', 'work as everybody', 'refused to everybody', 'work as ann'])
      }
    })

    it('is served with its credentials after a refusal of the node’s own ones, and the registry is asked anew', async () => {
      const access = accessWith({ hasCredentials: true })
      standing = 'public'
      assert.equal(await serve(access, ann, givesTo('ann', denied())), 'given as ann')
      assert.deepEqual(events, ['standing blobs digest', 'work as everybody', 'standing blobs digest 0', 'work as ann'])
    })

    it('is served anonymously within a minute after the registry has refused its credentials', async () => {
      refused.add('ann')
      assert.equal(await serve(accessWith(), ann, gives), 'given as everybody')
      standing = 'closed'
      // A wrong password is not sent again, and 401 would only make the client repeat it.
      for (const cause of [undefined, denied()])
        await assert.rejects(serve(accessWith(), ann, refuses(cause)), isUnseen)
      assert.ok(!events.some((event) => event.endsWith(' ann')))
    })

    it('gets 404 if the registry refuses it, whether the content exists or not, and the refusal is remembered', async () => {
      for (const pull of [blob, manifest, tag]) {
        refused.clear()
        events = []
        await assert.rejects(serve(accessWith(), ann, refuses(denied()), pull), (error) => isUnseen(error, pull))
        assert.deepEqual(events.slice(1), ['work as ann', 'refused to ann'])
      }
      assert.ok(!events.includes('refused to everybody'))
    })

    it('gets the failure itself if the registry did not refuse it', async () => {
      standing = 'closed'
      for (const cause of [undefined, new UpstreamError('unreachable', 'no')]) {
        const failure = missing(cause)
        await assert.rejects(
          serve(accessWith(), ann, () => failure),
          (error) => error === failure,
        )
      }
      assert.ok(!events.some((event) => event.startsWith('refused')))
    })

    it('is served with the credentials of the node if its own ones are not enough', async () => {
      const access = accessWith({ hasCredentials: true })
      assert.equal(await serve(access, ann, givesTo('everybody', denied())), 'given as everybody')
      assert.deepEqual(events.slice(1), ['work as ann', 'refused to ann', 'work as everybody'])
      refused.clear()
      assert.equal(await serve(access, ann, givesTo('everybody')), 'given as everybody')
    })

    it('gets no more than 404 if the credentials of the node are refused too', async () => {
      const access = accessWith({ hasCredentials: true })
      await assert.rejects(serve(access, ann, refuses(denied())), isUnseen)
      refused.clear()
      const failures = [missing(), missing()]
      await assert.rejects(
        serve(access, ann, (rights) => failures[rights === 'ann' ? 0 : 1] ?? 'given'),
        (error) => error === failures[0],
      )
    })

    it('is verified at the registry first where the daemon does not fetch from it', async () => {
      const access = accessWith({ fetches: (registry) => registry !== repository.registry })
      for (const pull of [blob, manifest]) {
        events = []
        assert.equal(await serve(access, ann, gives, pull), 'given as ann')
        assert.deepEqual(events.slice(1), [`ann asks for ${pull.kind}`, 'work as ann'])
      }
      // The answer does not depend on whether a node holds the content.
      showsToCallers = false
      await assert.rejects(serve(access, ann, refuses()), isUnseen)
      standing = 'public'
      events = []
      assert.equal(await serve(access, ann, gives), 'given as everybody')
      assert.deepEqual(events, ['standing blobs digest', 'work as everybody'])
    })

    it('gets no other rights after a failure other than 404', async () => {
      const busy = new OciError('TOOMANYREQUESTS')
      for (const failure of [busy, new OciError('RANGE_INVALID'), new TypeError('bug'), denied()]) {
        for (const hasCredentials of [true, false]) {
          events = []
          await assert.rejects(
            serve(accessWith({ hasCredentials }), ann, () => failure),
            (error) => error === failure,
          )
          assert.deepEqual(events, ['standing blobs digest', 'work as ann'])
        }
      }
      const access = accessWith({ hasCredentials: true })
      await assert.rejects(
        serve(access, ann, (rights) => (rights === 'ann' ? missing() : busy)),
        (error) => error === busy,
      )
    })
  })

  it('gets each failure other than 404 unchanged', async () => {
    standing = 'closed'
    for (const failure of [new OciError('TOOMANYREQUESTS'), new OciError('RANGE_INVALID'), new TypeError('bug')]) {
      events = []
      await assert.rejects(
        serve(accessWith(), undefined, () => failure),
        (error) => error === failure,
      )
      assert.deepEqual(events, ['work as everybody'])
    }
  })

  it('that has disconnected costs no further request', async () => {
    for (const credential of [undefined, ann]) {
      const gone = new AbortController()
      events = []
      const serving = accessWith({ hasCredentials: true }).serve(blob, credential, gone.signal, async () => {
        events.push('work')
        gone.abort(new Error('gone'))
        throw missing(denied())
      })
      await assert.rejects(serving, /gone/)
      assert.deepEqual(
        events.filter((event) => !event.startsWith('standing')),
        ['work'],
      )
    }
  })

  describe('under the policy skip', () => {
    const skipping = (options: Partial<ClientAccessOptions> = {}) => accessWith({ policy: 'skip', ...options })

    for (const credential of [undefined, ann]) {
      const title = credential === undefined ? 'without credentials' : 'with credentials, which are not looked at'

      it(`gets content that peers may have, public or imported (${title})`, async () => {
        mayServe = true
        for (const pull of [blob, manifest]) {
          events = []
          assert.equal(await serve(skipping(), credential, gives, pull), 'given as everybody')
          assert.deepEqual(events, [`may serve ${pull.kind}`, 'work as everybody'])
        }
        isTagHeld = true
        events = []
        assert.equal(await serve(skipping(), credential, gives, tag), 'given as everybody')
        assert.deepEqual(events, ['resolve local', 'work as everybody'])
      })

      it(`gets content of a repository that was public within the last five minutes (${title})`, async () => {
        standing = 'public'
        for (const [pull, first, asked] of [
          [blob, 'may serve blobs', 'blobs digest'],
          [manifest, 'may serve manifests', 'manifests digest'],
          [tag, 'resolve local', 'manifests 1'],
        ] as const) {
          events = []
          assert.equal(await serve(skipping(), credential, gives, pull), 'given as everybody')
          // A verdict of a day ago is too old: the node fetches with its own credentials.
          assert.deepEqual(events, [first, `standing ${asked} ${GRACE}`, 'work as everybody'])
        }
      })

      it(`gets 404 for all other content (${title})`, async () => {
        for (const said of ['closed', 'unknown'] as const) {
          standing = said
          for (const pull of [blob, manifest, tag]) {
            for (const hasCredentials of [true, false]) {
              events = []
              const serving = serve(skipping({ hasCredentials }), credential, gives, pull)
              await assert.rejects(serving, (error) => isUnseen(error, pull))
              assert.ok(!events.some((event) => event.startsWith('work')))
            }
          }
        }
      })

      it(`gets 404 and not 401 once the registry refuses the repository, which is closed (${title})`, async () => {
        standing = 'public'
        await assert.rejects(serve(skipping(), credential, refuses(denied())), { code: 'BLOB_UNKNOWN', message: 'no' })
        assert.deepEqual(events.slice(2), ['work as everybody', 'refused to everybody'])
      })
    }
  })

  describe('that requests a listing', () => {
    const listing: UpstreamListing = {
      status: 200,
      contentType: 'application/json',
      link: undefined,
      body: Buffer.from('{}'),
    }
    const list = (options: Partial<ClientAccessOptions> = {}, credential?: PullCredential) =>
      accessWith(options).listing(repository, 'tags/list?n=1', credential, signal)
    const refusesAll = () => denied()
    const isAbsent = { code: 'NAME_UNKNOWN', message: 'docker.io/org/app does not exist at its registry' }

    it('gets the answer to the node, else the answer to its own credentials', async () => {
      for (const policy of ['verify', 'share'] as const) {
        events = []
        upstream = () => listing
        assert.equal(await list({ policy }, ann), listing)
        assert.deepEqual(events, ['tags/list?n=1 as node'])
        for (const first of [denied(), { ...listing, status: 404 }]) {
          events = []
          upstream = (user) => (user === 'ann' ? listing : first)
          assert.equal(await list({ policy }, ann), listing)
          assert.deepEqual(events, ['tags/list?n=1 as node', 'tags/list?n=1 as ann'])
        }
      }
    })

    it('gets 401 if the registry refuses the node', async () => {
      upstream = refusesAll
      await assert.rejects(list(), isChallenge)
      await assert.rejects(list({ policy: 'share' }), { code: 'NAME_UNKNOWN', status: 404 })
      upstream = () => ({ ...listing, status: 404 })
      await assert.rejects(list(), isAbsent)
    })

    it('gets 404 if the registry refuses it too, whether the repository exists or not', async () => {
      for (const second of [denied(), { ...listing, status: 404 }]) {
        upstream = (user) => (user === 'node' ? denied() : second)
        await assert.rejects(list({}, ann), isAbsent)
      }
    })

    it('costs one request where the registry does not answer', async () => {
      for (const reason of ['unreachable', 'limited', 'failed', 'invalid'] as const) {
        events = []
        upstream = () => new UpstreamError(reason, reason)
        await assert.rejects(list({}, ann), { code: 'NAME_UNKNOWN', message: reason })
        assert.equal(events.length, 1)
      }
    })

    it('gets the answer to an anonymous request alone under the policy skip', async () => {
      for (const credential of [undefined, ann]) {
        events = []
        upstream = () => listing
        assert.equal(await list({ policy: 'skip' }, credential), listing)
        upstream = refusesAll
        await assert.rejects(list({ policy: 'skip' }, credential), { code: 'NAME_UNKNOWN', status: 404 })
        assert.deepEqual(events, Array(2).fill('tags/list?n=1 as anonymous'))
      }
    })

    it('costs no further request once it has disconnected', async () => {
      const gone = new AbortController()
      upstream = () => {
        gone.abort(new Error('gone'))
        return denied()
      }
      await assert.rejects(accessWith().listing(repository, 'tags/list', ann, gone.signal), /gone/)
      assert.equal(events.length, 1)
    })
  })
})
