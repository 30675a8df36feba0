import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { ImageFilter } from '../../../src/delivery/access/image-filter.ts'
import { parseImagePattern } from '../../../src/oci/image-pattern.ts'

describe('what --include and --exclude leave to a node', () => {
  const filter = (include: string[], exclude: string[] = []) =>
    new ImageFilter({ include: include.map(parseImagePattern), exclude: exclude.map(parseImagePattern) })
  const app = { registry: 'ghcr.io', name: 'team/app' }

  it('is all without them, else what is included and not excluded, and the flag is named', () => {
    assert.equal(filter([]).isOpen, true)
    assert.equal(filter([]).whyLeftOut({ ...app, tag: '1' }), undefined)
    assert.equal(filter(['ghcr.io/**']).isOpen, false)
    assert.equal(filter(['ghcr.io/**']).whyLeftOut(app), undefined)
    assert.equal(filter(['docker.io/**']).whyLeftOut(app), '--include')
    assert.equal(filter([], ['ghcr.io/team/*']).whyLeftOut(app), '--exclude ghcr.io/team/*')
    assert.equal(filter(['ghcr.io/**'], ['ghcr.io/team/*']).whyLeftOut(app), '--exclude ghcr.io/team/*')
  })

  it('concerns tags alone where a pattern has one: what is asked for by digest may belong to another tag', () => {
    const included = filter(['ghcr.io/**:v*'])
    assert.equal(included.whyLeftOut(app), undefined)
    assert.equal(included.whyLeftOut({ ...app, tag: 'v1' }), undefined)
    assert.equal(included.whyLeftOut({ ...app, tag: 'main' }), '--include')
    const excluded = filter([], ['**:latest'])
    assert.equal(excluded.whyLeftOut(app), undefined)
    assert.equal(excluded.whyLeftOut({ ...app, tag: 'v1' }), undefined)
    assert.equal(excluded.whyLeftOut({ ...app, tag: 'latest' }), '--exclude **:latest')
  })
})
