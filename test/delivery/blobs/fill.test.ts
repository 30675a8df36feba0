import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import { type Fill, Fills } from '../../../src/delivery/blobs/fill.ts'
import type { RemoteBlob } from '../../../src/delivery/blobs/remote-blob.ts'
import type { BlobRequest } from '../../../src/delivery/blobs/blob-request.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { OciError } from '../../../src/oci/errors.ts'
import { repositoryKey } from '../../../src/oci/reference.ts'
import { type CacheStore, type Ingest, IngestError } from '../../../src/store/cache-store.ts'

const bytes = Buffer.from('the bytes of a blob')
const digest = digestOf(bytes)
const request: BlobRequest = { repository: { registry: 'docker.io', name: 'library/app' }, digest }
const renamed: BlobRequest = { ...request, repository: { registry: 'docker.io', name: 'library/other' } }
const elsewhere: BlobRequest = { ...request, repository: { registry: 'evil.test', name: 'library/app' } }
const ann = { id: 'ann', credential: { username: 'ann', password: 'secret' } }

describe('a blob on its way into the cache', () => {
  /** Repositories under which the sources were opened. */
  let asked: string[]
  /** The sources answer when `found` resolves, and send their bytes when `sent` does. */
  let found: PromiseWithResolvers<void>
  let sent: PromiseWithResolvers<void>
  let canBeKept: boolean
  let ended: unknown[]
  let fills: Fills

  beforeEach(() => {
    asked = []
    found = Promise.withResolvers()
    sent = Promise.withResolvers()
    canBeKept = true
    ended = []
    fills = new Fills({
      store: { ingest: async () => (canBeKept ? new MemoryIngest() : undefined) } as unknown as CacheStore,
      open: async ({ repository }) => {
        asked.push(repositoryKey(repository))
        await found.promise
        return {
          size: bytes.length,
          fromRegistry: { from: 'upstream', anonymous: true },
          async *chunks() {
            await sent.promise
            yield bytes
          },
          cancel: () => {},
        } as unknown as RemoteBlob
      },
      onEnd: ({ repository }, { fromRegistry }, error) => ended.push([repositoryKey(repository), fromRegistry, error]),
    })
  })

  /** Whether two requests are served by one fill. */
  const isJoined = async (other: BlobRequest): Promise<boolean> => {
    found.resolve()
    const first = (await fills.join(request)) ?? assert.fail()
    const second = await fills.join(other)
    assert.ok(second === undefined || second === first)
    await over(first)
    return second === first
  }
  const over = async (fill: Fill) => {
    sent.resolve()
    await fill.done
  }

  it('is fetched once for all names and clients of one registry', async () => {
    for (const other of [request, renamed, { ...request, caller: ann }]) {
      asked = []
      assert.equal(await isJoined(other), true)
      assert.deepEqual(asked, ['docker.io/library/app'])
    }
  })

  it('is not joined by a request at another registry: the first registry would decide how fast the second client gets it', async () => {
    assert.equal(await isJoined(elsewhere), false)
    assert.deepEqual(asked, ['docker.io/library/app'])
  })

  it('is not waited for by a request at another registry while its source is looked for', async () => {
    const starting = fills.join(request)
    assert.equal(await fills.join(elsewhere), undefined)
    found.resolve()
    await over((await starting) ?? assert.fail())
  })

  it('is fetched for another registry once the fill has ended', async () => {
    await isJoined(elsewhere)
    const fill = (await fills.join(elsewhere)) ?? assert.fail()
    assert.deepEqual(fill.repository, elsewhere.repository)
    await fill.done
    assert.deepEqual(asked, ['docker.io/library/app', 'evil.test/library/app'])
  })

  it('has the repository, the caller and the way of its bytes', async () => {
    found.resolve()
    const fill = (await fills.join({ ...request, caller: ann })) ?? assert.fail()
    assert.deepEqual([fill.repository, fill.caller], [request.repository, ann])
    await over(fill)
    await Promise.resolve()
    assert.deepEqual(ended, [['docker.io/library/app', { from: 'upstream', anonymous: true }, undefined]])
  })

  it('is looked for again under another name, or for another client, after a refusal under one name', async () => {
    for (const other of [renamed, { ...request, caller: ann }]) {
      asked = []
      found = Promise.withResolvers()
      const [first, same, another] = [request, request, other].map((each) => fills.join(each))
      found.reject(new OciError('BLOB_UNKNOWN'))
      for (const joining of [first, same]) await assert.rejects(joining ?? assert.fail(), { code: 'BLOB_UNKNOWN' })
      await assert.rejects(another ?? assert.fail(), { code: 'BLOB_UNKNOWN' })
      assert.equal(asked.length, 2)
    }
  })

  it('goes past the cache where it cannot be kept', async () => {
    canBeKept = false
    found.resolve()
    assert.equal(await fills.join(request), undefined)
  })
})

class MemoryIngest implements Ingest {
  readonly size = bytes.length
  written = 0

  async write(chunk: Uint8Array): Promise<void> {
    this.written += chunk.length
  }

  async commit(): Promise<void> {
    if (this.written !== this.size) throw new IngestError('size-mismatch', 'too short')
  }

  async abort(): Promise<void> {}

  async open(): Promise<never> {
    throw new IngestError('aborted', 'no client reads here')
  }
}
