import type { Random } from './messages.ts'

export type PortName = 'mirror' | 'peer' | 'admin' | 'metrics' | 'router'

/** What is known of the daemon that the requests are for. */
export interface Surroundings {
  readonly ports: Readonly<Record<PortName, number>>
  /** A blob that the daemon holds, and its repository. */
  readonly blobPath: string
  /** The `Authorization` header of a member for a request to the peer listener. */
  readonly prove: (request: {
    readonly method: string
    readonly target: string
    readonly headers?: Readonly<Record<string, string>>
    readonly body?: Uint8Array
  }) => string
}

/** One connection with what is sent over it. */
export interface MalformedRequest {
  readonly port: PortName
  readonly kind: string
  /** Written one after the other, each in a packet of its own where the kernel allows. */
  readonly bytes: readonly Buffer[]
  /** `read` waits for an answer, `half-close` says first that no more will come, `leave` and `reset` wait for nothing. */
  readonly ending: 'read' | 'half-close' | 'leave' | 'reset'
  readonly isHead: boolean
}

export type Draft = Partial<Omit<MalformedRequest, 'port' | 'kind' | 'bytes'>> & {
  readonly bytes: readonly (Buffer | string)[] | Buffer | string
}
/** Makes the bytes of one kind of malformed request. */
export type Kind = (random: Random, port: PortName, around: Surroundings) => Draft
