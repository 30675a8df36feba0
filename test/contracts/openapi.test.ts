import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'

import { ADMIN_API } from '../../src/contracts/admin-api.ts'
import { type OpenApiDocument, openApiDocument } from '../../src/contracts/openapi.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { makeImage } from '../support/image-maker.ts'
import { fetchOver } from '../support/socket-fetch.ts'

interface Media {
  readonly schema: object
}

/** The schema in which objects have the named properties and no others: an answer that says more is not described. */
function closed(schema: unknown): object {
  if (Array.isArray(schema)) return schema.map(closed)
  if (typeof schema !== 'object' || schema === null) return schema as never
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]))
  return 'properties' in schema && !('additionalProperties' in schema) ? { ...copy, additionalProperties: false } : copy
}

describe('the OpenAPI document of the admin API', () => {
  let hub: Hub
  let daemon: TestDaemon
  let document: OpenApiDocument
  const ajv = new Ajv2020({ strict: false, formats: { 'date-time': true, uuid: true } })

  before(async () => {
    hub = await createHub({ quota: { anonymous: 100 } })
    await hub.publish('library/app', '1', makeImage({ layers: [{ size: 30_000, seed: 'openapi' }], multiArch: true }))
    daemon = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`, '--zone', 'a'])
    document = (await (await fetch(`${daemon.admin}/api/v1/openapi.json`)).json()) as OpenApiDocument
    // The quota, the transfers and the contents are described too.
    assert.equal((await fetch(`${daemon.mirror}/v2/library/app/manifests/1`)).status, 200)
  })
  after(async () => {
    await daemon.stop()
    await hub.close()
  })

  /** Asserts that an answer is one that the document describes. */
  function assertDescribed(method: 'get' | 'post', path: string, status: number, type: string, body: string): void {
    const operation = document.paths[path]?.[method] as {
      responses: Record<string, { content: Record<string, Media> }>
    }
    const media = operation.responses[status]?.content[type]
    assert.ok(media, `${method} ${path} does not describe ${status} ${type}: ${body}`)
    const validate = ajv.compile(closed(media.schema))
    for (const text of type === 'application/x-ndjson' ? body.trim().split('\n') : [body])
      assert.ok(validate(JSON.parse(text)), `${path}: ${text}\n${JSON.stringify(validate.errors)}`)
  }

  async function ask(path: string, init: Parameters<typeof fetchOver>[2] = {}) {
    const response = await fetchOver(daemon.adminSocket, path, init)
    const type = response.headers.get('content-type')?.split(';')[0] ?? ''
    return { status: response.status, type, body: await response.text() }
  }

  it('is valid OpenAPI 3.1', async () => {
    const { valid, errors } = await new Validator().validate(structuredClone(document))
    assert.ok(valid, JSON.stringify(errors))
    assert.deepEqual(JSON.parse(JSON.stringify(openApiDocument())), document)
  })

  it('names every call', () => {
    assert.deepEqual(
      Object.keys(document.paths).sort(),
      Object.values(ADMIN_API)
        .map(({ path }) => path)
        .sort(),
    )
  })

  it('describes what the daemon answers', async () => {
    const paths = ['/livez', '/readyz', '/api/v1/status', '/api/v1/quota', '/api/v1/peers', '/api/v1/checks']
    for (const path of paths) {
      const { status, type, body } = await ask(path)
      assert.equal(status, 200, body)
      assertDescribed('get', path, status, type, body)
    }
    const quotas = JSON.parse((await ask('/api/v1/quota')).body) as { quotas: unknown[] }
    assert.equal(quotas.quotas.length, 1)
    for (const reference of ['app:1', 'app:1&platform=linux/arm64']) {
      const { status, type, body } = await ask(`/api/v1/find?reference=${reference}`)
      assert.equal(status, 200, body)
      assertDescribed('get', '/api/v1/find', status, type, body)
    }
  })

  it('describes the lines of a warm', async () => {
    const headers = { 'content-type': 'application/json' }
    const { status, type, body } = await ask('/api/v1/warm', { method: 'POST', headers, body: '{"reference":"app:1"}' })
    assert.equal(status, 200, body)
    assertDescribed('post', '/api/v1/warm', status, type, body)
    assert.match(body, /"type":"summary"/)
  })

  it('describes refusals', async () => {
    for (const [path, expected] of [
      ['/api/v1/find?reference=NOT+AN+IMAGE', 400],
      ['/api/v1/find?reference=none:1', 404],
    ] as const) {
      const { status, type, body } = await ask(path)
      assert.equal(status, expected, body)
      assertDescribed('get', '/api/v1/find', status, type, body)
    }
    for (const body of [
      '',
      '[]',
      '{"reference":7}',
      '{"reference":"app:1","zones":[]}',
      '{"reference":"NOT AN IMAGE"}',
    ]) {
      const { status, type, body: said } = await ask('/api/v1/warm', { method: 'POST', body })
      assert.equal(status, 400, said)
      assertDescribed('post', '/api/v1/warm', status, type, said)
    }
  })
})
