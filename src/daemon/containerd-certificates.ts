import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { type HostsTls, readHostsFile } from '../doctor/hosts-toml.ts'
import { DEFAULT_REGISTRY, certificatesIn, directoryNames } from '../runtimes/containerd/host-directories.ts'
import { speaksPlainHttp } from '../oci/reference.ts'
import { defaultUrl } from '../upstream/registry/addresses.ts'
import type { HostTls, RegistryTlsFiles } from '../upstream/registry/tls/tls-files.ts'

/**
 * What containerd's directory of hosts says about TLS with a registry. containerd reads one directory for each registry: its own or `_default`.
 * Of `_default` only the authorities count. A client of the mirror can name any registry, and the operator has not meant each of
 * them to be asked with a client certificate or without a check.
 */
export async function findContainerdCertificates(configDir: string, registry: string): Promise<RegistryTlsFiles> {
  const directory = await directoryOf(configDir, registry)
  if (directory === undefined) return { hosts: [] }
  const path = join(directory, 'hosts.toml')
  const file = await readHostsFile(path)
  const isDefault = directory === join(configDir, DEFAULT_REGISTRY)
  const about = (url: URL | null, tls: HostsTls, from: string): HostTls[] => {
    if (url === null) return []
    const { ca, client, skipVerify } = absolute(tls, directory)
    const host = { urls: [url], ca, client: [], skipVerify: false, from }
    return [isDefault ? host : { ...host, client, skipVerify }]
  }
  switch (file.state) {
    case 'missing':
      return { hosts: isDefault ? [] : about(defaultUrl(registry), await dockerFiles(directory), directory) }
    case 'denied':
      return { hosts: [], problem: `${path} cannot be read by this user: no certificates of it are used` }
    case 'invalid':
      return { hosts: [], problem: `${path} cannot be used, nor can the certificates that it names: ${file.says}` }
    case 'read':
      return {
        hosts: [
          ...about(file.server === undefined ? defaultUrl(registry) : urlOf(file.server), file.tls, path),
          ...file.hosts.flatMap(({ url, tls }) => about(urlOf(url), tls, path)),
        ],
      }
  }
}

async function directoryOf(configDir: string, registry: string): Promise<string | undefined> {
  // Nabo's names of registries are without a default port. A directory may have it, for images that are named with it.
  const hasDefaultPort = !/:\d+$/.test(registry) && !speaksPlainHttp(registry)
  const withPort = hasDefaultPort ? directoryNames(`${registry}:443`) : []
  for (const name of [...directoryNames(registry), ...withPort, DEFAULT_REGISTRY]) {
    const path = join(configDir, name)
    const isDirectory = await stat(path).then(
      (info) => info.isDirectory(),
      () => false,
    )
    if (isDirectory) return path
  }
  return undefined
}

/** Certificates as Docker lays them out, for a directory without a hosts.toml. */
async function dockerFiles(directory: string): Promise<HostsTls> {
  const { ca, client } = await certificatesIn(directory, '').catch(() => ({ ca: [], client: [] }))
  return { ca, client: client.map(([cert, key]) => ({ cert, key })), skipVerify: false }
}

function absolute({ ca, client, skipVerify }: HostsTls, directory: string): HostsTls {
  const at = (path: string) => resolve(directory, path)
  return { ca: ca.map(at), client: client.map(({ cert, key }) => ({ cert: at(cert), key: at(key) })), skipVerify }
}

function urlOf(text: string): URL | null {
  return URL.parse(text.includes('://') ? text : `https://${text}`)
}
