// Lists by pages: where the next page begins is told by a registry in parameters of its own, and comes back to it by way of the client.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'

const TAGS = Array.from({ length: 7 }, (_, index) => `t${index}`)
const SUBJECT = digestOf(Buffer.from('subject'))
/** Far above the pages of these lists. */
const MAX_PAGES = 20

describe('lists of a registry with cursors of its own', () => {
  const seen: string[] = []
  /** How the registry writes a link to the page that begins with this tag. */
  let linkTo: (path: string, at: number) => string
  let readCursor: (query: URLSearchParams, raw: string) => number
  let daemon: TestDaemon
  const registry = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://registry')
    const isTags = url.pathname === '/v2/org/app/tags/list'
    if (!isTags && url.pathname !== `/v2/org/app/referrers/${SUBJECT}`) return void response.writeHead(404).end('{}')
    seen.push(request.url ?? '')
    const at = readCursor(url.searchParams, url.search)
    const page = TAGS.slice(at, at + 2)
    const link = at + 2 < TAGS.length ? { link: linkTo(url.pathname, at + 2) } : {}
    const body = isTags
      ? { name: 'org/app', tags: page }
      : { schemaVersion: 2, manifests: page.map((tag) => ({ digest: digestOf(Buffer.from(tag)), size: 1 })) }
    response.writeHead(200, { 'content-type': 'application/json', ...link }).end(JSON.stringify(body))
  })

  before(async () => {
    await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve))
    const { port } = registry.address() as AddressInfo
    daemon = await runDaemon(['--fallback', 'all', '--upstream', `registry.example=http://127.0.0.1:${port}`])
  })
  after(async () => {
    await daemon?.stop()
    registry.closeAllConnections()
    registry.close()
  })

  /** Follows the links as a client does; the pages' bodies. */
  const follow = async (first: string) => {
    seen.length = 0
    const pages: { tags?: string[]; manifests?: { digest: string }[] }[] = []
    for (let next: string | undefined = first; next !== undefined && pages.length < MAX_PAGES;) {
      const response = await fetch(new URL(next, daemon.mirror))
      assert.equal(response.status, 200, next)
      pages.push((await response.json()) as (typeof pages)[number])
      next = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1]
    }
    return pages
  }

  for (const [what, link, cursor] of [
    [
      'a token',
      (path, at) => `<${path}?n=2&nextToken=${at}>; rel="next"`,
      (query) => Number(query.get('nextToken') ?? 0),
    ],
    [
      'bytes that are no text, twice the same name, at another host and path',
      (path, at) => `<https://elsewhere.example/prefix${path}?c=%FF+%2B&c=${at}>; rel="next"`,
      (query, raw) => (raw.includes('c=%FF+%2B&c=') ? Number(query.getAll('c')[1]) : 0),
    ],
    [
      'ten parameters and a signature of 2,000 characters',
      (path, at) =>
        `<${path}?${'abcdefghi'
          .split('')
          .map((name) => `${name}=1`)
          .join('&')}&at=${at}&sig=${'s'.repeat(2000)}>; rel="next"`,
      (query) => (query.get('sig')?.length === 2000 ? Number(query.get('at')) : 0),
    ],
  ] as const satisfies readonly (readonly [string, typeof linkTo, typeof readCursor])[]) {
    it(`are read to their end: ${what}`, async () => {
      linkTo = link
      readCursor = cursor
      for (const first of [
        '/v2/registry.example/org/app/tags/list?n=2',
        '/v2/org/app/tags/list?n=2&ns=registry.example',
      ]) {
        assert.deepEqual(
          (await follow(first)).flatMap(({ tags }) => tags ?? []),
          TAGS,
        )
        assert.equal(seen.length, 4)
        assert.ok(seen.every((url) => !url.includes('ns=')))
      }
      const referrers = await follow(`/v2/registry.example/org/app/referrers/${SUBJECT}?n=2`)
      const digests = referrers.flatMap(({ manifests }) => manifests ?? []).map(({ digest }) => digest)
      assert.deepEqual(
        digests,
        TAGS.map((tag) => digestOf(Buffer.from(tag))),
      )
    })
  }

  it('end with an error where the registry leads in a circle', async () => {
    linkTo = (path) => `<${path}?n=2>; rel="next"`
    readCursor = () => 0
    const response = await fetch(`${daemon.mirror}/v2/registry.example/org/app/tags/list?n=2`)
    assert.equal(response.status, 503)
    assert.match(await response.text(), /link to the next page leads to the page that it came with/)
  })
})
