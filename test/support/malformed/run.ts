import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { digestOf } from '../../../src/oci/digest.ts'
import { descriptorsOf, memoryOf, randomFrom } from '../../e2e/soak-measures.ts'
import { freePort } from '../free-port.ts'
import { createHub } from '../hub/create-hub.ts'
import { makeImage } from '../image-maker.ts'
import { localFetch, NaboProcess } from '../nabo-process.ts'
import { eventually } from '../poll.ts'
import type { HttpAnswer } from './http-answers.ts'
import type { MalformedRequest, PortName, Surroundings } from './malformed-request.ts'
import { nextMalformedRequest } from './requests.ts'
import { type Outcome, sendMalformed } from './send.ts'
import { TestMember } from '../test-member.ts'

export interface MalformedRun {
  readonly seed: number
  readonly requests: number
  readonly tell: (line: string) => void
}

export interface MalformedMeasures {
  /** Resident bytes, at equal distances over the run. */
  readonly memory: readonly number[]
  readonly descriptors: { readonly before: number; readonly after: number }
}

const SOCKETS = 64
const SAMPLES = 40
const SECRET = 'the secret of the malformed requests'
const MAX_FAILURES = 20

/**
 * Sends malformed requests to all ports of a daemon with a cluster secret. Throws if it ends, if an answer is not what its port promises, or if a
 * port does not work afterwards.
 */
