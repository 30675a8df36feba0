import { once } from 'node:events'

import { z } from 'zod'

import type { Digest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { parsePlatform } from '../oci/platform.ts'
import { type ImageReference, type IsMirror, parseImageReference } from '../oci/reference.ts'
import { withDeadline } from '../time/deadline.ts'
import { second } from '../time/units.ts'
import {
  MAX_REFERENCE_LENGTH,
  MAX_ZONES,
  namespace as namespaceSchema,
  zone as zoneSchema,
} from '../contracts/node/warm.ts'
import { formatReference } from '../warm/messages.ts'
import type { NodeProgress, RolloutOrder } from '../warm/rollout.ts'
import { readCommand, requireCommand } from './commands.ts'
import type { Exchange } from './exchange.ts'

export const WARM_COMMAND_PATH = '/api/v1/warm'

export interface WarmCommandOptions {
  /** By which names references name the mirror of this node: to other nodes, these names say nothing. */
  readonly isMirror: IsMirror
  /** What a reference with a tag stands for now. Throws OciError. */
  resolve(reference: ImageReference, options: { signal: AbortSignal }): Promise<Digest>
  /** Brings an image to nodes; see Rollout. */
  rollOut(order: RolloutOrder, tell: (progress: NodeProgress) => void, options: { signal: AbortSignal }): Promise<void>
}

const MAX_NODES = 1_000
const MAX_COMMAND_BYTES = 512 * 1024
/** Longer than a mirror request may take. */
const RESOLVE_TIMEOUT = 15 * second
/** Whoever reads knows from it that this node is well. */
const HEARTBEAT = 3 * second
/** So many lines that nobody reads are for nobody. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024
const MAX_AT_A_TIME = 8

const orderSchema = (isMirror: IsMirror) =>
  z.strictObject({
    reference: z
      .string()
      .max(MAX_REFERENCE_LENGTH)
      .transform((text, context) => parsed(parseImageReference(text, isMirror), 'is not an image reference', context))
      .transform(withTag),
    platform: z
      .string()
      .max(100)
      .transform((text, context) => parsed(parsePlatform(text), 'is not a platform such as linux/amd64', context))
      .optional(),
    namespace: namespaceSchema.optional(),
    zones: z.array(zoneSchema).min(1).max(MAX_ZONES).optional(),
    nodes: z.array(z.string().min(1).max(300)).min(1).max(MAX_NODES).optional(),
    parallel: z.int().min(1).max(100_000).optional(),
  })

/** `POST /api/v1/warm`: has nodes pull an image, and tells how far they are in lines of JSON. Whoever leaves takes the order back. */
export function createWarmCommand(options: WarmCommandOptions): (exchange: Exchange) => Promise<void> {
  const schema = orderSchema(options.isMirror)
  let running = 0
  return async (exchange) => {
    requireCommand(exchange)
    const asked = await readCommand(exchange, schema, MAX_COMMAND_BYTES)
    if (running >= MAX_AT_A_TIME)
      throw new OciError('UNAVAILABLE', { message: `${MAX_AT_A_TIME} images are being warmed from here already` })
    running += 1
    try {
      // Once for all: every node is to have the same.
      const digest = await withDeadline(RESOLVE_TIMEOUT, 'resolving', exchange.signal, (signal) =>
        options.resolve(asked.reference, { signal }),
      )
      await stream(options, exchange, { ...asked, digest })
    } finally {
      running -= 1
    }
  }
}

async function stream(options: WarmCommandOptions, exchange: Exchange, order: RolloutOrder): Promise<void> {
  const { response, signal } = exchange
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
  const say = (line: object) => {
    if (response.writableLength > MAX_UNREAD_BYTES) response.destroy()
    else response.write(`${JSON.stringify(line)}\n`)
  }
  say({ type: 'started', reference: formatReference(order.reference), digest: order.digest })
  const states = new Map<string, NodeProgress['state']>()
  const heartbeat = setInterval(() => say({ type: 'waiting' }), HEARTBEAT)
  try {
    const tell = (progress: NodeProgress) => {
      states.set(progress.node, progress.state)
      say({ type: 'node', ...progress })
    }
    await options.rollOut(order, tell, { signal })
  } finally {
    clearInterval(heartbeat)
  }
  const done = states.values().reduce((count, state) => count + (state === 'done' ? 1 : 0), 0)
  say({ type: 'summary', nodes: states.size, done, failed: states.size - done })
  const ended = Promise.race([once(response, 'finish'), once(response, 'close')])
  response.end()
  await ended
}

function withTag(reference: ImageReference): ImageReference {
  return reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: 'latest' } : reference
}

function parsed<T>(value: T | undefined, message: string, context: z.RefinementCtx): T {
  if (value !== undefined) return value
  context.addIssue({ code: 'custom', message })
  return z.NEVER
}
