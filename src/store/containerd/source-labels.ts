import { isIP } from 'node:net'

import {
  canonicalName,
  canonicalRegistry,
  DOCKER_HUB,
  type IsMirror,
  isRegistry,
  isRepositoryName,
  looksLikeRegistry,
  parseRepositoryPath,
  type Repository,
  repositoryKey,
} from '../../oci/reference.ts'
import { UNRECORDED } from '../content-store.ts'

/** The names that clients use for this node's mirror. */
export interface MirrorPredicates {
  /** Matches a registry's `host[:port]`, as in image names. */
  readonly isMirror?: IsMirror | undefined
  /** Matches a host without port, as in source labels: true if the mirror uses this host with some port. */
  readonly isMirrorHost?: ((host: string) => boolean) | undefined
}

/** The repositories that a blob's source labels name. */
export interface LabelledSources {
  /** True if there is a source label, readable or not. */
  readonly labelled: boolean
  readonly sources: readonly Repository[]
}

/** How the labels of one host are read. */
interface Host {
  /** The registries that the host may stand for; empty if it is not a valid registry host. */
  readonly registries: readonly string[]
  /**
   * - `always`: the label names the mirror with its port.
   * - `prefixed`: only the mirror is known at this host.
   * - `never`: the host is not the mirror, or may also be another registry.
   */
  readonly readAsMirror: 'always' | 'prefixed' | 'never'
}

const PREFIX = 'containerd.io/distribution.source.'
/** Key and value together, in bytes. containerd omits a repository that would make the label longer. */
const MAX_LABEL_LENGTH = 4096
/** Length of a repository name and the comma before it. */
const MAX_ADDITION = 256

/**
 * Reads the labels `containerd.io/distribution.source.<host>=<name>,<name>` that containerd sets on content it pulls. The host has no
 * port, so a label may mean any registry at that host that an image name of this node mentions: all of them count as sources.
 */
export class SourceLabels {
  readonly #mirror: MirrorPredicates
  /** By host. */
  readonly #registries = new Map<string, Set<string>>()
  readonly #hosts = new Map<string, Host>()

  /** `imageNames` are those of all namespaces, offered or not. */
  constructor(imageNames: Iterable<string>, mirror: MirrorPredicates = {}) {
    this.#mirror = mirror
    for (const name of imageNames) this.#note(name)
  }

  read(labels: Readonly<Record<string, string>>): LabelledSources {
    const sources = new Map<string, Repository>()
    let labelled = false
    for (const [label, value] of Object.entries(labels)) {
      if (!label.startsWith(PREFIX)) continue
      labelled = true
      for (const source of this.#readLabel(label, value)) sources.set(repositoryKey(source), source)
    }
    return { labelled, sources: [...sources.values()] }
  }

  #readLabel(label: string, value: string): Repository[] {
    const rawHost = label.slice(PREFIX.length)
    let host = this.#hosts.get(rawHost)
    if (host === undefined) this.#hosts.set(rawHost, (host = this.#hostOf(rawHost)))
    const names = value.split(',').flatMap((name) => name.trim() || [])
    const sources = names.flatMap((name) => {
      const read = this.#readName(host, name)
      return read.length > 0 ? read : UNRECORDED
    })
    const mayLackSome = label.length + value.length > MAX_LABEL_LENGTH - MAX_ADDITION
    return names.length === 0 || mayLackSome ? [...sources, UNRECORDED] : sources
  }

  /** The repositories that a name under a host may mean; none if the name is invalid. */
  #readName({ registries, readAsMirror }: Host, name: string): Repository[] {
    // `team/app` has no registry prefix: it may belong to a local registry, not to Docker Hub.
    const isPrefixed = looksLikeRegistry(name.slice(0, Math.max(name.indexOf('/'), 0)).toLowerCase())
    if (readAsMirror === 'always' || (readAsMirror === 'prefixed' && isPrefixed)) {
      const repository = parseRepositoryPath(name, this.#mirror.isMirror)
      return repository === undefined ? [] : [repository]
    }
    return registries.flatMap((registry) => {
      const full = canonicalName(registry, name)
      return isRepositoryName(full) ? { registry, name: full } : []
    })
  }

  #hostOf(rawHost: string): Host {
    // Go's URL.Hostname() strips the brackets of an IPv6 address.
    const text = isIP(rawHost) === 6 ? `[${rawHost}]` : rawHost
    const registry = canonicalRegistry(text)
    if (!isRegistry(registry)) return { registries: [], readAsMirror: 'never' }
    const isMirror = (text: string) => this.#mirror.isMirror?.(text) === true
    // containerd writes no port; a label with one is from another program and is exact.
    if (hostOf(text) !== text && registry !== DOCKER_HUB) {
      return { registries: [registry], readAsMirror: isMirror(registry) ? 'always' : 'never' }
    }
    // No registry but Docker Hub uses its host, on any port.
    if (registry === DOCKER_HUB) return { registries: [registry], readAsMirror: 'never' }
    const mentioned = [...(this.#registries.get(registry) ?? [])].filter((text) => !isMirror(text))
    const isMirrorAlone = mentioned.length === 0 && this.#mirror.isMirrorHost?.(registry) === true
    return {
      registries: [registry, ...mentioned.filter((text) => text !== registry)],
      readAsMirror: isMirrorAlone ? 'prefixed' : 'never',
    }
  }

  /** Notes the registry of an image name; after the mirror's own name, also the registry that follows it. */
  #note(imageName: string): void {
    for (let path = imageName.toLowerCase(); ;) {
      const slash = path.indexOf('/')
      // containerd accepts `user@host/name` too, and labels by host.
      const first = path.slice(path.lastIndexOf('@', slash) + 1, Math.max(slash, 0))
      if (!looksLikeRegistry(first)) return
      const registry = canonicalRegistry(first)
      const host = hostOf(registry)
      this.#registries.set(host, (this.#registries.get(host) ?? new Set()).add(registry))
      if (this.#mirror.isMirror?.(registry) !== true) return
      path = path.slice(slash + 1)
    }
  }
}

/** A registry without its port. */
function hostOf(registry: string): string {
  return registry.replace(/:\d+$/, '')
}
