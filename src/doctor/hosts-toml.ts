import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

import { parse } from 'smol-toml'
import { z } from 'zod'

import { scanToml } from '../runtimes/toml/scan-toml.ts'
import { tomlError } from './containerd-config.ts'

/** One `[host."…"]` of a hosts.toml, in the order in which containerd asks them. */
export interface RegistryHost {
  readonly url: string
  /** What containerd takes if the file does not say. */
  readonly capabilities: readonly string[]
  readonly overridesPath: boolean
  /** What it sends as `Nabo-Token`. Secret. */
  readonly token: string | undefined
  readonly tls: HostsTls
}

/** What is said about the TLS of one host. Paths are as written: relative ones begin at the file's directory. */
export interface HostsTls {
  readonly ca: readonly string[]
  readonly client: readonly { readonly cert: string; readonly key: string }[]
  readonly skipVerify: boolean
}

export type HostsFile =
  | { readonly state: 'missing' | 'denied' }
  /** containerd takes nothing of it. */
  | { readonly state: 'invalid'; readonly says: string }
  | {
      readonly state: 'read'
      readonly server: string | undefined
      /** Of the server. */
      readonly tls: HostsTls
      readonly hosts: readonly RegistryHost[]
      /** Some user besides its owner and group may change it, or put another in its place. */
      readonly isOpen: boolean
      /** Why containerd 2 takes no hosts of it, as tried with 2.1; undefined if it does. */
      readonly unknownTo2: string | undefined
    }

const BOM = '\uFEFF'
const CAPABILITIES = ['pull', 'resolve', 'push', 'referrers']
const MAX_BYTES = 1024 * 1024

const tlsShape = {
  ca: z.union([z.string(), z.array(z.string())]).optional(),
  client: z.union([z.string(), z.array(z.union([z.string(), z.array(z.string()).min(1).max(2)]))]).optional(),
  skip_verify: z.boolean().optional(),
}

const fileSchema = z.object({
  server: z.string().optional(),
  ...tlsShape,
  host: z
    .record(
      z.string(),
      z.object({
        capabilities: z.array(z.string()).optional(),
        override_path: z.boolean().optional(),
        header: z.record(z.string(), z.union([z.string(), z.array(z.string())])).optional(),
        ...tlsShape,
      }),
    )
    .optional(),
})

/** Reads a hosts.toml as containerd does. Rejects only for what cannot be foreseen. */
export async function readHostsFile(path: string): Promise<HostsFile> {
  try {
    const [{ size, mode }, directory] = await Promise.all([stat(path), stat(dirname(path))])
    if (size > MAX_BYTES) return { state: 'invalid', says: 'it is far too long' }
    const text = await readFile(path, 'utf8')
    const { server, host, ...top } = fileSchema.parse(parse(text))
    const hosts = Object.entries(host ?? {}).map(([url, settings]) => ({
      url,
      capabilities: settings.capabilities ?? ['pull', 'resolve', 'push'],
      overridesPath: settings.override_path ?? false,
      token: tokenIn(settings.header ?? {}),
      tls: tlsOf(settings),
    }))
    for (const { url, capabilities } of hosts) {
      const strange = capabilities.find((capability) => !CAPABILITIES.includes(capability))
      if (strange !== undefined)
        return {
          state: 'invalid',
          says: `[host."${url}"] has the capability ${JSON.stringify(strange)}, which is none`,
        }
    }
    const isOpen = ((mode | directory.mode) & 0o002) !== 0
    return { state: 'read', server, tls: tlsOf(top), hosts, isOpen, unknownTo2: whyUnknownTo2(text) }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return { state: 'missing' }
    if (code === 'EACCES' || code === 'EPERM') return { state: 'denied' }
    return { state: 'invalid', says: tomlError(error) }
  }
}

function whyUnknownTo2(text: string): string | undefined {
  if (text.startsWith(BOM)) return 'it begins with a byte order mark'
  const items = scanToml(text)
  const header = items.findIndex(({ kind }) => kind !== 'value')
  const top = header < 0 ? items : items.slice(0, header)
  return top.some(({ path }) => path[0] === 'host') ? 'its hosts are not written as [host."…"] sections' : undefined
}

function tlsOf({
  ca = [],
  client = [],
  skip_verify: skipVerify = false,
}: z.infer<z.ZodObject<typeof tlsShape>>): HostsTls {
  const pairs = typeof client === 'string' ? [client] : client
  return {
    ca: typeof ca === 'string' ? [ca] : ca,
    // Without a file of its own the key is in the certificate's.
    client: pairs.map((pair) => {
      const [cert = '', key = ''] = typeof pair === 'string' ? [pair] : pair
      return { cert, key: key === '' ? cert : key }
    }),
    skipVerify,
  }
}

function tokenIn(header: Readonly<Record<string, string | readonly string[]>>): string | undefined {
  const value = Object.entries(header).find(([name]) => name.toLowerCase() === 'nabo-token')?.[1]
  return typeof value === 'string' ? value : value?.[0]
}
