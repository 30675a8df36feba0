import type { Peer } from '../overlay/overlay.ts'
import type { JoinAnswer, JoinRequest, ReportAnswer, ReportRequest } from './messages.ts'

/** The peer is well, and does not believe that the member which a forwarded question names has asked it. */
export class UnsignedJoinError extends Error {
  override readonly name = 'UnsignedJoinError'
}

/**
 * Carries questions and reports to another member. Both reject when the peer cannot be reached or answers nonsense; a forwarded question rejects
 * with UnsignedJoinError if its signature is at fault.
 */
export interface SwarmTransport {
  join(peer: Peer, request: JoinRequest, options: { signal: AbortSignal }): Promise<JoinAnswer>
  report(peer: Peer, request: ReportRequest, options: { signal: AbortSignal }): Promise<ReportAnswer>
}

/** What answers other members. Neither throws but for the signal: what is decoded is valid. */
export interface SwarmHandler {
  handleJoin(request: JoinRequest, options: { signal: AbortSignal }): Promise<JoinAnswer>
  handleReport(request: ReportRequest): ReportAnswer
}
