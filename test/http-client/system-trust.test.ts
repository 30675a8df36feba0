import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'

import { SystemTrust } from '../../src/http-client/system-trust.ts'
import { TestAuthority, hasOpenssl } from '../support/certificates.ts'

/** Go's `certFiles` and `certDirectories` for Linux: https://github.com/golang/go/blob/master/src/crypto/x509/root_linux.go */
const FILES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
]
const DIRECTORIES = ['/etc/ssl/certs', '/etc/pki/tls/certs']

describe("the system's certificate authorities", { skip: hasOpenssl ? false : 'no openssl' }, () => {
  let directory: string
  let root: string
  let count = 0

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-trust-'))
  })
  after(() => rm(directory, { recursive: true, force: true }))
  beforeEach(() => {
    root = join(directory, `root-${(count += 1)}`)
  })

  /** An authority that this process does not trust yet, at these paths. */
  const put = async (...paths: readonly string[]) => {
    const { caFile } = await TestAuthority.create(directory, `company-${(count += 1)}`)
    for (const path of paths) {
      await mkdir(dirname(join(root, path)), { recursive: true })
      await cp(caFile, join(root, path))
    }
    return caFile
  }
  const load = async (environment: Readonly<Record<string, string>> = {}) => {
    const { sources, added, problems } = await new SystemTrust(environment, { warn: () => {} }, { root }).load()
    return { sources: sources.map((path) => path.replace(root, '')), added, problems }
  }

  it('come from each of the files in which Go looks', async () => {
    for (const file of FILES) {
      root = join(directory, `root-${(count += 1)}`)
      await put(file)
      assert.deepEqual(await load(), { sources: [file], added: 1, problems: [] })
    }
  })

  it('come from the first of the files alone', async () => {
    // The last three are in none of the directories.
    await put(FILES[2] ?? '')
    await put(FILES[4] ?? '')
    await put(FILES[5] ?? '')
    assert.deepEqual(await load(), { sources: [FILES[2]], added: 1, problems: [] })
  })

  it('come from the files of both directories, beside a file', async () => {
    for (const path of [FILES[5], ...DIRECTORIES.map((name) => `${name}/company.crt`)]) await put(path ?? '')
    assert.deepEqual(await load(), { sources: [FILES[5], ...DIRECTORIES], added: 3, problems: [] })
  })

  it('come from no links of a directory where there is a bundle: they lead to what it was made of', async () => {
    const linked = await put()
    await put(FILES[0] ?? '')
    await put('/etc/ssl/certs/company.crt')
    await symlink(linked, join(root, '/etc/ssl/certs/linked.pem'))
    assert.deepEqual(await load(), { sources: [FILES[0], '/etc/ssl/certs'], added: 2, problems: [] })
  })

  it('come from links of a directory where there is no bundle, but not from second names within it', async () => {
    const linked = await put()
    await mkdir(join(root, '/etc/ssl/certs/below'), { recursive: true })
    await put('/etc/ssl/certs/below/other.pem')
    await writeFile(join(root, '/etc/ssl/certs/README'), 'no certificate')
    await symlink(linked, join(root, '/etc/ssl/certs/linked.pem'))
    await symlink('linked.pem', join(root, '/etc/ssl/certs/4a6481c9.0'))
    await symlink('/nowhere', join(root, '/etc/ssl/certs/broken.pem'))
    assert.deepEqual(await load(), { sources: ['/etc/ssl/certs'], added: 1, problems: [] })
  })

  it('come from what the environment names, in the place of the files or of the directories', async () => {
    await put(FILES[0] ?? '')
    const kept = '/etc/pki/tls/certs/company.crt'
    await put(kept)
    const named = await put()
    const byFile = await load({ SSL_CERT_FILE: named })
    // The directory of the bundle is read: the bundle is an ordinary file there.
    assert.deepEqual(byFile, { sources: [named, '/etc/ssl/certs', '/etc/pki/tls/certs'], added: 3, problems: [] })
    const store = join(directory, `store-${(count += 1)}`)
    await mkdir(store)
    await symlink(await put(), join(store, 'linked.pem'))
    const byDirectory = await load({ SSL_CERT_DIR: store })
    assert.deepEqual(byDirectory, { sources: [FILES[0], store], added: 1, problems: [] })
  })

  it('that are nowhere are none, and no problem', async () => {
    assert.deepEqual(await load(), { sources: [], added: 0, problems: [] })
  })
})
