// Makes HTTP requests inside a network namespace for a process outside of it. See http-agent.ts.
import type { AgentRequest } from './http-agent.ts'

async function ask({ url, method, headers, body }: AgentRequest): Promise<object> {
  const signal = AbortSignal.timeout(60_000)
  const response = await fetch(url, {
    method,
    headers,
    redirect: 'manual',
    signal,
    ...(body === undefined ? {} : { body }),
  })
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: await response.bytes(),
  }
}

process.on('message', (request: AgentRequest) => {
  ask(request).then(
    (value) => process.send?.({ id: request.id, value }),
    (error: unknown) => process.send?.({ id: request.id, error: reason(error) }),
  )
})
process.on('disconnect', () => process.exit(0))
process.on('SIGINT', () => {})

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}
