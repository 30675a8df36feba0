import { z } from 'zod'

import { hour, minute, second } from '../../time/units.ts'

/** A program of the kubelet's exec API for credentials. */
export interface CredentialProvider {
  /** The program's name in the directory of providers. */
  readonly name: string
  /** Of requests and answers. */
  readonly apiVersion: string
  readonly matchImages: readonly string[]
  /** How long an answer is kept that does not say it, in milliseconds. */
  readonly defaultCacheDuration: number
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** It works only with the token of a pod's service account, which Nabo does not have. */
  readonly needsServiceAccount: boolean
}

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: second,
  m: minute,
  h: hour,
}
const DURATION = /^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/

/** A duration as Go writes it (`12h`, `1h30m0s`, `0`), in milliseconds. */
export const goDuration = z
  .string()
  .max(40)
  .refine((text) => text === '0' || DURATION.test(text), 'is no duration such as 12h')
  .transform((text) => {
    const parts = text.matchAll(/(\d+(?:\.\d+)?)([a-zµ]+)/g)
    return [...parts].reduce((sum, [, count, unit = '']) => sum + Number(count) * (UNITS[unit] ?? 0), 0)
  })

const providerSchema = z.object({
  name: z
    .string()
    .regex(/^[^/\s\0]{1,200}$/, 'is no name of a program')
    .refine((name) => name !== '.' && name !== '..', 'is no name of a program'),
  apiVersion: z.enum(['v1', 'v1beta1', 'v1alpha1'].map((version) => `credentialprovider.kubelet.k8s.io/${version}`)),
  matchImages: z.array(z.string().min(1).max(1000)).min(1).max(1000),
  defaultCacheDuration: goDuration,
  args: z.array(z.string()).nullish(),
  env: z.array(z.object({ name: z.string().min(1), value: z.string() })).nullish(),
  tokenAttributes: z.object({ requireServiceAccount: z.boolean().nullish() }).nullish(),
})

const configSchema = z.object({
  apiVersion: z.enum(['v1', 'v1beta1', 'v1alpha1'].map((version) => `kubelet.config.k8s.io/${version}`)),
  kind: z.literal('CredentialProviderConfig'),
  providers: z.array(providerSchema).min(1).max(100),
})

/**
 * Reads the kubelet's `CredentialProviderConfig` from YAML or JSON. Throws an Error in words that go after the file's name, which quote no
 * value: the environment of a provider may hold a secret. https://kubernetes.io/docs/reference/config-api/kubelet-config.v1/
 */
export function parseProviderConfig(parseYaml: (text: string) => unknown, text: string): readonly CredentialProvider[] {
  let content: unknown
  try {
    content = parseYaml(text)
  } catch {
    throw new Error('is no YAML or JSON')
  }
  const parsed = configSchema.safeParse(content)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    const where = issue?.path.map(String).join('.') ?? ''
    throw new Error(`is not a CredentialProviderConfig of the kubelet${where === '' ? '' : `: see ${where}`}`)
  }
  const { providers } = parsed.data
  const names = providers.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new Error(`names the provider ${JSON.stringify(twice)} twice`)
  return providers.map(({ args, env, tokenAttributes, ...provider }) => ({
    ...provider,
    args: args ?? [],
    env: Object.fromEntries((env ?? []).map(({ name, value }) => [name, value])),
    needsServiceAccount: tokenAttributes?.requireServiceAccount === true,
  }))
}
