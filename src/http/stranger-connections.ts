import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

import { BodyBudget, type BodyLimits } from './body-budget.ts'
import { type StrangerRefusal, type StrangerLimits, StrangerTable } from '../strangers/stranger-table.ts'
import type { Log } from '../telemetry/log.ts'
import { second } from '../time/units.ts'

export interface StrangerPatience {
  /** Time from the connection, or from the end of an answer, to the first byte of a request. */
  readonly firstByte: number
  /** Time to the end of the request's head. */
  readonly head: number
}

export interface StrangerConnectionsOptions {
  readonly log: Pick<Log, 'warn'>
  readonly patience?: StrangerPatience
  readonly limits?: StrangerLimits
  /** Bytes of the bodies of strangers' open requests. */
  readonly maxBodyBytes?: number
  /** Bytes of the bodies of members' open requests. */
  readonly memberBodies?: BodyLimits
}

/** A member writes its request as soon as it is connected, in one segment: 5 s are several retransmissions, 10 s two lost segments of a long head. */
const PATIENCE: StrangerPatience = { firstByte: 5 * second, head: 10 * second }

const LIMITS: StrangerLimits = {
  // Many nodes may have one address (NAT, or a lab on loopback) and start at once. A connection counts for one round trip, until its proof.
  perAddress: 128,
  // A quarter of the listener's 4,096: the others are members' alone. With heads of 16 KiB, strangers hold 16 MiB of heads at most.
  total: 1024,
}

/** Fastify keeps a body until it is whole. The longest message has 2 MiB: a cluster without a secret may receive 32 of them at once. */
const MAX_BODY_BYTES = 64 * 2 ** 20
/** One host cannot take all; 150 nodes behind an address may send their longest announcement, 210 KB, at once. */
const MEMBER_BODIES: BodyLimits = { perAddress: 32 * 2 ** 20, total: 256 * 2 ** 20 }

interface Connection {
  /** The responses that have not ended. */
  readonly responses: Set<ServerResponse>
  hasSentRequest: boolean
  timer: NodeJS.Timeout | undefined
}

/**
 * The connections of the peer listener that have not proved membership. A connection is a stranger's until {@link recognise} is called for it.
 * Strangers get little time for a request and few connections; an answer under way is never cut. In a cluster without a secret every
 * connection stays a stranger's.
 */
export class StrangerConnections {
  readonly #table: StrangerTable<Socket>
  readonly #patience: StrangerPatience
  readonly #strangerBodies: BodyBudget
  readonly #memberBodies: BodyBudget
  readonly #connections = new Map<Socket, Connection>()

  constructor({
    log,
    patience = PATIENCE,
    limits = LIMITS,
    maxBodyBytes = MAX_BODY_BYTES,
    memberBodies = MEMBER_BODIES,
  }: StrangerConnectionsOptions) {
    this.#patience = patience
    this.#strangerBodies = new BodyBudget({ perAddress: maxBodyBytes, total: maxBodyBytes })
    this.#memberBodies = new BodyBudget(memberBodies)
    this.#table = new StrangerTable({
      listener: 'peer',
      limits,
      log,
      // What waits for a stranger that reads nothing is over for this node: else such connections would keep members out.
      isIdle: (socket) => [...(this.#connections.get(socket)?.responses ?? [])].every((one) => one.writableEnded),
      close: (socket) => socket.destroy(),
    })
  }

  get size(): number {
    return this.#table.size
  }

  get refused(): Readonly<Record<StrangerRefusal, number>> {
    return this.#table.refused
  }

  /** Limits the connections of a server; the servers of several addresses share the limits. */
  guard(server: Server): void {
    server.on('connection', (socket) => this.#admit(socket))
    // Before the route, which may write the head of the answer.
    server.prependListener('request', (request, response) => this.#begin(request, response))
    server.on('drop', () => this.#table.note('full'))
  }

  /** Ends the limits for a connection, on which a request has proved membership. */
  recognise(socket: Socket): void {
    const connection = this.#connections.get(socket)
    if (connection === undefined) return
    this.#forget(socket, connection)
    for (const response of connection.responses) if (!response.headersSent) response.removeHeader('keep-alive')
  }

  /**
   * Whether the body of a request may be read: false if the bodies of the open requests of all strangers, or of members, would exceed their
   * limit. `bytes` is its length, or the most that it may have.
   */
  acceptsBody(response: ServerResponse, bytes: number): boolean {
    if (!this.#connections.has(response.req.socket)) return this.#memberBodies.take(response, bytes)
    if (this.#strangerBodies.take(response, bytes)) return true
    this.#table.note('bytes')
    return false
  }

  /** Why members possibly could not connect in the last 10 s; undefined if they could. */
  whyClosedToMembers(): string | undefined {
    return this.#table.keepsMembersOut()
      ? 'the peer listener refuses connections of members, since strangers have too many: the log names their address'
      : undefined
  }

  #admit(socket: Socket): void {
    if (!this.#table.admit(socket, socket.remoteAddress)) {
      socket.destroy()
      return
    }
    const connection: Connection = { responses: new Set(), hasSentRequest: false, timer: undefined }
    this.#connections.set(socket, connection)
    socket.once('close', () => this.#forget(socket, connection))
    this.#awaitRequest(socket, connection)
  }

  #forget(socket: Socket, connection: Connection): void {
    clearTimeout(connection.timer)
    this.#connections.delete(socket)
    this.#table.remove(socket)
  }

  #begin({ socket }: IncomingMessage, response: ServerResponse): void {
    const connection = this.#connections.get(socket)
    if (connection === undefined) return
    clearTimeout(connection.timer)
    connection.hasSentRequest = true
    connection.responses.add(response)
    // Node would promise the keep-alive time of members; a client that believed it would lose requests on a connection that closes.
    response.setHeader('keep-alive', `timeout=${Math.floor(this.#patience.firstByte / second)}`)
    response.once('close', () => {
      connection.responses.delete(response)
      if (connection.responses.size === 0 && this.#connections.has(socket)) this.#awaitRequest(socket, connection)
    })
  }

  /** Closes the connection if no byte comes within `firstByte`, or no head within `head`. */
  #awaitRequest(socket: Socket, connection: Connection): void {
    const { firstByte, head } = this.#patience
    const before = socket.bytesRead
    const close = () => {
      if (!connection.hasSentRequest) this.#table.note('silent')
      socket.destroy()
    }
    connection.timer = setTimeout(() => {
      if (socket.bytesRead === before) return close()
      connection.timer = setTimeout(close, head - firstByte).unref()
    }, firstByte).unref()
  }
}
