import type { IncomingMessage, ServerResponse } from 'node:http'

import type { Digest } from '../../../src/oci/digest.ts'

/** How one origin misbehaves. All absent: it does not. */
export interface OriginFault {
  /** Refuses connections and drops the ones there are. */
  readonly down?: boolean
  /** Accepts requests and never answers. */
  readonly hang?: boolean
  /** Answers every request with this status and a JSON error, or a bare text. */
  readonly status?: number
  readonly text?: string
  /** Waits this long before each answer. */
  readonly latencyMs?: number
  /** Sends bodies at this rate, each connection by itself. */
  readonly bytesPerSecond?: number
}

/** How the hub misbehaves now. */
export interface HubFaults {
  readonly registry: OriginFault
  readonly auth: OriginFault
  readonly cdn: OriginFault
  /** Ends a blob's body with FIN after so many bytes, as often as `times` says (always if absent). */
  readonly cut: { readonly afterBytes: number; readonly times?: number } | undefined
  /** Blobs whose bytes come out wrong, with the right length. */
  readonly corrupt: readonly Digest[]
  /** So many of the next redirects lead to a signature that has expired. */
  readonly expiredSignatures: number
  /** Every manifest GET is over the quota, or every request over the abuse limit. */
  readonly limited: 'quota' | 'abuse' | undefined
  /** Added to the clock that `Date` is taken from. */
  readonly dateOffsetMs: number
}

export const NO_FAULTS: HubFaults = {
  registry: {},
  auth: {},
  cdn: {},
  cut: undefined,
  corrupt: [],
  expiredSignatures: 0,
  limited: undefined,
  dateOffsetMs: 0,
}

/** The faults as they are now. The origins read them at each request, and use up those that are counted. */
export class FaultState {
  #faults: HubFaults = NO_FAULTS

  get now(): HubFaults {
    return this.#faults
  }

  set(faults: Partial<HubFaults>): void {
    this.#faults = { ...this.#faults, ...faults }
  }

  clear(): void {
    this.#faults = NO_FAULTS
  }

  /** After how many bytes this body is to be cut; undefined for none. */
  takeCut(): number | undefined {
    const { cut } = this.#faults
    if (cut === undefined) return undefined
    if (cut.times !== undefined) {
      this.set({ cut: cut.times > 1 ? { ...cut, times: cut.times - 1 } : undefined })
    }
    return cut.afterBytes
  }

  takeExpiredSignature(): boolean {
    const { expiredSignatures } = this.#faults
    if (expiredSignatures > 0) this.set({ expiredSignatures: expiredSignatures - 1 })
    return expiredSignatures > 0
  }
}

/** Plays an origin's fault on a request. True if that was the whole answer. */
export async function playFault(fault: OriginFault, req: IncomingMessage, res: ServerResponse): Promise<boolean> {
  if (fault.hang === true) {
    await new Promise<void>((resolve) => res.once('close', () => resolve()))
    return true
  }
  if (fault.latencyMs !== undefined) {
    await new Promise((resolve) => setTimeout(resolve, fault.latencyMs))
    if (res.destroyed) return true
  }
  if (fault.status === undefined) return false
  const body = fault.text ?? JSON.stringify({ errors: [{ code: 'UNKNOWN', message: `fault ${fault.status}` }] })
  const type = fault.text === undefined ? 'application/json' : 'text/plain'
  res.writeHead(fault.status, { 'content-type': type, 'content-length': Buffer.byteLength(body) })
  res.end(req.method === 'HEAD' ? undefined : body)
  return true
}
