import type { PeerId, Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { Multiaddr } from '@multiformats/multiaddr'
import { z } from 'zod'

import { readBounded } from '../../async/read-bounded.ts'
import { MAX_ROUTER_LENGTH, parseRouter } from './addresses.ts'
import type { Member } from './member-table.ts'

export const MEMBERS_PROTOCOL = '/nabo/members/1.0.0'

const MAX_BYTES = 1024 * 1024
const MAX_MEMBERS = 4096
const MAX_ADDRESSES = 8

const QUESTION = new Uint8Array([0])

/** A node to which the answering node is connected. */
export interface KnownNode {
  readonly peerId: PeerId
  readonly routers: readonly Multiaddr[]
}

const listSchema = z.array(z.unknown()).max(MAX_MEMBERS)
const rowSchema = z.object({ id: z.string().max(128), routers: z.array(z.string()) })

/**
 * The answer of the members protocol: a JSON list of who is connected here, ended by the end of the stream. Routers that no node would read
 * are left out, then members without a router, and members beyond the limits of the list.
 */
export function encodeMemberList(members: Iterable<Member>): Uint8Array {
  const rows: string[] = []
  // of the brackets; each row has a comma
  let bytes = 2
  for (const { peer, routers } of members) {
    const readable = routers.map(String).filter((router) => router.length <= MAX_ROUTER_LENGTH)
    if (readable.length === 0) continue
    const row = JSON.stringify({ id: peer.id, routers: readable.slice(0, MAX_ADDRESSES) })
    bytes += Buffer.byteLength(row) + 1
    if (bytes > MAX_BYTES || rows.length >= MAX_MEMBERS) break
    rows.push(row)
  }
  return Buffer.from(`[${rows.join()}]`)
}

/** Reads a list; throws if it is not one. Rows that make no sense are left out, since one member can spoil no more than its own. */
export function parseMemberList(bytes: Uint8Array): readonly KnownNode[] {
  return listSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8'))).flatMap((raw) => {
    const row = rowSchema.safeParse(raw).data
    const routers = row?.routers.slice(0, MAX_ADDRESSES).flatMap((router) => parseRouter(router) ?? []) ?? []
    if (row === undefined || routers.length === 0) return []
    try {
      return [{ peerId: peerIdFromString(row.id), routers }]
    } catch {
      return []
    }
  })
}

/** Waits for the question, then writes a whole answer and ends the stream. */
export async function answerMemberList(
  stream: Stream,
  members: () => Iterable<Member>,
  options: { signal: AbortSignal },
): Promise<void> {
  await bounded(stream, options.signal, async () => {
    const question = stream[Symbol.asyncIterator]()
    await question.next()
    await question.return?.()
    if (!stream.send(encodeMemberList(members()))) await stream.onDrain(options)
    await stream.close(options)
  })
}

/** Asks and reads a whole answer; the stream is ended in any case. */
export async function askMemberList(stream: Stream, options: { signal: AbortSignal }): Promise<readonly KnownNode[]> {
  return bounded(stream, options.signal, async () => {
    // the other end waits for this byte: an end of stream that comes before anybody listens for it is lost
    stream.send(QUESTION)
    const bytes = await readBounded(contiguous(stream), MAX_BYTES)
    options.signal.throwIfAborted()
    const nodes = parseMemberList(bytes)
    await stream.close(options)
    return nodes
  })
}

/** libp2p yields lists of byte arrays where a message came in several parts. */
async function* contiguous(stream: Stream): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of stream) yield chunk.subarray()
}

/** Whatever goes wrong, the stream does not outlive it. */
async function bounded<T>(stream: Stream, signal: AbortSignal, use: () => Promise<T>): Promise<T> {
  const abort = () => stream.abort(new Error('the member list takes too long'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await use()
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(String(error)))
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
