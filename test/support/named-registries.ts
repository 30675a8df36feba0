import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type ConnectProxy, startConnectProxy } from './connect-proxy.ts'
import { SmallRegistry, type SmallRegistryOptions } from './small-registry.ts'

/** A registry that daemons reach under a name of its own. */
export interface NamedRegistry {
  /** `evil.test:41003`. */
  readonly name: string
  readonly registry: SmallRegistry
}

/**
 * Registries under host names that no DNS knows, without an `--upstream` that would name them: daemons reach them as `https://<name>`
 * through a proxy, which `HTTPS_PROXY` of this process tells them of. One certificate is for all names.
 */
export class NamedRegistries implements AsyncDisposable {
  readonly #directory: string
  readonly #proxy: ConnectProxy
  readonly #tls: { readonly key: string; readonly cert: string }
  readonly #registries: NamedRegistry[] = []

  private constructor(directory: string, proxy: ConnectProxy, tls: { key: string; cert: string }) {
    this.#directory = directory
    this.#proxy = proxy
    this.#tls = tls
  }

  /** `hosts`: all host names that will be used. */
  static async start(hosts: readonly string[]): Promise<NamedRegistries> {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-names-'))
    const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
    const names = hosts.map((host) => `DNS:${host}`).join(',')
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
    const subject = ['-subj', '/CN=registries', '-addext', `subjectAltName=${names}`]
    execFileSync('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '2', ...subject], { stdio: 'pipe' })
    const proxy = await startConnectProxy()
    process.env['HTTPS_PROXY'] = proxy.url.href
    const tls = { key: await readFile(keyFile, 'utf8'), cert: await readFile(certFile, 'utf8') }
    return new NamedRegistries(directory, proxy, tls)
  }

  async add(host: string, options: SmallRegistryOptions = {}): Promise<NamedRegistry> {
    const registry = await SmallRegistry.start({ ...options, tls: this.#tls })
    const named = { name: `${host}:${registry.port}`, registry }
    this.#registries.push(named)
    return named
  }

  /** Lets a daemon trust the certificate. */
  get flags(): string[] {
    const file = join(this.#directory, 'cert.pem')
    return this.#registries.flatMap(({ name }) => ['--registry-ca', `${name}=${file}`])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    delete process.env['HTTPS_PROXY']
    for (const { registry } of this.#registries) await registry[Symbol.asyncDispose]()
    await this.#proxy[Symbol.asyncDispose]()
    await rm(this.#directory, { recursive: true, force: true })
  }
}
