import { createHash } from 'node:crypto'
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'

import { LRUCache } from 'lru-cache'

import { atMost } from '../../../async/at-most.ts'
import { type Log, errorText } from '../../../telemetry/log.ts'
import { withDeadline } from '../../../time/deadline.ts'
import { second } from '../../../time/units.ts'
import { realmBelongsTo } from '../challenge.ts'
import { type Material, NO_MATERIAL, loadMaterial } from './material.ts'
import type { SystemAuthorities, SystemTrust } from '../../../http-client/system-trust.ts'
import type { ClientFiles, FindTlsFiles, HostTls } from './tls-files.ts'

/** How one connection is made. Connections with the same key may be shared. */
export interface TlsSettings {
  readonly key: string
  /** undefined: what this process trusts, and no client certificate. */
  readonly secureContext: SecureContext | undefined
  readonly verifies: boolean
}

/** What is used for the connections to a registry, for people. */
export interface TlsView {
  readonly registry: string
  /** Files. */
  readonly ca: readonly string[]
  readonly client: readonly string[]
  /** Hosts whose certificates are not checked, and the file that says so. */
  readonly unverified: readonly { readonly host: string; readonly from: string }[]
  readonly problems: readonly string[]
}

/** All certificates that count at this node. */
export interface CertificatesView {
  /** Trusted for every registry besides the authorities that Node brings; undefined while nothing was asked over TLS. */
  readonly system: SystemAuthorities | undefined
  readonly registries: readonly TlsView[]
}

export interface RegistryTlsOptions {
  readonly trust: Pick<SystemTrust, 'load' | 'loaded'>
  /** PEM files of the flags, by registry. */
  readonly ca: ReadonlyMap<string, string>
  readonly client: ReadonlyMap<string, ClientFiles>
  /** None if absent. */
  readonly find?: FindTlsFiles
  /** The addresses of a registry that its credentials are for: client certificates are shown in their domains alone. */
  readonly ownUrls: (registry: string) => readonly URL[]
  readonly log: Pick<Log, 'warn'>
}

/** For connections that need nothing of their own. */
export const USUAL_TLS: TlsSettings = { key: '', secureContext: undefined, verifies: true }

/** Certificates are renewed while a node runs. */
const FRESH = 15 * second
const TIMEOUT = 2 * second
const MAX_REGISTRIES = 200
/** One with authorities of its own has 3 MB. */
const MAX_CONTEXTS = 20
const MAX_LOGGED = 200

/** The certificates for the connections to each registry: of the flags, and of a configuration that is read again when it is used. */
export class RegistryTls {
  readonly #options: RegistryTlsOptions
  readonly #kept = new LRUCache<string, { readAt: number; material: Promise<Material> }>(atMost(MAX_REGISTRIES))
  readonly #contexts = new LRUCache<string, SecureContext>(atMost(MAX_CONTEXTS))
  readonly #logged = new LRUCache<string, true>(atMost(MAX_LOGGED))

  private constructor(options: RegistryTlsOptions) {
    this.#options = options
  }

  /** Throws an Error with one sentence for a file of the flags that cannot be used. */
  static async create(options: RegistryTlsOptions): Promise<RegistryTls> {
    const tls = new RegistryTls(options)
    for (const registry of new Set([...options.ca.keys(), ...options.client.keys()])) {
      const { problems } = await tls.#load(tls.#flags(registry))
      if (problems[0] !== undefined) throw new Error(problems[0])
    }
    return tls
  }

  /** For a request to `url` on behalf of `registry`, also to token realms and CDNs. Never rejects. */
  async settings(registry: string, url: URL): Promise<TlsSettings> {
    if (url.protocol !== 'https:') return USUAL_TLS
    await this.#options.trust.load()
    const { authorities, clients, unverified } = await this.#material(registry)
    const verifies = !unverified.some(({ host }) => host === url.host)
    const client = clients.find(({ urls }) => urls.some((own) => realmBelongsTo(url, own)))
    if (authorities.length === 0 && client === undefined)
      return verifies ? USUAL_TLS : { ...USUAL_TLS, key: 'any', verifies }
    const material = JSON.stringify([authorities, client?.cert, client?.key])
    const key = createHash('sha256').update(material).digest('base64url')
    let secureContext = this.#contexts.get(key)
    if (secureContext === undefined) {
      const ca = authorities.length === 0 ? {} : { ca: [...getCACertificates('default'), ...authorities] }
      secureContext = createSecureContext({ ...ca, ...(client && { cert: client.cert, key: client.key }) })
      this.#contexts.set(key, secureContext)
    }
    return { key: verifies ? key : `any ${key}`, secureContext, verifies }
  }

  async view(registries: readonly string[]): Promise<CertificatesView> {
    const views = registries.map(async (registry): Promise<TlsView> => {
      const { clients, files, unverified, problems } = await this.#material(registry)
      return { registry, ca: files, client: clients.map(({ file }) => file), unverified, problems }
    })
    return { system: await this.#options.trust.loaded, registries: await Promise.all(views) }
  }

  #material(registry: string): Promise<Material> {
    const kept = this.#kept.get(registry)
    const now = performance.now()
    if (kept !== undefined && now - kept.readAt < FRESH) return kept.material
    const material = this.#read(registry).catch(async (error: unknown) => {
      this.#warn(registry, `the certificates for ${registry} cannot be read: ${errorText(error)}`)
      return (await kept?.material) ?? NO_MATERIAL
    })
    this.#kept.set(registry, { readAt: now, material })
    return material
  }

  async #read(registry: string): Promise<Material> {
    const found = await withDeadline(TIMEOUT, 'looking for them', new AbortController().signal, async () =>
      this.#options.find?.(registry),
    )
    const { hosts = [], problem } = found ?? {}
    const material = await this.#load([...this.#flags(registry), ...hosts])
    const problems = problem === undefined ? material.problems : [problem, ...material.problems]
    for (const text of problems) this.#warn(registry, text)
    for (const { host, from } of material.unverified)
      this.#warn(registry, `the certificate of ${host} is not checked: skip_verify in ${from}`)
    return { ...material, problems }
  }

  #load(hosts: readonly HostTls[]): Promise<Material> {
    return withDeadline(TIMEOUT, 'reading them', new AbortController().signal, (signal) =>
      loadMaterial(hosts, { signal }),
    )
  }

  /** What the flags say, as a configuration would. */
  #flags(registry: string): readonly HostTls[] {
    const [ca, client] = [this.#options.ca.get(registry), this.#options.client.get(registry)]
    const about = { urls: this.#options.ownUrls(registry), ca: [], client: [], skipVerify: false }
    return [
      ...(ca === undefined ? [] : [{ ...about, ca: [ca], from: `--registry-ca ${registry}` }]),
      ...(client === undefined ? [] : [{ ...about, client: [client], from: `--registry-client-cert ${registry}` }]),
    ]
  }

  /** Each sentence once. */
  #warn(registry: string, text: string): void {
    if (this.#logged.has(text)) return
    this.#logged.set(text, true)
    this.#options.log.warn({ registry }, text)
  }
}
