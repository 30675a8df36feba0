// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { z } from 'zod'

import { makeImage } from '../support/image-maker.ts'
import { type PullEndpoint, REPOSITORY, errorCodeOf, startPullEndpoint } from '../support/pull-endpoint.ts'

const TAGS = ['a', 'b', 'c', 'd', 'e']
const listSchema = z.object({ name: z.literal(REPOSITORY), tags: z.array(z.string()) })

describe('listing tags', () => {
  let endpoint: PullEndpoint
  before(async () => {
    endpoint = await startPullEndpoint()
    const image = makeImage({ layers: [{ size: 100, seed: 'tags' }] })
    for (const tag of TAGS) await endpoint.hub.publish(REPOSITORY, tag, image)
  })
  after(() => endpoint[Symbol.asyncDispose]())

  const list = async (path: string) => {
    const response = await endpoint.get(path)
    assert.equal(response.status, 200, path)
    const { tags } = listSchema.parse(await response.json())
    return { tags, next: /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1] }
  }

  it('gives all in order, n of them, those after last, or none, and a link while there are more', async () => {
    const path = `/v2/${REPOSITORY}/tags/list`
    for (const [query, tags, hasMore] of [
      ['', TAGS, false],
      ['?n=100', TAGS, false],
      ['?n=2', ['a', 'b'], true],
      ['?n=2&last=b', ['c', 'd'], true],
      ['?n=2&last=d', ['e'], false],
      ['?last=c', ['d', 'e'], false],
      ['?last=e', [], false],
      ['?n=0', [], false],
    ] as const) {
      const page = await list(`${path}${query}`)
      assert.deepEqual(page.tags, tags, query)
      assert.equal(page.next !== undefined, hasMore, query)
    }
  })

  it('leads through all pages by its links', async () => {
    const seen: string[] = []
    for (let next: string | undefined = `/v2/${REPOSITORY}/tags/list?n=2`; next !== undefined;) {
      const page: Awaited<ReturnType<typeof list>> = await list(next)
      seen.push(...page.tags)
      next = page.next
      assert.ok(seen.length <= TAGS.length)
    }
    assert.deepEqual(seen, TAGS)
  })

  it('answers 404 with NAME_UNKNOWN for a repository that does not exist', async () => {
    const response = await endpoint.ask('tags/list', { repository: 'library/none' })
    assert.equal(response.status, 404)
    assert.equal(await errorCodeOf(response), 'NAME_UNKNOWN')
  })
})
