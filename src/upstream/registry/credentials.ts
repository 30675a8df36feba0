import { readFile } from 'node:fs/promises'

import { z } from 'zod'

import { DOCKER_HUB, type Repository, canonicalRegistry, repositoryKey } from '../../oci/reference.ts'

/** A user and a password, or what stands for one. */
export interface Credential {
  readonly username: string
  readonly password: string
}

/** Finds the credential for a repository; undefined if there is none. */
export type FindCredential = (repository: Repository) => Credential | undefined

const MAX_FILE_BYTES = 1024 * 1024

const entrySchema = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
})

const configSchema = z.object({
  auths: z.record(z.string(), entrySchema).default({}),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
})

/**
 * Reads the `auths` of a Docker `config.json`. The longest key that is a prefix of the repository wins, as in Podman's and
 * Kubernetes' reading of it. Throws an Error with one sentence for the operator, which never quotes the file.
 */
export async function readCredentials(path: string): Promise<FindCredential> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new Error(`the credentials file ${path} cannot be read: ${(cause as NodeJS.ErrnoException).code}`, { cause })
  }
  const parsed = configSchema.safeParse(text.length > MAX_FILE_BYTES ? undefined : parseJson(text))
  if (!parsed.success) throw new Error(`the credentials file ${path} is not a Docker config.json`)
  if (Object.keys(parsed.data.credHelpers ?? {}).length > 0 || (parsed.data.credsStore ?? '') !== '') {
    throw new Error(
      `the credentials file ${path} names credential helpers, which this version cannot run; put the credentials under "auths"`,
    )
  }
  const byPrefix = new Map<string, Credential>()
  for (const [key, entry] of Object.entries(parsed.data.auths)) {
    if (`${entry.identitytoken ?? ''}${entry.registrytoken ?? ''}` !== '') {
      throw new Error(
        `the credentials file ${path} has a token that this version cannot use, in auths[${JSON.stringify(key)}]; use a password or access token`,
      )
    }
    const credential = credentialOf(entry)
    if (credential === undefined)
      throw new Error(`the credentials file ${path} has an entry that cannot be read: auths[${JSON.stringify(key)}]`)
    byPrefix.set(prefixOf(key), credential)
  }
  return (repository) => {
    for (let key = repositoryKey(repository); key !== ''; key = key.slice(0, Math.max(key.lastIndexOf('/'), 0))) {
      const credential = byPrefix.get(key)
      if (credential !== undefined) return credential
    }
    return undefined
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function credentialOf(entry: z.infer<typeof entrySchema>): Credential | undefined {
  if (entry.username !== undefined && entry.password !== undefined)
    return { username: entry.username, password: entry.password }
  const decoded = Buffer.from(entry.auth ?? '', 'base64').toString('utf8')
  const colon = decoded.indexOf(':')
  return colon <= 0 ? undefined : { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) }
}

/** `https://index.docker.io/v1/` is what `docker login` writes for Docker Hub; others write such paths for other registries. */
function prefixOf(key: string): string {
  const bare = key.replace(/^https?:\/\//, '').replace(/\/+$/, '')
  const slash = bare.indexOf('/')
  const registry = canonicalRegistry(slash < 0 ? bare : bare.slice(0, slash))
  const path = slash < 0 ? '' : bare.slice(slash)
  const isApiPath = /^\/v[12]$/.test(path) && (registry === DOCKER_HUB || bare !== key.replace(/\/+$/, ''))
  return isApiPath ? registry : registry + path
}
