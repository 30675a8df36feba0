import { compileGlob } from './glob.ts'
import { type Repository, canonicalName, canonicalRegistry, isRegistry, repositoryKey } from './reference.ts'

/** A set of images by their full names, such as `docker.io/library/*` or `registry.example/team/**:v*`. */
export interface ImagePattern {
  /** As it is compared: with its registry, and `library/` for Docker Hub's own images. */
  readonly text: string
  /** The only registry whose images it can match; undefined if a wildcard stands for it. */
  readonly registry: string | undefined
  /** Whether it names tags: then it says nothing about other tags of a repository. */
  readonly hasTag: boolean
  matchesRepository(repository: Repository): boolean
  /** True for every tag if it names none. */
  matchesTag(tag: string): boolean
}

const MAX_LENGTH = 512
/** Matching takes time in proportion to their number, for each request. */
const MAX_WILDCARDS = 8
const REPOSITORY = /^[a-z0-9._\-/:[\]*]+$/
const TAG = /^[\w.\-*]+$/

/** Throws an Error of one sentence, which says what is wrong with a pattern. */
export function parseImagePattern(given: string): ImagePattern {
  const fail = (why: string): never => {
    throw new Error(`${JSON.stringify(given.slice(0, 100))} is no pattern of images: ${why}.`)
  }
  if (given.includes('@')) fail('images are named by repository and tag, without a digest')
  const colon = given.lastIndexOf(':')
  const tag = colon > given.lastIndexOf('/') ? given.slice(colon + 1) : undefined
  const path = tag === undefined ? given : given.slice(0, colon)
  const wildcards = given.match(/\*+/g) ?? []
  if (given.length > MAX_LENGTH || wildcards.length > MAX_WILDCARDS)
    fail(`it has more than ${MAX_LENGTH} characters or ${MAX_WILDCARDS} wildcards`)
  if (wildcards.some((stars) => stars.length > 2)) fail('* stands for a part of a name, ** for any number of parts')
  const slash = path.indexOf('/')
  const first = canonicalRegistry(slash < 0 ? path : path.slice(0, slash))
  if (slash < 0 && !path.includes('**'))
    fail('it needs a registry and a name, such as docker.io/library/*; ** stands for both')
  const isWild = first.includes('*')
  if (!isWild && !(isRegistry(first) && /[.:]|^localhost$/.test(first)))
    fail(`it begins with ${JSON.stringify(first)}, which is no registry: write docker.io/${path}`)
  if (isWild && /:0*443$/.test(first)) fail('port 443 is that of registries without one: leave it out')
  const rest = slash < 0 ? '' : path.slice(slash + 1)
  const name = rest === '**' ? rest : canonicalName(first, rest)
  const repository = slash < 0 ? first : `${first}/${name}`
  if ((slash >= 0 && rest === '') || !REPOSITORY.test(repository) || (tag !== undefined && !TAG.test(tag)))
    fail('names have letters, digits and . _ - / only, lower case before the tag, and wildcards')
  const matchesName = compileGlob(repository)
  const matchesTag = tag === undefined ? undefined : compileGlob(tag)
  return {
    text: tag === undefined ? repository : `${repository}:${tag}`,
    registry: isWild ? undefined : first,
    hasTag: tag !== undefined,
    matchesRepository: (candidate) => matchesName(repositoryKey(candidate)),
    matchesTag: (candidate) => matchesTag === undefined || matchesTag(candidate),
  }
}
