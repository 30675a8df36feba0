import { isRepositoryName, type Repository } from '../../oci/reference.ts'

/** Registries name one or two scopes. */
const MAX_SCOPES = 4
/** `repository:<name>:<actions>`; a class in parentheses is of the notation's older form. */
const SCOPE = /^repository(?:\([a-z]+\))?:([^:]+):([a-z*,]+)$/

/**
 * The scopes to ask a token for, with blanks between them: those of the registry's challenge that are about pulling, reduced to `pull`, else
 * that of the repository. A registry chooses the text, so nothing else of it is repeated: a token for `push` would carry the rights of the
 * node's credentials to whoever named the scope. With credentials the name must be the repository's, or end in it behind a prefix
 * (`docker-remote/library/nginx`); a token that anybody gets may be for any name.
 * https://distribution.github.io/distribution/spec/auth/scope/
 */
export function scopesOf(challenge: string | undefined, repository: Repository, hasCredential: boolean): string {
  const mayName = (name: string) =>
    isRepositoryName(name) && (!hasCredential || name === repository.name || name.endsWith(`/${repository.name}`))
  const names = new Set<string>()
  for (const text of (challenge ?? '').split(' ')) {
    const [, name = '', actions = ''] = SCOPE.exec(text) ?? []
    if (mayName(name) && actions.split(',').some((action) => action === 'pull' || action === '*')) names.add(name)
  }
  const all = names.size === 0 ? [repository.name] : [...names].slice(0, MAX_SCOPES)
  return all.map((name) => `repository:${name}:pull`).join(' ')
}