export async function runMalformedRequests({ seed, requests, tell }: MalformedRun): Promise<MalformedMeasures> {
  tell(`seed ${seed}, ${requests} requests over ${SOCKETS} sockets`)
  await using target = await Target.start()
  const descriptors = () => descriptorsOf(target.nabo.pid).length
  await target.assertWorks()
  const before = descriptors()
  const memory: number[] = []
  const failures: string[] = []
  const tally = new Map<string, number>()
  const random = randomFrom(seed)
  const began = performance.now()
  let sent = 0
  const worker = async () => {
    while (sent < requests && failures.length < MAX_FAILURES) {
      const request = nextMalformedRequest(random, target.surroundings)
      sent += 1
      if (sent % Math.ceil(requests / SAMPLES) === 0) memory.push(memoryOf(target.nabo.pid))
      const outcome = await sendMalformed(request, target.surroundings.ports[request.port]).catch((cause: unknown) => {
        throw new Error(`the ${request.port} port takes no connections after ${sent} requests; seed ${seed}`, { cause })
      })
      const failure = failureOf(request, outcome)
      if (failure !== undefined) failures.push(`${failure}: ${described(request)}`)
      const name = `${request.port} ${outcomeName(outcome)}`
      tally.set(name, (tally.get(name) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: SOCKETS }, worker))
  const counts = [...tally].map(([name, count]) => `${name}: ${count}`).sort()
  tell(`${Math.round((performance.now() - began) / 1000)} s; ${counts.join(', ')}`)
  assert.deepEqual(failures, [], `seed ${seed}`)
  await target.assertWorks()
  await eventually('the connections are closed', () => descriptors() <= before + SOCKETS / 8)
  assert.equal(target.nabo.exit, undefined)
  assert.deepEqual(
    target.nabo.logs.filter((line) => line.includes('"level":50') || !line.startsWith('{')),
    [],
  )
  return { memory, descriptors: { before, after: descriptors() } }
}

function outcomeName(outcome: Outcome): string {
  return outcome.type === 'answered' ? String(outcome.answers.at(-1)?.status) : outcome.type
}

function failureOf({ port, isHead }: MalformedRequest, outcome: Outcome): string | undefined {
  if (outcome.type === 'failed') return outcome.why
  if (outcome.type === 'closed') return undefined
  for (const answer of outcome.answers) {
    const text = answer.body.toString('utf8')
    if (/<html|<!doctype|node_modules|\n\s+at |\.ts:\d/i.test(text))
      return `it tells of its insides: ${text.slice(0, 300)}`
    if (answer.status === 500 || answer.status === 101) return `${answer.status} ${text.slice(0, 300)}`
    const isPromised = (port === 'mirror' || port === 'peer') && answer.status >= 400 && !isHead
    if (isPromised && !isOciError(answer)) return `no OCI error: ${answer.status} ${text.slice(0, 300)}`
  }
  return undefined
}

function isOciError({ headers, body }: HttpAnswer): boolean {
  if (!/^application\/json\b/.test(headers.get('content-type') ?? '')) return false
  try {
    const { errors } = JSON.parse(body.toString('utf8')) as { errors: { code: unknown; message: unknown }[] }
    return (
      errors.length > 0 &&
      errors.every(({ code, message }) => /^[A-Z_]+$/.test(String(code)) && typeof message === 'string')
    )
  } catch {
    return false
  }
}

function described({ port, kind, ending, bytes }: MalformedRequest): string {
  return `${port}, ${kind}, ${ending}: ${JSON.stringify(Buffer.concat(bytes).toString('latin1').slice(0, 400))}`
}

/** A daemon as it is installed, with a directory store, a secret and a registry that this process serves. */
class Target implements AsyncDisposable {
  readonly nabo: NaboProcess
  readonly surroundings: Surroundings
  readonly #digest: string
  readonly #cleanups: AsyncDisposableStack

  private constructor(nabo: NaboProcess, surroundings: Surroundings, cleanups: AsyncDisposableStack) {
    this.nabo = nabo
    this.surroundings = surroundings
    this.#digest = surroundings.blobPath.slice(surroundings.blobPath.lastIndexOf('/') + 1)
    this.#cleanups = cleanups
  }

  static async start(): Promise<Target> {
    await using cleanups = new AsyncDisposableStack()
    const directory = await mkdtemp(join(tmpdir(), 'nabo-malformed-'))
    cleanups.defer(() => rm(directory, { recursive: true, force: true }))
    const hub = cleanups.use(await createHub({ tokens: false }))
    const image = makeImage({ layers: [{ size: 20_000, seed: 'malformed' }] })
    await hub.publish('app', '1', image)
    // Invented registries are asked through it: their names are resolved nowhere, and nothing leaves this machine.
    const proxy = cleanups.use(createServer((_request, response) => response.writeHead(502).end()))
    proxy.on('connect', (_request, socket) => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'))
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    const proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
    await writeFile(join(directory, 'secret'), `${SECRET}\n`, { mode: 0o600 })
    const [router, metrics] = [await freePort(), await freePort()]
    const nabo = new NaboProcess({
      flags: [
        ...['mirror', 'peer', 'admin'].flatMap((name) => [`--${name}-addr`, '127.0.0.1:0']),
        ...['--router-addr', `127.0.0.1:${router}`, '--metrics-addr', `127.0.0.1:${metrics}`],
        ...['--store', 'directory', '--cache-dir', join(directory, 'cache')],
        ...['--cluster-secret-file', join(directory, 'secret'), '--upstream', `docker.io=${hub.registryUrl}`],
      ],
      env: { PATH: process.env['PATH'], HTTP_PROXY: proxyUrl, HTTPS_PROXY: proxyUrl, NO_PROXY: '127.0.0.1' },
      cwd: directory,
      fetch: localFetch,
    })
    cleanups.defer(async () => void (await nabo.stop()))
    await nabo.ready()
    const { mirror, peer, admin } = await nabo.listening()
    const portOf = ([address = '']: readonly string[]) => Number(address.slice(address.lastIndexOf(':') + 1))
    const status = await fetch(`http://${admin[0]}/api/v1/status`)
    const { self } = (await status.json()) as { self: { id: string } }
    const member = await TestMember.create([SECRET])
    // From now on the daemon knows the member, and the member the daemon's incarnation.
    const introduction = await member.ask({ id: self.id, url: `http://${peer[0]}` }, '/v2/')
    assert.equal(introduction.status, 200)
    const surroundings: Surroundings = {
      ports: { mirror: portOf(mirror), peer: portOf(peer), admin: portOf(admin), metrics, router },
      blobPath: `/v2/library/app/blobs/${image.layers[0]?.descriptor.digest}`,
      prove: ({ method, target, headers = {}, body = new Uint8Array() }) =>
        member.authentication.signer.sign(self.id, { method, target, headers, body })?.headers['authorization'] ?? '',
    }
    return new Target(nabo, surroundings, cleanups.move())
  }

  /** Each port does what it is for. */
  async assertWorks(): Promise<void> {
    const { blobPath, prove, ports } = this.surroundings
    assert.equal(digestOf(await this.#get('mirror', blobPath)), this.#digest)
    const authorization = prove({ method: 'GET', target: blobPath })
    assert.equal(digestOf(await this.#get('peer', blobPath, { authorization })), this.#digest)
    await this.#get('admin', '/livez')
    await this.#get('admin', '/readyz')
    await this.#get('metrics', '/metrics')
    await eventually('the router greets', () => greets(ports.router), { everyMs: 1_000 })
  }

  async #get(port: PortName, path: string, headers: Readonly<Record<string, string>> = {}): Promise<Uint8Array> {
    const response = await fetch(`http://127.0.0.1:${this.surroundings.ports[port]}${path}`, { headers })
    const body = new Uint8Array(await response.arrayBuffer())
    assert.equal(response.status, 200, `${port} ${path}: ${Buffer.from(body).toString('utf8').slice(0, 300)}`)
    return body
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanups.disposeAsync()
  }
}

/** Whether a libp2p listener names its protocol in return: https://github.com/multiformats/multistream-select */
async function greets(port: number): Promise<boolean> {
  const greeting = '\x13/multistream/1.0.0\n'
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(greeting)
  const timer = setTimeout(() => socket.destroy(), 5_000)
  try {
    let said = ''
    socket.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1')
      if (said.length >= greeting.length) socket.destroy()
    })
    await once(socket, 'close')
    return said.startsWith(greeting)
  } finally {
    clearTimeout(timer)
  }
}
