import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A self-signed certificate in a directory of its own, which goes with it. */
export interface TestCertificate extends AsyncDisposable {
  /** PEM, also the authority to trust. */
  readonly certFile: string
  readonly tls: { readonly key: string; readonly cert: string }
}

/** `names` as openssl wants them: `IP:127.0.0.1`, `DNS:registry.test`. undefined without openssl. */
export async function makeTestCertificate(names: readonly string[]): Promise<TestCertificate | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'nabo-certificate-'))
  const remove = () => rm(directory, { recursive: true, force: true })
  const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
  const subject = ['-subj', '/CN=test', '-addext', `subjectAltName=${names.join(',')}`]
  try {
    execFileSync('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '2', ...subject], { stdio: 'pipe' })
  } catch {
    await remove()
    return undefined
  }
  const tls = { key: await readFile(keyFile, 'utf8'), cert: await readFile(certFile, 'utf8') }
  return { certFile, tls, [Symbol.asyncDispose]: remove }
}
