import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

import { readBounded } from '../../../src/async/read-bounded.ts'
import { decodeMessage, encodeMessage } from '../../../src/contracts/message.ts'
import { NODE_PROTOCOL } from '../../../src/contracts/node-protocol.ts'
import type { IndexHandler } from '../../../src/providers/index-transport.ts'
import { refuseRequest } from '../../../src/peers/request-proof.ts'

const { announce, lookup } = NODE_PROTOCOL

/** A peer listener for the messages of the index alone, without Fastify. Resolves when it listens on a free port of 127.0.0.1. */
export async function listen(key: Uint8Array, handler: () => IndexHandler): Promise<Server> {
  const server = createServer((request, response) => {
    answer(request, key, handler()).then(
      (body) => response.writeHead(200, { 'content-type': 'application/json' }).end(body),
      (error: unknown) => refuse(response, error),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

async function answer(request: IncomingMessage, key: Uint8Array, handler: IndexHandler): Promise<Uint8Array> {
  const body = await readBounded(request, announce.request.maxBytes)
  const proven = { method: request.method ?? '', target: request.url ?? '', body }
  const refusal = refuseRequest([key], request.headers.authorization, proven)
  if (refusal !== undefined) throw new Error(refusal)
  if (request.url === announce.path)
    return encodeMessage(announce.answer, handler.handleAnnounce(decodeMessage(announce.request, body)))
  return encodeMessage(lookup.answer, handler.handleLookup(decodeMessage(lookup.request, body)))
}

function refuse(response: ServerResponse, error: unknown): void {
  response.writeHead(400).end(String(error))
}
