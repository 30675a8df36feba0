import type { IncomingMessage, ServerResponse } from 'node:http'

/** Answers with a JSON document; a HEAD gets its headers. */
export function sendJson(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  document: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  sendText(req, res, status, JSON.stringify(document), { 'content-type': 'application/json', ...headers })
}

/** Answers with an error in the words of the distribution specification. */
export function sendOciError(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  sendJson(req, res, status, { errors: [{ code, message, detail: null }] }, headers)
}

export function sendText(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  res.writeHead(status, { 'content-type': 'text/plain', ...headers, 'content-length': Buffer.byteLength(text) })
  res.end(req.method === 'HEAD' ? undefined : text)
}
