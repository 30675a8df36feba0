import type { ServerResponse } from 'node:http'

import type { FastifyReply, FastifyRequest } from 'fastify'

import { ANSWER_PROOF_HEADER, hashBody } from '../authentication/proofs.ts'
import type { ProveAnswer, RequestVerifier } from '../authentication/request-verifier.ts'
import type { MessageSender } from '../membership/message-sender.ts'
import { OciError } from '../oci/errors.ts'
import { addressKey } from '../overlay/host-port.ts'

/** A member that sent a request, and the SHA-256 of the body that its proof covers, hexadecimal. */
export interface AuthenticatedSender {
  readonly sender: MessageSender
  readonly bodyHash: string
}

export interface PeerAuthenticationOptions {
  readonly verifier: Pick<RequestVerifier, 'verify'>
  /** Whether the cluster has a secret. Without one, reads need no proof. */
  readonly hasSecret: boolean
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the peer listener; undefined for an anonymous reader in a cluster without a secret. */
    authenticated: AuthenticatedSender | undefined
  }
}

/**
 * Verifies the proof of a request before its body is read, and adds a proof to the answer. Throws OciError DENIED: 403, or a proved 409 if the
 * sender may send the request again.
 */
export function authenticate(
  request: FastifyRequest,
  { raw: response }: Pick<FastifyReply, 'raw'>,
  { verifier, hasSecret }: PeerAuthenticationOptions,
): void {
  const { method = '', url: target = '', headers, socket } = request.raw
  const isRead = method === 'GET' || method === 'HEAD'
  if (headers.authorization === undefined && isRead && !hasSecret) return
  const header = (name: string) => {
    const value = headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }
  const verified = verifier.verify({ method, target, header }, addressKey(socket.remoteAddress))
  switch (verified.type) {
    case 'accepted':
      proveAnswer(response, verified.prove)
      request.authenticated = verified
      return
    case 'out-of-step':
      proveAnswer(response, verified.prove)
      throw new OciError('DENIED', {
        status: 409,
        message: 'the request names another incarnation of this node, or a counter that was used or is too old',
        headers: verified.headers,
      })
    case 'refused':
      throw new OciError('DENIED', { message: verified.message })
  }
}

/** Throws OciError unless the body of a request is the one that its proof covers. */
export function requireProvenBody({ authenticated, body }: FastifyRequest): void {
  const bytes = (body as Uint8Array | undefined) ?? new Uint8Array()
  if (authenticated?.bodyHash !== hashBody(bytes))
    throw new OciError('DENIED', { message: 'the body is not the one that the proof covers' })
}

/** Adds the proof to the head of an answer at the moment at which the head is written: no header changes later. */
function proveAnswer(response: ServerResponse, prove: ProveAnswer): void {
  const writeHead = response.writeHead.bind(response)
  const writeProvedHead = (status: number, headers: Readonly<Record<string, string | number | string[]>> = {}) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    const header = (name: string) => {
      const value = response.getHeader(name)
      return value === undefined ? undefined : String(value)
    }
    response.setHeader(ANSWER_PROOF_HEADER, prove(status, header))
    return writeHead(status)
  }
  response.writeHead = writeProvedHead as ServerResponse['writeHead']
}
