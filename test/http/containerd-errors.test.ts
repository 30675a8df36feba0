import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { NotShownError } from '../../src/delivery/access/client-access.ts'
import { forClient } from '../../src/http/containerd-errors.ts'
import { OciError } from '../../src/oci/errors.ts'

describe('a refusal', () => {
  const missing = new OciError('MANIFEST_UNKNOWN', { message: 'it does not exist' })
  const failed = new OciError('MANIFEST_UNKNOWN', {
    message: 'no node has it',
    cause: new Error('the quota is used up'),
  })
  const hidden = new OciError('MANIFEST_UNKNOWN', { message: 'denied', cause: new NotShownError('denied') })
  const statusFor = (error: OciError, method: string, userAgent: string | undefined) =>
    (forClient(error, { method, userAgent }) as OciError).status

  it('has a status other than 404 where containerd shows its reason then', () => {
    for (const [method, userAgent, status] of [
      ['HEAD', 'containerd/1.6.20~ds1', 404],
      ['GET', 'containerd/1.6.20~ds1', 503],
      ['GET', 'containerd/v1.7.24', 503],
      ['HEAD', 'containerd/v2.1.9', 503],
      ['GET', 'containerd/v2.1.9', 503],
      ['GET', 'docker/27.0', 404],
      ['GET', undefined, 404],
    ] as const)
      assert.equal(statusFor(failed, method, userAgent), status, `${method} ${userAgent}`)
  })

  it('has the code with which a registry refused credentials, in a challenge that containerd 2 reports', () => {
    const cause = new NotShownError('denied', { tokenError: 'insufficient_scope' })
    const refused = new OciError('MANIFEST_UNKNOWN', { message: 'denied', cause })
    const { status, headers } = forClient(refused, { method: 'HEAD', userAgent: 'containerd/v2.1.9' }) as OciError
    assert.deepEqual([status, headers], [401, { 'www-authenticate': 'Bearer error="insufficient_scope"' }])
    for (const userAgent of ['containerd/1.7.24', 'containerd/2.1.9'])
      assert.equal(statusFor(refused, 'GET', userAgent), 403)
    assert.equal(statusFor(refused, 'HEAD', 'containerd/1.7.24'), 404)
  })

  it('is a 403 for what the registry does not show, and stays a 404 for what does not exist', () => {
    assert.equal(statusFor(hidden, 'GET', 'containerd/1.7.24'), 403)
    for (const userAgent of ['containerd/1.7.24', 'containerd/2.1.9'])
      assert.equal(statusFor(missing, 'GET', userAgent), 404)
  })
})
