import type { Peer } from '../overlay/overlay.ts'
import type { JoinAnswer, JoinRequest, ReportAnswer, ReportRequest } from './messages.ts'

/** The peer is well, and refuses a forwarded question. */
export class ForwardRefusedError extends Error {
  override readonly name = 'ForwardRefusedError'
}

/**
 * Carries questions and reports to another member. Both reject when the peer cannot be reached or answers nonsense; a forwarded question rejects
 * with ForwardRefusedError if the peer refuses it, for a false signature above all.
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
