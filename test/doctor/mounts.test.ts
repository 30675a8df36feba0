import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { isMounted, isSameDirectory, readMounts } from '../../src/doctor/mounts.ts'

describe('what is mounted here', () => {
  let directory: string
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-mounts-'))
    await mkdir(join(directory, 'args/certs.d'), { recursive: true })
    await symlink(join(directory, 'args'), join(directory, 'current'))
  })
  after(() => rm(directory, { recursive: true, force: true }))

  it('is told from the root of the container, for what is not there too', async () => {
    assert.equal(await isMounted('/proc/none/of/this'), true)
    assert.equal(await isMounted('/none-of-this-is-here'), false)
    await symlink('/proc/none/of/this', join(directory, 'dangling'))
    assert.equal(await isMounted(join(directory, 'dangling/below')), true)
    await symlink('/none-of-this-is-here', join(directory, 'unmounted'))
    assert.equal(await isMounted(join(directory, 'unmounted/below')), false)
  })

  it('is one directory under several names', async () => {
    const own = join(directory, 'args/certs.d')
    for (const other of [own, `${own}/`, join(directory, 'current/certs.d')])
      assert.equal(await isSameDirectory(own, other), true, other)
    for (const other of [join(directory, 'args'), '/certs.d', '/var/snap/microk8s/1/args/certs.d'])
      assert.equal(await isSameDirectory(own, other), false, other)
  })

  it('is one directory if a mount says where it comes from', async () => {
    // As a kubelet mounts /var/snap/microk8s/current/args/certs.d, a link, of a file system for /var.
    const mounts = async () => [
      { root: '/', point: '/' },
      { root: '/snap/microk8s/6364/args', point: join(directory, 'args') },
    ]
    const own = join(directory, 'args/certs.d')
    assert.equal(await isSameDirectory(own, '/var/snap/microk8s/6364/args/certs.d', mounts), true)
    assert.equal(await isSameDirectory(own, '/var/snap/microk8s/6363/args/certs.d', mounts), false)
    const whole = async () => [{ root: '/certs.d', point: own }]
    assert.equal(await isSameDirectory(own, '/opt/other/certs.d', whole), false)
    assert.ok((await readMounts()).some(({ point }) => point === '/proc'))
  })
})
