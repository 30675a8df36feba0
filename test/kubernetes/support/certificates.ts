import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { execute } from '../../support/netns/commands.ts'

export interface Certificate {
  readonly key: string
  readonly certificate: string
}

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
const DAYS = ['-days', '30']

/** A certificate authority whose files are in a directory of its own. All paths are of PEM files. */
export class Authority {
  readonly certificate: string
  readonly key: string
  readonly #directory: string

  private constructor(directory: string) {
    this.#directory = directory
    this.certificate = join(directory, 'ca.crt')
    this.key = join(directory, 'ca.key')
  }

  static async create(directory: string, name: string): Promise<Authority> {
    await mkdir(directory, { recursive: true })
    const authority = new Authority(directory)
    const files = ['-keyout', authority.key, '-out', authority.certificate]
    await openssl('req', '-x509', ...EC, ...files, ...DAYS, '-subj', `/CN=${name}`)
    return authority
  }

  /**
   * Issues a certificate for a server and a client. `subject` is in the form of openssl, `/O=system:masters/CN=admin`; `names` are the
   * alternative names, `DNS:kubernetes`, `IP:10.96.0.1`.
   */
  async issue(file: string, subject: string, names: readonly string[] = []): Promise<Certificate> {
    const at = (suffix: string) => join(this.#directory, `${file}.${suffix}`)
    await openssl('req', ...EC, '-keyout', at('key'), '-out', at('csr'), '-subj', subject)
    const extensions = ['keyUsage=digitalSignature,keyEncipherment', 'extendedKeyUsage=serverAuth,clientAuth']
    if (names.length > 0) extensions.push(`subjectAltName=${names.join(',')}`)
    await writeFile(at('ext'), extensions.join('\n'))
    // Not from a file: several may be issued at a time.
    const serial = `0x${randomBytes(8).toString('hex')}`
    const signer = ['-CA', this.certificate, '-CAkey', this.key, '-set_serial', serial]
    await openssl('x509', '-req', '-in', at('csr'), ...signer, ...DAYS, '-out', at('crt'), '-extfile', at('ext'))
    return { key: at('key'), certificate: at('crt') }
  }

  /** An RSA key for the tokens of service accounts. */
  async tokenKey(): Promise<string> {
    const file = join(this.#directory, 'tokens.key')
    await openssl('genrsa', '-out', file, '2048')
    return file
  }
}

async function openssl(...args: readonly string[]): Promise<void> {
  const { code, stderr } = await execute('openssl', args)
  if (code !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`)
}
