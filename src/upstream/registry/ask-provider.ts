import { resolve } from 'node:path'

import { z } from 'zod'

import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { PullCredential } from '../upstream.ts'
import { goDuration, type CredentialProvider } from './provider-config.ts'
import { CredentialProgramError, exitError, runProgram } from './run-program.ts'

/** Credentials by the pattern of the images that they are for. */
export type ProviderAnswer = readonly (readonly [pattern: string, credential: PullCredential])[]

export interface ProviderReply {
  readonly credentials: ProviderAnswer
  /** For what other images the answer holds as well: none, those of the registry, or all. */
  readonly scope: 'Image' | 'Registry' | 'Global'
  /** How long, in milliseconds. */
  readonly life: number
}

const MAX_CREDENTIALS = 200

const replySchema = z.object({
  apiVersion: z.string(),
  kind: z.literal('CredentialProviderResponse'),
  cacheKeyType: z.enum(['Image', 'Registry', 'Global']),
  cacheDuration: goDuration.nullish(),
  auth: z
    .record(z.string(), z.object({ username: z.string().default(''), password: z.string().default('') }))
    .nullish(),
})

/**
 * Asks a provider about an image, as the kubelet does. Throws CredentialProgramError, or the signal's reason.
 * https://kubernetes.io/docs/reference/config-api/kubelet-credentialprovider.v1/
 */
export async function askProvider(
  directory: string,
  provider: CredentialProvider,
  repository: Repository,
  { env, signal }: { env: NodeJS.ProcessEnv; signal: AbortSignal },
): Promise<ProviderReply> {
  const { name, apiVersion, args } = provider
  const request = { apiVersion, kind: 'CredentialProviderRequest', image: repositoryKey(repository) }
  const program = {
    command: resolve(directory, name),
    args,
    input: JSON.stringify(request),
    env: { ...env, ...provider.env },
    name,
    place: `in ${directory}`,
  }
  const { code, output } = await runProgram(program, { signal })
  if (code !== 0) throw exitError(program, code)
  return replyOf(output, provider)
}

function replyOf(output: string, { name, apiVersion, defaultCacheDuration }: CredentialProvider): ProviderReply {
  let reply: z.infer<typeof replySchema>
  try {
    reply = replySchema.parse(JSON.parse(output))
  } catch {
    // Without a cause: it would quote the answer.
    throw new CredentialProgramError(`${name} wrote what is no answer`)
  }
  if (reply.apiVersion !== apiVersion)
    throw new CredentialProgramError(`${name} answered in another version than ${apiVersion}`)
  const all = Object.entries(reply.auth ?? {}).filter(([, { username, password }]) => `${username}${password}` !== '')
  return {
    credentials: all.slice(0, MAX_CREDENTIALS),
    scope: reply.cacheKeyType,
    life: reply.cacheDuration ?? defaultCacheDuration,
  }
}
