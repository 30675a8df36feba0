import type { z } from 'zod'

import type { OciErrorCode } from '../oci/errors.ts'
import type { Message } from './message.ts'

/** A call of the admin API. The daemon's routes, the client of the commands and the OpenAPI document are derived from it. */
interface Call<Query, Body> {
  readonly method: 'GET' | 'POST'
  readonly path: `/${string}`
  /** One sentence for the OpenAPI document. */
  readonly summary: string
  /** `operator`: answered on the Unix socket only. `anyone`: on TCP as well, where answers are about public content alone. */
  readonly audience: 'anyone' | 'operator'
  readonly query?: z.ZodType<Query>
  readonly body?: Message<Body>
  readonly errors: readonly OciErrorCode[]
}

/** A call that is answered with one JSON value. */
export interface JsonCall<Query, Body, Answer> extends Call<Query, Body> {
  readonly format: 'json'
  readonly answer: z.ZodType<Answer>
  /** Statuses of an answer; 200 if absent. */
  readonly statuses?: { readonly all: readonly number[]; of(answer: Answer): number }
}

/** A call that is answered with one line of JSON for each event. */
export interface LinesCall<Query, Body, Line> extends Call<Query, Body> {
  readonly format: 'lines'
  readonly line: z.ZodType<Line>
}

/** A call that is answered with text, for people or for Prometheus. */
export interface TextCall extends Call<unknown, unknown> {
  readonly format: 'text'
}

/** A call of any format, for code that handles all of them. */
export type AdminCall = JsonCall<unknown, unknown, unknown> | LinesCall<unknown, unknown, unknown> | TextCall

export function jsonCall<Query, Body, Answer>(
  call: Omit<JsonCall<Query, Body, Answer>, 'format'>,
): JsonCall<Query, Body, Answer> {
  return { format: 'json', ...call }
}

export function linesCall<Query, Body, Line>(
  call: Omit<LinesCall<Query, Body, Line>, 'format'>,
): LinesCall<Query, Body, Line> {
  return { format: 'lines', ...call }
}

export function textCall(call: Omit<TextCall, 'format'>): TextCall {
  return { format: 'text', ...call }
}

/** The parsed parts of a request. */
export interface AdminRequest<Query, Body> {
  readonly query: Query
  readonly body: Body
  /** False on TCP: only public content may be revealed, and nothing that spends a quota may be started. */
  readonly isOperator: boolean
  /** Fires when the client closes the connection. */
  readonly signal: AbortSignal
}

/** Handles one call. Throws OciError for a refusal. */
export type AdminHandler<Contract> =
  Contract extends JsonCall<infer Query, infer Body, infer Answer>
    ? (request: AdminRequest<Query, Body>) => Answer | Promise<Answer>
    : Contract extends LinesCall<infer Query, infer Body, infer Line>
      ? (request: AdminRequest<Query, Body>, write: (line: Line) => void) => Promise<void>
      : (request: AdminRequest<unknown, unknown>) => TextAnswer | Promise<TextAnswer>

export interface TextAnswer {
  readonly contentType: string
  readonly text: string
}
