import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'

import type { Repository } from '../../src/oci/reference.ts'
import type { Log } from '../../src/telemetry/log.ts'
import type { QuotaGate } from '../../src/upstream/quota/quota-gate.ts'
import { AddressClient } from '../../src/upstream/registry/address-client.ts'
import { Addresses } from '../../src/upstream/registry/addresses.ts'
import { Authorization } from '../../src/upstream/registry/authorization.ts'
import type { Network } from '../../src/upstream/registry/connections.ts'
import type { Credential } from '../../src/upstream/registry/credential.ts'
import { createHttpClient } from '../../src/upstream/registry/http-client.ts'
import type { ChooseProxy } from '../../src/upstream/registry/proxies.ts'
import { RegistryClient } from '../../src/upstream/registry/registry-client.ts'
import { RegistrySession } from '../../src/upstream/registry/registry-session.ts'
import { RegistryTls } from '../../src/upstream/registry/tls/registry-tls.ts'
import { TokenCache } from '../../src/upstream/registry/token-cache.ts'

export interface RegistryClientOptions {
  /** Of `docker.io`, in the order to try. */
  readonly endpoints?: readonly string[]
  readonly credential?:
    | Credential
    | ((repository: Repository) => Credential | undefined | Promise<Credential | undefined>)
  readonly authorities?: ReadonlyMap<string, string>
  readonly timeout?: number
  readonly proxyFor?: ChooseProxy
  readonly network?: Network
  readonly log?: Pick<Log, 'warn' | 'info'>
  readonly quota?: QuotaGate
}

export interface TestRegistryClient {
  readonly client: RegistryClient
  /** `HEAD manifests 200` and so on, as metrics count them. */
  readonly outcomes: string[]
  readonly addresses: Addresses
}

/** Clients of registries as the daemon puts them together, to be closed all at once. */
export class RegistryClients {
  #closers: (() => Promise<void>)[] = []

  async create(options: RegistryClientOptions): Promise<TestRegistryClient> {
    const { timeout = 10_000, authorities = new Map(), credential, endpoints, proxyFor, network } = options
    const urls = endpoints?.map((url) => new URL(url))
    const addresses = new Addresses(urls === undefined ? new Map() : new Map([['docker.io', urls]]), options.log)
    const tls = await RegistryTls.create({
      trust: { load: async () => ({ sources: [], added: 0, problems: [] }), loaded: undefined },
      ca: authorities,
      client: new Map(),
      ownUrls: (registry) => addresses.of(registry).map(({ url }) => url),
      log: { warn: () => {} },
    })
    const http = createHttpClient({
      headerTimeout: timeout,
      idleTimeout: timeout,
      tls,
      ...(proxyFor === undefined ? {} : { proxyFor }),
      ...(network === undefined ? {} : { network }),
    })
    this.#closers.push(() => http.close())
    const outcomes: string[] = []
    const client = new AddressClient({
      http,
      authorization: new Authorization({ tokens: new TokenCache(http) }),
      findCredential: async (repository) => (typeof credential === 'function' ? credential(repository) : credential),
      observe: (event) => outcomes.push(`${event.method} ${event.kind} ${event.outcome}`),
      quota: options.quota,
      log: options.log,
    })
    return { client: new RegistryClient(new RegistrySession(addresses, client)), outcomes, addresses }
  }

  async close(): Promise<void> {
    const closers = this.#closers
    this.#closers = []
    for (const close of closers) await close()
  }
}

/** An HTTP server on loopback that answers as it is told at the moment. */
export class OddServer {
  /** `GET /v2/… <Authorization or ->` of each request. */
  readonly seen: string[] = []
  readonly #server: Server
  #port = 0
  readonly #host: string
  answer: (request: IncomingMessage, response: ServerResponse) => void

  private constructor(host: string, answer: OddServer['answer']) {
    this.#host = host
    this.answer = answer
    this.#server = createServer((request, response) => {
      this.seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? '-'}`)
      this.answer(request, response)
    })
  }

  static async start(
    answer: OddServer['answer'] = (_, response) => response.end(),
    host = '127.0.0.1',
    port = 0,
  ): Promise<OddServer> {
    const odd = new OddServer(host, answer)
    await new Promise<void>((resolve) => odd.#server.listen(port, host, resolve))
    odd.#port = (odd.#server.address() as AddressInfo).port
    return odd
  }

  /** Lets the test answer requests for tunnels, which are cut off otherwise. */
  onConnect(answer: (socket: Duplex) => void): void {
    this.#server.on('connect', (_request, socket: Duplex) => {
      socket.on('error', () => {})
      answer(socket)
    })
  }

  get port(): number {
    return this.#port
  }

  get url(): string {
    return `http://${this.#host}:${this.#port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

export async function readAll(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}
