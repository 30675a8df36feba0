import { createSecureContext } from 'node:tls'

import { certificatesIn, isCertificate, readPem } from '../../../http-client/pem.ts'
import type { ClientFiles, HostTls } from './tls-files.ts'

/** The certificates that the files of a registry hold. */
export interface Material {
  /** PEM. */
  readonly authorities: readonly string[]
  readonly clients: readonly ClientCertificate[]
  /** Hosts whose certificates are not checked. */
  readonly unverified: readonly { readonly host: string; readonly from: string }[]
  /** The files of the authorities. */
  readonly files: readonly string[]
  /** A sentence for each file that cannot be used. It never quotes the file. */
  readonly problems: readonly string[]
}

export interface ClientCertificate {
  /** PEM. The key is secret. */
  readonly cert: string
  readonly key: string
  readonly file: string
  /** It is shown to hosts in the domains of these. */
  readonly urls: readonly URL[]
}

export const NO_MATERIAL: Material = { authorities: [], clients: [], unverified: [], files: [], problems: [] }

const MAX_BYTES = 1024 * 1024
/** Files of one registry. */
const MAX_FILES = 50

/** Reads the files that are there, and says what is wrong with the others. Rejects with the signal's reason alone. */
export async function loadMaterial(hosts: readonly HostTls[], options: { signal: AbortSignal }): Promise<Material> {
  const problems: string[] = []
  const attempt = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work()
    } catch (error) {
      options.signal.throwIfAborted()
      problems.push(`${what}: ${reasonOf(error)}`)
      return undefined
    }
  }
  const authorities: { file: string; pems: readonly string[] }[] = []
  const clients: ClientCertificate[] = []
  for (const { urls, ca, client, from } of hosts) {
    for (const file of ca.slice(0, MAX_FILES)) {
      const what = `the certificate authority ${file} of ${from} cannot be used`
      const pems = await attempt(what, () => readAuthorities(file, options))
      if (pems !== undefined) authorities.push({ file, pems })
    }
    for (const files of client.slice(0, MAX_FILES)) {
      const what = `the client certificate ${files.cert} of ${from} cannot be used`
      const read = await attempt(what, () => readClient(files, options))
      if (read !== undefined) clients.push({ ...read, file: files.cert, urls })
    }
  }
  return {
    authorities: [...new Set(authorities.flatMap(({ pems }) => pems))],
    clients,
    unverified: hosts.flatMap(({ urls, skipVerify, from }) =>
      skipVerify ? urls.map(({ host }) => ({ host, from })) : [],
    ),
    files: [...new Set(authorities.map(({ file }) => file))],
    problems,
  }
}

async function readAuthorities(file: string, options: { signal: AbortSignal }): Promise<readonly string[]> {
  const pems = certificatesIn(await readPem(file, MAX_BYTES, options)).filter(isCertificate)
  if (pems.length === 0) throw new Error('it is not PEM')
  return pems
}

async function readClient({ cert, key }: ClientFiles, options: { signal: AbortSignal }) {
  const read = { cert: await readPem(cert, MAX_BYTES, options), key: await readPem(key, MAX_BYTES, options) }
  if (!certificatesIn(read.cert).some(isCertificate)) throw new Error('it is not PEM')
  // Throws for a key that is none, that has a passphrase, or that belongs to another certificate.
  createSecureContext(read)
  return read
}

/** OpenSSL's and the system's messages do not quote files. */
function reasonOf(error: unknown): string {
  const { code, reason, message } = error as NodeJS.ErrnoException & { reason?: string }
  return reason ?? code ?? message
}
