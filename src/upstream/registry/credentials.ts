import type { Log } from '../../telemetry/log.ts'
import type { Credential, FindCredential } from './credential.ts'
import type { CredentialTroubles } from './credential-troubles.ts'
import { CredentialHelpers } from './credential-helpers.ts'
import { type DockerConfig, parseDockerConfig } from './docker-config.ts'
import { RereadFile } from './reread-file.ts'

/** The node's own credentials. */
export interface Credentials {
  readonly find: FindCredential
  /** Tells that a registry did not accept one, so that a helper is asked again. */
  refused(credential: Credential): void
  /** Ends the helpers that run. */
  close(): void
}

export interface CredentialsOptions {
  readonly log: Log
  /** Told of helpers and of a file that cannot be used. */
  readonly troubles?: Pick<CredentialTroubles, 'note' | 'clear'> | undefined
  /** The environment of credential helpers; this process's own if absent. */
  readonly env?: NodeJS.ProcessEnv
  /** How long the file counts as unchanged, in milliseconds. */
  readonly interval?: number
}

/**
 * Credentials from a Docker `config.json`, read again when it changes, and from the helpers that it names. Throws an Error with one
 * sentence for the operator, which never quotes the file, if it cannot be used at the start.
 */
export async function readCredentials(path: string, options: CredentialsOptions): Promise<Credentials> {
  const helpers = new CredentialHelpers(options)
  const file = await RereadFile.open<DockerConfig>(path, {
    ...options,
    what: 'the credentials file',
    parse: parseDockerConfig,
    changed: () => helpers.forget(),
  })
  return {
    find: async (repository, { signal }) => {
      const config = await file.current({ signal })
      const place = config.placeOf(repository)
      return place?.type === 'helper' ? helpers.get(place.helper, place.server, { signal }) : place?.credential
    },
    refused: (credential) => helpers.refused(credential),
    close: () => helpers.stop(),
  }
}

/** The first credential that one of several sources has, in their order. */
export function inOrder(sources: readonly Credentials[]): Credentials {
  return {
    find: async (repository, options) => {
      for (const source of sources) {
        const credential = await source.find(repository, options)
        if (credential !== undefined) return credential
      }
      return undefined
    },
    refused: (credential) => {
      for (const source of sources) source.refused(credential)
    },
    close: () => {
      for (const source of sources) source.close()
    },
  }
}
