import { type Digest, parseDigest } from './digest.ts'
import { OciError } from './errors.ts'
import { listingParameters, withQuery } from './listing-query.ts'
import {
  type IsMirror,
  type Repository,
  canonicalName,
  canonicalRegistry,
  isRegistry,
  isRepositoryName,
  isTag,
  parseRepositoryPath,
} from './reference.ts'

/** What a client asks of the pull half of the distribution API. */
export type OciRequest =
  | { readonly type: 'base' }
  | { readonly type: 'manifest'; readonly repository: Repository; readonly reference: ManifestReference }
  | { readonly type: 'blob'; readonly repository: Repository; readonly digest: Digest }
  | {
      readonly type: 'listing'
      readonly repository: Repository
      readonly pathAndQuery: string
      /** The name as the client wrote it, and its `ns` if it sent one: what it is told about must bear that name. */
      readonly asked: { readonly name: string; readonly ns: string | undefined }
    }

export type ManifestReference =
  | { readonly type: 'tag'; readonly tag: string }
  | { readonly type: 'digest'; readonly digest: Digest }

/** The tag that a request names; undefined for one by digest, and for a list. */
export function tagOf(asked: OciRequest): string | undefined {
  return asked.type === 'manifest' && asked.reference.type === 'tag' ? asked.reference.tag : undefined
}

/** Cap on a request's path and query, in characters; a registry's cursor has a few hundred, signed ones two thousand. */
export const MAX_URL_LENGTH = 8192

/**
 * Reads a request's path and query, whatever a client may have invented. The registry is what `ns` says, else a first path
 * component that looks like a host, else Docker Hub; the names of the mirror itself are passed over. Throws OciError, before anything
 * of it has touched a disk or a network.
 */
export function parseOciRequest(url: string, isMirror: IsMirror = () => false): OciRequest {
  if (url.length > MAX_URL_LENGTH) throw new OciError('NAME_INVALID', { message: 'the URL is too long' })
  const question = url.indexOf('?')
  const path = decodePath(question < 0 ? url : url.slice(0, question))
  const search = question < 0 ? '' : url.slice(question + 1)
  const query = new URLSearchParams(search)
  if (path === '/v2' || path === '/v2/') return { type: 'base' }

  const ns = query.get('ns') ?? undefined
  const listing = (name: string, what: string): OciRequest => ({
    type: 'listing',
    repository: repositoryOf(name, ns, isMirror),
    pathAndQuery: withQuery(what, listingParameters(search)),
    asked: { name, ns },
  })

  const tags = /^\/v2\/(.+)\/tags\/list$/.exec(path)
  if (tags !== null) return listing(tags[1] ?? '', 'tags/list')
  const match = /^\/v2\/(.+)\/(manifests|blobs|referrers)\/([^/]+)$/.exec(path)
  if (match === null) throw new OciError('NOT_FOUND')
  const [, name = '', kind, last = ''] = match
  const repository = repositoryOf(name, ns, isMirror)
  switch (kind) {
    case 'manifests':
      return { type: 'manifest', repository, reference: manifestReference(last) }
    case 'blobs':
      return { type: 'blob', repository, digest: digestOrRefuse(last) }
    default:
      return listing(name, `referrers/${digestOrRefuse(last)}`)
  }
}

/**
 * Whether a client named the mirror in its reference, or has a mirror's location that names the registry. containerd's mirrors always
 * say `ns`, and go on to the registry by what they are told.
 */
export function isExplicit(url: string): boolean {
  return !/[?&]ns=/.test(url)
}

/** `nabo pull`: it sends `ns` as containerd does, and has no host but the mirror. */
export const PULL_USER_AGENT = 'nabo-pull'

/** The path of a manifest or blob as one Nabo asks another for it; {@link parseOciRequest} reads it back. */
export function requestPath(repository: Repository, kind: 'manifests' | 'blobs', reference: string): string {
  return `/v2/${repository.name}/${kind}/${reference}?ns=${encodeURIComponent(repository.registry)}`
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch (cause) {
    throw new OciError('NAME_INVALID', { message: 'the path is not valid percent-encoding', cause })
  }
}

function repositoryOf(path: string, ns: string | undefined, isMirror: IsMirror): Repository {
  const registry = ns === undefined ? undefined : canonicalRegistry(ns)
  if (registry !== undefined && !isRegistry(registry))
    throw new OciError('NAME_INVALID', { message: 'ns is not the host of a registry' })
  if (ns === undefined || registry === undefined || isMirror(ns.toLowerCase())) {
    const repository = parseRepositoryPath(path, isMirror)
    if (repository === undefined) throw new OciError('NAME_INVALID')
    return repository
  }
  const name = canonicalName(registry, path)
  if (!isRepositoryName(name)) throw new OciError('NAME_INVALID')
  return { registry, name }
}

function manifestReference(text: string): ManifestReference {
  if (text.includes(':')) return { type: 'digest', digest: digestOrRefuse(text) }
  if (!isTag(text)) throw new OciError('MANIFEST_UNKNOWN', { message: 'the tag is malformed: no manifest can have it' })
  return { type: 'tag', tag: text }
}

function digestOrRefuse(text: string): Digest {
  const digest = parseDigest(text)
  if (digest === undefined) throw new OciError('DIGEST_INVALID')
  return digest
}
