import { stat } from 'node:fs/promises'

import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { hour, second } from '../../time/units.ts'
import { type ProviderAnswer, askProvider } from './ask-provider.ts'
import type { Credential } from './credential.ts'
import { CredentialPrograms, type CredentialProgramsOptions, type Question } from './credential-programs.ts'
import type { Credentials } from './credentials.ts'
import { matchesImage } from './host-pattern.ts'
import { type CredentialProvider, parseProviderConfig } from './provider-config.ts'
import { RereadFile } from './reread-file.ts'

export interface CredentialProvidersOptions extends CredentialProgramsOptions {
  /** The directory of the programs. */
  readonly directory: string
  /** How long the file counts as unchanged, in milliseconds. */
  readonly interval?: number
}

/** One pull asks some ten times: what a provider does not want to be kept is kept for that one. */
const MIN_LIFE = 10 * second
const MAX_LIFE = 24 * hour

/**
 * Credentials from the kubelet's credential providers, by its `CredentialProviderConfig`, which is read again when it changes. Throws an
 * Error with one sentence for the operator if the file or the directory cannot be used at the start.
 */
export async function readProviders(path: string, options: CredentialProvidersOptions): Promise<Credentials> {
  const { directory, log } = options
  const found = await stat(directory).catch((error: NodeJS.ErrnoException) => error)
  if (found instanceof Error || !found.isDirectory()) {
    const why = found instanceof Error ? found.code : 'it is no directory'
    throw new Error(`the directory of credential providers ${directory} cannot be read: ${why}`)
  }
  // Loaded for those who have providers only.
  const { parse: parseYaml } = await import('yaml')
  const programs = new CredentialPrograms<ProviderAnswer>(options)
  const parse = (text: string) => {
    const providers = parseProviderConfig(parseYaml, text)
    for (const { name } of providers.filter(({ needsServiceAccount }) => needsServiceAccount))
      log.warn({ provider: name }, 'a credential provider is left out: it needs the token of a service account')
    return providers.filter(({ needsServiceAccount }) => !needsServiceAccount)
  }
  const file = await RereadFile.open<readonly CredentialProvider[]>(path, {
    ...options,
    what: 'the configuration of credential providers',
    parse,
    changed: () => programs.forget(),
  })
  return {
    find: async (repository, { signal }) => {
      const providers = await file.current({ signal })
      const asked = providers.filter(({ matchImages }) => matchImages.some((one) => matchesImage(one, repository)))
      const answers = await Promise.all(
        asked.map((provider) => programs.get(questionOf(directory, provider, repository), { signal })),
      )
      return credentialFor(repository, answers)
    },
    refused: (credential) => programs.refused((answer) => answer.some(([, given]) => given === credential)),
    close: () => programs.stop(),
  }
}

function questionOf(directory: string, provider: CredentialProvider, repository: Repository): Question<ProviderAnswer> {
  const { name } = provider
  const image = repositoryKey(repository)
  // Names have no blanks.
  const keys = { Image: `${name} image ${image}`, Registry: `${name} registry ${repository.registry}`, Global: name }
  return {
    key: keys.Image,
    alsoUnder: [keys.Registry, keys.Global],
    group: keys.Registry,
    program: name,
    kind: 'a credential provider',
    about: { provider: name, image },
    ask: async (options) => {
      const { credentials, scope, life } = await askProvider(directory, provider, repository, options)
      return { value: credentials, life: Math.min(Math.max(life, MIN_LIFE), MAX_LIFE), keepUnder: keys[scope] }
    },
  }
}

/** In the kubelet's order of patterns: that of their text, backwards. */
function credentialFor(
  repository: Repository,
  answers: readonly (ProviderAnswer | undefined)[],
): Credential | undefined {
  const all = answers.flatMap((answer) => answer ?? []).filter(([pattern]) => matchesImage(pattern, repository))
  return all.toSorted(([a], [b]) => (a < b ? 1 : a > b ? -1 : 0))[0]?.[1]
}
