import { type Server, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

import { OciError } from '../oci/errors.ts'
import { second } from '../time/units.ts'
import type { OpenRequests } from './open-requests.ts'

/** Time for a client to read the refusal and to close its connection; then the connection is destroyed. */
const LINGER = 1 * second

const HEAD = Buffer.from('HEAD ')

const STATUS_BY_ERROR: Readonly<Record<string, { status: number; message: string }>> = {
  HPE_HEADER_OVERFLOW: { status: 431, message: 'the URL and headers are too long' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: { status: 413, message: 'the chunk extensions are too long' },
  // Not 408: containerd repeats the request at once.
  ERR_HTTP_REQUEST_TIMEOUT: { status: 400, message: 'the request did not come in time' },
}

/** Answers bytes that never become a request (invalid HTTP, CONNECT, an unknown Expect) with an OCI error. */
export function refuseInvalidRequests(server: Server, open: OpenRequests): void {
  server.on('clientError', (error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket) => {
    // During an answer, more bytes would become part of its body.
    if (!socket.writable || open.has(socket)) return socket.destroy()
    // A client with an idle connection would take this for the answer to its next request.
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && (socket as Socket).bytesRead === 0) return socket.destroy()
    const { status, message } = STATUS_BY_ERROR[error.code ?? ''] ?? {
      status: 400,
      message: 'the request is not valid HTTP',
    }
    // The parser has not told the method. Where the packet begins with it, the answer to a HEAD gets no body.
    const isHead = error.rawPacket?.subarray(0, HEAD.length).equals(HEAD) === true
    refuse(socket, new OciError('NOT_FOUND', { status, message }), isHead)
  })
  server.on('connect', (_request, socket) => {
    refuse(socket, new OciError('UNSUPPORTED', { message: 'only pulls are served here' }))
  })
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))
}

function refuse(socket: Duplex, error: OciError, isHead = false): void {
  const body = error.body()
  const lines = [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  const timer = setTimeout(() => socket.destroy(), LINGER)
  timer.unref()
  socket.once('close', () => clearTimeout(timer))
  socket.on('error', () => {})
  // Closing with unread bytes would reset the connection before the client has read the refusal.
  socket.resume()
  socket.end(`${lines.join('\r\n')}\r\n\r\n${isHead ? '' : body}`)
}
