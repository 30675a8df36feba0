import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

import { readBounded } from '../../../src/async/read-bounded.ts'
import { ANSWER_PROOF_HEADER, BODY_HEADER, hashBody } from '../../../src/authentication/proofs.ts'
import type { RequestVerifier } from '../../../src/authentication/request-verifier.ts'
import { decodeMessage, encodeMessage } from '../../../src/contracts/message.ts'
import { NODE_PROTOCOL } from '../../../src/contracts/node-protocol.ts'
import type { IndexHandler } from '../../../src/providers/index-transport.ts'

const { announce, lookup } = NODE_PROTOCOL

export interface IndexParts {
  readonly verifier: RequestVerifier
  readonly index: IndexHandler
}

/** A peer listener for the messages of the index alone, without Fastify. Resolves when it listens on a free port of 127.0.0.1. */
export async function listen(parts: () => IndexParts): Promise<Server> {
  const server = createServer((request, response) => {
    answer(request, response, parts()).catch((error: unknown) => response.writeHead(400).end(String(error)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { verifier, index }: IndexParts,
): Promise<void> {
  const header = (name: string) => request.headers[name]?.toString()
  const { method = '', url: target = '', socket } = request
  const verified = verifier.verify({ method, target, header }, socket.remoteAddress ?? '')
  if (verified.type === 'refused') throw new Error(verified.message)
  const send = (status: number, headers: Record<string, string>, bytes: Uint8Array) => {
    const sent: Record<string, string> = { 'content-length': String(bytes.length), ...headers }
    const proof = verified.prove(status, (name) => sent[name])
    response.writeHead(status, { ...sent, [ANSWER_PROOF_HEADER]: proof }).end(bytes)
  }
  if (verified.type === 'out-of-step') {
    request.resume()
    return send(409, verified.headers, new Uint8Array())
  }
  const body = await readBounded(request, announce.request.maxBytes)
  if (hashBody(body) !== verified.bodyHash) throw new Error('another body')
  const bytes =
    target === announce.path
      ? encodeMessage(announce.answer, index.handleAnnounce(decodeMessage(announce.request, body), verified.sender))
      : encodeMessage(lookup.answer, index.handleLookup(decodeMessage(lookup.request, body)))
  send(200, { 'content-type': 'application/json', [BODY_HEADER]: hashBody(bytes) }, bytes)
}
