import { resolve } from 'node:path'

import { InvalidArgumentError, Option } from 'commander'

import { canonicalRegistry, DOCKER_HUB, isRegistry } from '../oci/reference.ts'
import { ALL_REGISTRIES, DEFAULT_REGISTRY } from '../runtimes/containerd/host-directories.ts'

export const DEFAULT_MIRROR_URL = 'http://127.0.0.1:7950'

/** A flag with its environment variable `NABO_<FLAG>`. An empty value is none: charts set variables that they have nothing to say about. */
export function flag(flags: string, about: string, parse: (text: string) => unknown, otherwise?: string): Option {
  const option = new Option(flags, about).env(variableOf(flags))
  option.argParser((text: string, previous: unknown) => (text.trim() === '' ? previous : parse(text.trim())))
  return otherwise === undefined ? option : option.default(parse(otherwise), otherwise)
}

/**
 * A flag without a value. Its environment variable is a switch as well: commander takes any text in it for yes, `false` and an empty one
 * included, so one that says no is not looked at.
 */
export function switchFlag(flags: string, about: string): Option {
  const variable = variableOf(flags)
  const option = new Option(flags, about)
  return /^(?:0|no|off|false|\s*)$/i.test(process.env[variable] ?? 'true') ? option : option.env(variable)
}

/** `--mirror-url`, where the clients of this node reach Nabo; without a slash at the end. */
export function mirrorUrlFlag(): Option {
  return flag('--mirror-url <url>', 'where clients on this node reach Nabo', parseMirrorUrl, DEFAULT_MIRROR_URL)
}

/** `--mirror-url` for clients that take no path in it; a URL. */
export function mirrorOriginFlag(): Option {
  return flag('--mirror-url <url>', 'where clients on this node reach Nabo', parseOrigin, DEFAULT_MIRROR_URL)
}

/** `--config-file` or `--config-dir` of one client, absolute. Its variable bears the client's name: NABO_CONFIG_DIR is containerd's, for `serve` too. */
export function clientPathFlag(client: string, flags: string, about: string, path: string): Option {
  const option = flag(flags, about, (text) => resolve(text), path)
  return option.env(variableOf(flags).replace('NABO_', `NABO_${client.toUpperCase()}_`))
}

/** `--registries` for clients that must be told each one. */
export function namedRegistriesFlag(client: string): Option {
  const parse = (text: string) => {
    const registries = parseRegistries(text)
    if (!registries.includes(ALL_REGISTRIES) && !registries.includes(DEFAULT_REGISTRY)) return registries
    throw new InvalidArgumentError(`${client} knows no setting for all registries: name them.`)
  }
  return flag('--registries <list>', 'for which registries', parse, DOCKER_HUB)
}

/** Adds `--dry-run`. */
export function dryRunFlag(): Option {
  return switchFlag('--dry-run', 'show what would be done, and do nothing')
}

export function oneOf<T extends string>(...choices: readonly T[]): (text: string) => T {
  return (text) => {
    const found = choices.find((choice) => choice === text)
    if (found === undefined) throw new InvalidArgumentError(`${choices.join(' or ')} is expected.`)
    return found
  }
}

/** Registries with commas or blanks between them; `_default` is containerd's name for all that have no directory, and `all` is all. */
export function parseRegistries(text: string): readonly string[] {
  const names = text
    .split(/[\s,]+/)
    .filter((name) => name !== '')
    .map(registryOrDefault)
  if (names.length === 0) throw new InvalidArgumentError('all, or a list of registries is expected.')
  return [...new Set(names)]
}

function variableOf(flags: string): string {
  return `NABO_${(flags.split(' ')[0] ?? '').slice(2).replaceAll('-', '_').toUpperCase()}`
}

function registryOrDefault(text: string): string {
  if (text === ALL_REGISTRIES || text === DEFAULT_REGISTRY) return text
  // For the daemon it means that it mirrors no registry.
  if (text === 'none') throw new InvalidArgumentError('there is nothing to do for none: name the registries, or all.')
  // Clients look for the host as an image's name has it: keep a default port.
  const registry = /:\d+$/.test(text) ? text.toLowerCase() : canonicalRegistry(text)
  if (!isRegistry(registry))
    throw new InvalidArgumentError(
      `${JSON.stringify(text)} is not a registry such as docker.io or registry.example.com:5000.`,
    )
  return registry
}

function parseOrigin(text: string): URL {
  const url = new URL(parseMirrorUrl(text))
  if (url.pathname !== '/')
    throw new InvalidArgumentError(`a URL without a path is expected, such as ${DEFAULT_MIRROR_URL}.`)
  return url
}

function parseMirrorUrl(text: string): string {
  const url = URL.parse(text)
  const isPlain =
    url !== null &&
    /^https?:$/.test(url.protocol) &&
    `${url.username}${url.password}${url.search}${url.hash}` === '' &&
    url.hostname !== ''
  if (!isPlain) throw new InvalidArgumentError(`a URL such as ${DEFAULT_MIRROR_URL} is expected.`)
  return url.href.replace(/\/+$/, '')
}
