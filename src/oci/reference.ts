import { type Digest, parseDigest } from './digest.ts'

/** A repository on a registry: `{registry: 'docker.io', name: 'library/nginx'}`. Both are lower case and well formed. */
export interface Repository {
  readonly registry: string
  readonly name: string
}

/** A tag of a repository. */
export interface TagReference extends Repository {
  readonly tag: string
}

/** What an image name may say: a repository and a tag, a digest, or both. */
export interface ImageReference extends Repository {
  readonly tag?: string
  readonly digest?: Digest
}

// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/
const HOST =
  /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/

const MAX_NAME_LENGTH = 255

/** Docker Hub's name in references; its API lives on another host. */
export const DOCKER_HUB = 'docker.io'
const HUB_ALIASES = new Set(['registry-1.docker.io', 'index.docker.io', 'registry.hub.docker.com'])

export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_NAME_LENGTH && NAME.test(text)
}

export function isTag(text: string): boolean {
  return TAG.test(text)
}

/** True for a registry's `host` or `host:port`, which a URL can name as well. */
export function isRegistry(text: string): boolean {
  return text.length <= MAX_NAME_LENGTH && HOST.test(text) && URL.canParse(`https://${text}`)
}

/** The rule all clients share: a first component is a host if it has a dot or a colon, or is `localhost`. */
export function looksLikeRegistry(component: string): boolean {
  return (component.includes('.') || component.includes(':') || component === 'localhost') && isRegistry(component)
}

/**
 * One registry, one name: Docker Hub's aliases become `docker.io`, letters lower case, IP addresses have their shortest form, and the port is
 * left out if it is the default one. Else a client could go around a flag that names the registry. A text that is no registry is lower case.
 */
export function canonicalRegistry(text: string): string {
  const lower = text.toLowerCase()
  const url = isRegistry(lower) ? URL.parse(`https://${lower}`) : null
  if (url === null) return lower
  const host = speaksPlainHttp(url.hostname) ? new URL(`http://${lower}`).host : url.host
  return HUB_ALIASES.has(host) ? DOCKER_HUB : host
}

/** Registries on this machine, with or without a port, speak plain HTTP, as every client assumes. */
export function speaksPlainHttp(registry: string): boolean {
  return /^(?:localhost|127\.[\d.]+|\[::1\])(?::\d+)?$/.test(registry)
}

/** Docker Hub keeps one-component names under `library/`. */
export function canonicalName(registry: string, name: string): string {
  return registry === DOCKER_HUB && !name.includes('/') ? `library/${name}` : name
}

/** `docker.io/library/nginx`: the form of containerd's image names, and of map keys. */
export function repositoryKey(repository: Repository): string {
  return `${repository.registry}/${repository.name}`
}

/** `docker.io/library/nginx:latest`. */
export function tagKey(reference: TagReference): string {
  return `${repositoryKey(reference)}:${reference.tag}`
}

/** Whether a registry's `host[:port]` is the mirror itself: then the name after it says which registry is meant. */
export type IsMirror = (registry: string) => boolean

const NO_MIRROR: IsMirror = () => false

/**
 * Reads `ghcr.io/org/app` or `library/nginx`: a first component that looks like a host names the registry, else it is Docker Hub.
 * That of the mirror itself says nothing, so `127.0.0.1:7950/ghcr.io/org/app` is read as what follows. undefined if it is no name.
 */
export function parseRepositoryPath(text: string, isMirror = NO_MIRROR): Repository | undefined {
  let path = text
  for (;;) {
    const slash = path.indexOf('/')
    const first = slash < 0 ? '' : path.slice(0, slash).toLowerCase()
    const named = looksLikeRegistry(first)
    const rest = named ? path.slice(slash + 1) : path
    const registry = named ? canonicalRegistry(first) : DOCKER_HUB
    // As it is written: the mirror speaks plain HTTP on any port.
    if (!named || !isMirror(first)) {
      const name = canonicalName(registry, rest)
      return isRepositoryName(name) ? { registry, name } : undefined
    }
    path = rest
  }
}

/**
 * Reads an image name as people and containerd write it: `nginx`, `ghcr.io/org/app:1`, `docker.io/library/nginx:1@sha256:…`.
 * undefined if it is not one; containerd accepts any string as an image's name, so callers meet such names.
 */
export function parseImageReference(text: string, isMirror = NO_MIRROR): ImageReference | undefined {
  const at = text.indexOf('@')
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1))
  if (at >= 0 && digest === undefined) return undefined
  let rest = at < 0 ? text : text.slice(0, at)

  const colon = rest.lastIndexOf(':')
  let tag: string | undefined
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1)
    rest = rest.slice(0, colon)
    if (!isTag(tag)) return undefined
  }

  const repository = parseRepositoryPath(rest, isMirror)
  if (repository === undefined) return undefined
  return { ...repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) }
}

/** Reads `registry/name` as {@link repositoryKey} writes it, or once wrote it. */
export function parseRepositoryKey(text: string): Repository | undefined {
  const slash = text.indexOf('/')
  const given = text.slice(0, Math.max(slash, 0))
  const registry = canonicalRegistry(given)
  const name = canonicalName(registry, text.slice(slash + 1))
  return isRegistry(given) && isRepositoryName(name) ? { registry, name } : undefined
}
