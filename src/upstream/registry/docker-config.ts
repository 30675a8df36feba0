import { z } from 'zod'

import { DOCKER_HUB, type Repository, canonicalRegistry, repositoryKey } from '../../oci/reference.ts'
import { decodeBasic } from '../basic-credential.ts'
import type { PullCredential } from '../upstream.ts'
import { type Credential, isBearerToken } from './credential.ts'
import { isHostPattern, matchesHost } from './host-pattern.ts'

/** Where the credential for some repositories is: in the file itself, or with a helper that is asked for `server`. */
export type CredentialPlace =
  | { readonly type: 'file'; readonly credential: Credential }
  | { readonly type: 'helper'; readonly helper: string; readonly server: string }

/** A place whose key has wildcards in its host. */
interface PatternPlace {
  readonly host: string
  /** The beginning of a repository's name; empty for all. */
  readonly path: string
  readonly placeFor: (registry: string) => CredentialPlace
}

/** The credentials of a Docker `config.json`. */
export interface DockerConfig {
  /** undefined: there is none. */
  placeOf(repository: Repository): CredentialPlace | undefined
}

/** What `docker login` calls Docker Hub, and so what helpers keep its credentials under. */
const HUB_SERVER = 'https://index.docker.io/v1/'
const HELPER_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/i

const entrySchema = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
})
type Entry = z.infer<typeof entrySchema>

const configSchema = z.object({
  auths: z.record(z.string(), entrySchema).default({}),
  credHelpers: z.record(z.string(), z.string()).default({}),
  credsStore: z.string().default(''),
})

/**
 * Reads a Docker `config.json`. The longest key that is a prefix of the repository wins, as in Podman's and Kubernetes' reading of
 * it; of one key in both places the helper does; `credsStore` has what no key names. Keys with wildcards in the host (`*.example.com`, as the
 * kubelet has them) come after all others, in the kubelet's order: that of their text, backwards. Throws an Error that says what is wrong
 * with the file in words that go after its name, and never quotes more of it than a key.
 */
export function parseDockerConfig(text: string): DockerConfig {
  const parsed = configSchema.safeParse(parseJson(text))
  if (!parsed.success) throw new Error('is not a Docker config.json')
  const { auths, credHelpers, credsStore } = parsed.data
  const places = new Map<string, CredentialPlace>()
  const patterns = new Map<string, PatternPlace>()
  const add = (prefix: string, placeFor: PatternPlace['placeFor']) => {
    const [host = '', ...path] = prefix.split('/')
    if (isHostPattern(host)) patterns.set(prefix, { host, path: path.join('/'), placeFor })
    else places.set(prefix, placeFor(prefix))
  }
  for (const [key, entry] of Object.entries(auths)) {
    // What `docker login` leaves behind when the credential itself is with a helper.
    if (Object.values(entry).every((value) => value === '')) continue
    const credential = credentialOf(entry)
    if (credential === undefined) throw new Error(`has an entry that cannot be read: auths[${JSON.stringify(key)}]`)
    add(prefixOf(key), () => ({ type: 'file', credential }))
  }
  for (const [key, name] of Object.entries(credHelpers)) {
    const where = `credHelpers[${JSON.stringify(key)}]`
    helperPlace(name, '', where)
    add(prefixOf(key), (server) => helperPlace(name, server, where))
  }
  if (credsStore !== '') helperPlace(credsStore, '', 'credsStore')
  const inOrder = [...patterns].toSorted(([a], [b]) => (a < b ? 1 : -1)).map(([, pattern]) => pattern)
  return {
    placeOf: (repository) => {
      for (let key = repositoryKey(repository); key !== ''; key = key.slice(0, Math.max(key.lastIndexOf('/'), 0))) {
        const place = places.get(key)
        if (place !== undefined) return place
      }
      const pattern = inOrder.find(
        ({ host, path }) => matchesHost(host, repository.registry) && isBelow(repository, path),
      )
      if (pattern !== undefined) return pattern.placeFor(repository.registry)
      return credsStore === '' ? undefined : helperPlace(credsStore, repository.registry, 'credsStore')
    },
  }
}

function isBelow({ name }: Repository, path: string): boolean {
  return path === '' || name === path || name.startsWith(`${path}/`)
}

function helperPlace(helper: string, prefix: string, where: string): CredentialPlace {
  if (!HELPER_NAME.test(helper)) throw new Error(`has a name of a helper that cannot be one: ${where}`)
  return { type: 'helper', helper, server: prefix === DOCKER_HUB ? HUB_SERVER : prefix }
}

function credentialOf(entry: Entry): Credential | undefined {
  const { registrytoken = '', identitytoken = '' } = entry
  if (registrytoken !== '') return isBearerToken(registrytoken) ? { registryToken: registrytoken } : undefined
  const login = loginOf(entry)
  if (identitytoken !== '') return { identityToken: identitytoken, username: login?.username ?? '' }
  return login
}

function loginOf({ auth = '', username, password }: Entry): PullCredential | undefined {
  if (username !== undefined && password !== undefined)
    return `${username}${password}` === '' ? undefined : { username, password }
  const login = decodeBasic(auth)
  // Old versions of Docker filled up the text with NUL.
  return login && { ...login, password: login.password.replaceAll(/^\0+|\0+$/g, '') }
}

/** `https://index.docker.io/v1/` is what `docker login` writes for Docker Hub; others write such paths for other registries. */
function prefixOf(key: string): string {
  const trimmed = withoutTrailingSlashes(key)
  const bare = trimmed.replace(/^https?:\/\//, '')
  const slash = bare.indexOf('/')
  const registry = canonicalRegistry(slash < 0 ? bare : bare.slice(0, slash))
  const path = slash < 0 ? '' : bare.slice(slash)
  const isApiPath = /^\/v[12]$/.test(path) && (registry === DOCKER_HUB || bare !== trimmed)
  return isApiPath ? registry : registry + path
}

/** Linear, which `/\/+$/` is not: it scans a run of slashes again from each slash. */
function withoutTrailingSlashes(text: string): string {
  let end = text.length
  while (text[end - 1] === '/') end -= 1
  return text.slice(0, end)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
