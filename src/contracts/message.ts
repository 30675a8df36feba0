import { z } from 'zod'

/** The JSON body of a request or an answer. The schema decodes JSON values to `T` and encodes `T` to JSON values. */
export interface Message<T> {
  readonly schema: z.ZodType<T>
  /** Longest valid body, in bytes of JSON. */
  readonly maxBytes: number
}

/** A body that this version does not accept, or a value that its message cannot carry. */
export class InvalidMessage extends Error {
  override readonly name = 'InvalidMessage'
}

/** The body that carries a value. Throws {@link InvalidMessage} if the schema has no room for the value. */
export function encodeMessage<T>({ schema, maxBytes }: Message<T>, value: T): Buffer {
  const encoded = z.safeEncode(schema, value)
  if (!encoded.success) throw new InvalidMessage('the value does not fit its message', { cause: encoded.error })
  const body = Buffer.from(JSON.stringify(encoded.data))
  if (body.length > maxBytes) throw new InvalidMessage(`the message is longer than ${maxBytes} bytes`)
  return body
}

/** Reads a body. Throws {@link InvalidMessage} with a sentence that names the first wrong field. */
export function decodeMessage<T>({ schema, maxBytes }: Message<T>, body: Uint8Array): T {
  if (body.length > maxBytes) throw new InvalidMessage(`the message is longer than ${maxBytes} bytes`)
  return decodeJson(schema, body)
}

/** Like {@link decodeMessage}, for a body whose length was checked while it was read. */
export function decodeJson<T>(schema: z.ZodType<T>, body: Uint8Array): T {
  let json: unknown
  try {
    json = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString())
  } catch (cause) {
    throw new InvalidMessage('the message is not JSON', { cause })
  }
  const parsed = z.safeDecode(schema, json)
  if (parsed.success) return parsed.data
  throw new InvalidMessage(describeIssue(parsed.error), { cause: parsed.error })
}

/** The first issue, with the path of its field. */
export function describeIssue({ issues }: z.core.$ZodError): string {
  const [issue] = issues
  const field = issue?.path.join('.') ?? ''
  return `${field === '' ? 'the message' : field}: ${issue?.message ?? 'is not understood'}`
}
