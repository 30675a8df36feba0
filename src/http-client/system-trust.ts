import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'

import { type Log, errorText } from '../telemetry/log.ts'
import { withDeadline } from '../time/deadline.ts'
import { second } from '../time/units.ts'
import { bodyOf, certificatesIn, isCertificate, readPem } from './pem.ts'

/** What this process trusts besides the authorities that Node brings. */
export interface SystemAuthorities {
  /** Files and directories in which there were certificates. */
  readonly sources: readonly string[]
  /** How many of them Node does not bring. */
  readonly added: number
  /** Sentences about what the environment names and cannot be read. */
  readonly problems: readonly string[]
}

type Environment = Readonly<Record<string, string | undefined>>

/** Where Go's crypto/x509 looks on Linux, and so containerd: the first of the files that is there, and all directories. */
const FILES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
]
const DIRECTORIES = ['/etc/ssl/certs', '/etc/pki/tls/certs']
/** A bundle has 0.2 MB. */
const MAX_BYTES = 8 * 1024 * 1024
const MAX_ENTRIES = 2000
const MAX_CERTIFICATES = 5000
const TIMEOUT = 15 * second

/**
 * Makes this process trust the certificate authorities of the machine, on first use and once. Not by Node's own `system` list: that blocks the
 * process for three times as long, and knows fewer places.
 */
export class SystemTrust {
  readonly #environment: Environment
  readonly #log: Pick<Log, 'warn'>
  readonly #root: string
  #loading: Promise<SystemAuthorities> | undefined

  /** `root`: the directory of the system's own files and directories, not of those that the environment names; `/` if absent. */
  constructor(environment: Environment, log: Pick<Log, 'warn'>, { root = '/' }: { root?: string } = {}) {
    this.#environment = environment
    this.#log = log
    this.#root = root
  }

  /** What was found; undefined before the first use. */
  get loaded(): Promise<SystemAuthorities> | undefined {
    return this.#loading
  }

  /** Never rejects: without them Node's own authorities count. */
  load(): Promise<SystemAuthorities> {
    this.#loading ??= this.#load()
    return this.#loading
  }

  async #load(): Promise<SystemAuthorities> {
    let read: Read
    try {
      const { signal } = new AbortController()
      read = await withDeadline(TIMEOUT, 'reading them', signal, (limit) =>
        readAll(this.#environment, this.#root, limit),
      )
    } catch (error) {
      read = {
        sources: [],
        certificates: [],
        problems: [`this system's certificates are not used: ${errorText(error)}`],
      }
    }
    for (const problem of read.problems) this.#log.warn({}, problem)
    return { sources: read.sources, problems: read.problems, added: trust(read.certificates) }
  }
}

interface Read {
  readonly sources: readonly string[]
  readonly certificates: readonly string[]
  readonly problems: readonly string[]
}

async function readAll(environment: Environment, root: string, signal: AbortSignal): Promise<Read> {
  const { SSL_CERT_FILE: file = '', SSL_CERT_DIR: directories = '' } = environment
  const own = (paths: readonly string[]) => paths.map((path) => join(root, path))
  const found = new Map<string, readonly string[]>()
  const problems: string[] = []
  for (const path of file === '' ? own(FILES) : [file]) {
    try {
      found.set(path, certificatesIn(await readPem(path, MAX_BYTES, { signal })))
      break
    } catch (error) {
      signal.throwIfAborted()
      if (file !== '') problems.push(`SSL_CERT_FILE names ${file}, which cannot be read: ${codeOf(error)}`)
    }
  }
  // Where there is a bundle, links in its directory lead to the files that it was made of: a hundred reads for nothing.
  const options = { signal, known: new Set(found.keys()), followsLinks: directories !== '' || found.size === 0 }
  for (const directory of directories === ''
    ? own(DIRECTORIES)
    : directories.split(':').filter((path) => path !== '')) {
    try {
      found.set(directory, await readDirectory(directory, options))
    } catch (error) {
      signal.throwIfAborted()
      if (directories !== '') problems.push(`SSL_CERT_DIR names ${directory}, which cannot be read: ${codeOf(error)}`)
    }
  }
  const used = [...found].filter(([, certificates]) => certificates.length > 0)
  return {
    sources: used.map(([path]) => path),
    certificates: used.flatMap(([, certificates]) => certificates).slice(0, MAX_CERTIFICATES),
    problems,
  }
}

async function readDirectory(
  directory: string,
  { signal, known, followsLinks }: { signal: AbortSignal; known: ReadonlySet<string>; followsLinks: boolean },
): Promise<readonly string[]> {
  const entries = (await readdir(directory, { withFileTypes: true })).slice(0, MAX_ENTRIES)
  const found: string[] = []
  for (const entry of entries) {
    const path = join(directory, entry.name)
    if (entry.isDirectory() || known.has(path)) continue
    // A link within the directory is a second name of a file in it, which OpenSSL looks for.
    if (entry.isSymbolicLink() && (!followsLinks || !(await readlink(path)).includes('/'))) continue
    found.push(...certificatesIn(await readPem(path, MAX_BYTES, { signal }).catch(() => '')))
    signal.throwIfAborted()
  }
  return found
}

/** Returns how many of them are new. */
function trust(certificates: readonly string[]): number {
  const known = getCACertificates('default')
  const bodies = new Set(known.map(bodyOf))
  const added = certificates.filter((pem) => {
    const body = bodyOf(pem)
    // Node would take none of the list if one were broken.
    return !bodies.has(body) && bodies.add(body) && isCertificate(pem)
  })
  // All connections without authorities of their own then share one store: 3 MB less for each than with a list of their own.
  if (added.length > 0) setDefaultCACertificates([...known, ...added])
  return added.length
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? errorText(error)
}
