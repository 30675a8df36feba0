import type { QuotaAnswer } from '../contracts/admin/quota.ts'
import type { NodeCaller } from '../contracts/node-caller.ts'
import type { Overlay } from '../overlay/overlay.ts'
import { QuotaExchange } from '../peers/quota-exchange.ts'
import type { Log } from '../telemetry/log.ts'
import { QuotaBook } from '../upstream/quota/quota-book.ts'
import { QuotaGate } from '../upstream/quota/quota-gate.ts'
import { logQuotaMarks } from '../upstream/quota/quota-marks.ts'
import type { Teardown } from './teardown.ts'

/** What this node knows about the quotas of registries, and what it does about them. */
export interface Quota {
  readonly book: QuotaBook
  readonly gate: QuotaGate
}

export function createQuota(log: Pick<Log, 'info' | 'warn'>, teardown: Teardown): Quota {
  const book = new QuotaBook()
  teardown.add(logQuotaMarks(book, log))
  return { book, gate: new QuotaGate(book) }
}

/** Shares the quotas with the other nodes from now on. `nodes`: undefined in a cluster without a secret, where nothing is shared. */
export function shareQuota(
  { book, gate }: Quota,
  parts: { overlay: Overlay; nodes: NodeCaller | undefined; replicas: number },
  teardown: Teardown,
): QuotaExchange {
  const { overlay, nodes, replicas } = parts
  const exchange = new QuotaExchange({ overlay, nodes, book, replicas })
  gate.askNeighbours((view, options) => exchange.ask(view, options))
  teardown.add(() => exchange.stop())
  return exchange
}

/** Cap on quotas that other nodes are asked about; the rest is shown as last heard. */
const MAX_ASKED = 20
const ASK_TIMEOUT = 500

/** The quotas that count for this node, the one with the least left first. */
export function showQuotas(book: QuotaBook): readonly QuotaAnswer[] {
  const views = book.views().toSorted((a, b) => a.remaining - b.remaining)
  return views.map(({ asOf, endsAt, ...view }) => ({
    ...view,
    asOf: new Date(asOf).toISOString(),
    ...(endsAt === undefined ? {} : { endsAt: new Date(endsAt).toISOString() }),
  }))
}

/** Like {@link showQuotas}, after other nodes were asked for newer figures, for half a second at most. */
export async function askedQuotas({ book }: Quota, exchange: QuotaExchange): Promise<readonly QuotaAnswer[]> {
  const signal = AbortSignal.timeout(ASK_TIMEOUT)
  const asked = book.views().slice(0, MAX_ASKED)
  await Promise.allSettled(asked.map((view) => exchange.ask(view, { signal })))
  return showQuotas(book)
}
