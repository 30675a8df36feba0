import { type IncomingHttpHeaders, type Server, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface PassingRequest {
  method: string
  target: string
  headers: IncomingHttpHeaders
  body: Buffer
}

export interface PassingAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
}

/** An attacker on the path between two nodes: a proxy that records everything and may change it. */
export class PathAttacker {
  readonly requests: PassingRequest[] = []
  readonly answers: PassingAnswer[] = []
  /** Answers in place of the target, if it gives something back. */
  onRequest: (request: PassingRequest) => PassingAnswer | undefined = () => undefined
  onAnswer: (answer: PassingAnswer) => void = () => {}
  /** `127.0.0.1:7951`: where the requests go. */
  target: string
  readonly #server: Server

  private constructor(target: string, server: Server) {
    this.target = target
    this.#server = server
  }

  static async open(target: string): Promise<PathAttacker> {
    const server = createServer()
    const attacker = new PathAttacker(target, server)
    server.on('request', (incoming, response) => {
      void (async () => {
        const passing: PassingRequest = {
          method: incoming.method ?? '',
          target: incoming.url ?? '',
          headers: { ...incoming.headers },
          body: await bytesOf(incoming),
        }
        attacker.requests.push(structuredClone(passing))
        const answer = attacker.onRequest(passing) ?? (await attacker.send(passing))
        attacker.answers.push(structuredClone(answer))
        attacker.onAnswer(answer)
        response.writeHead(answer.status, answer.headers).end(answer.body)
      })().catch(() => response.destroy())
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return attacker
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Sends a request that was recorded, perhaps elsewhere. */
  send({ method, target, headers, body }: PassingRequest, to = this.target): Promise<PassingAnswer> {
    return new Promise((resolve, reject) => {
      const [host, port] = to.split(':')
      const outgoing = request({ host, port, method, path: target, headers, agent: false }, (answer) => {
        bytesOf(answer).then(
          (body) => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body }),
          reject,
        )
      })
      outgoing.on('error', reject)
      outgoing.end(body)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}
