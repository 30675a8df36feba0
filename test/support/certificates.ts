import { execFileSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Files of a certificate and its key, and what is in them. */
export interface IssuedCertificate {
  readonly certFile: string
  readonly keyFile: string
  readonly cert: string
  readonly key: string
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

export const hasOpenssl = succeeds(() => execFileSync('openssl', ['version'], { stdio: 'pipe' }))

/** A certificate authority in a directory of its own. */
export class TestAuthority {
  readonly caFile: string
  readonly #directory: string
  readonly #keyFile: string

  private constructor(directory: string) {
    this.#directory = directory
    this.caFile = join(directory, 'ca.pem')
    this.#keyFile = join(directory, 'ca.key')
  }

  static async create(parent: string, name: string): Promise<TestAuthority> {
    const authority = new TestAuthority(join(parent, name))
    await mkdir(authority.#directory)
    const files = ['-keyout', authority.#keyFile, '-out', authority.caFile]
    openssl(['req', '-x509', ...KEY, ...files, '-days', '2', '-subj', `/CN=${name}`])
    return authority
  }

  /** A certificate for an address, or for a client. */
  async issue(name: string, address = '127.0.0.1'): Promise<IssuedCertificate> {
    const at = (ending: string) => join(this.#directory, `${name}.${ending}`)
    const [certFile, keyFile] = [at('pem'), at('key')]
    openssl(['req', ...KEY, '-keyout', keyFile, '-out', at('csr'), '-subj', `/CN=${name}`])
    await writeFile(at('ext'), `subjectAltName=IP:${address}\n`)
    const signing = ['-CA', this.caFile, '-CAkey', this.#keyFile, '-CAcreateserial', '-extfile', at('ext')]
    openssl(['x509', '-req', '-in', at('csr'), ...signing, '-out', certFile, '-days', '2'])
    const [cert, key] = await Promise.all([certFile, keyFile].map((file) => readFile(file, 'utf8')))
    return { certFile, keyFile, cert: cert ?? '', key: key ?? '' }
  }
}

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' })
}

function succeeds(work: () => unknown): boolean {
  try {
    work()
    return true
  } catch {
    return false
  }
}
