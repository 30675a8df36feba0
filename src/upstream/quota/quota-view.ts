import { minute, second } from '../../time/units.ts'

/** What is left of a registry's quota, as the registry said itself or told another node. */
export interface QuotaView {
  readonly registry: string
  /** The name of the registry's address that counts: another address of the same registry counts by itself, or not at all. */
  readonly host: string
  /** Whom it counts for: the address or account that the registry names, else the account of the credential, else {@link THIS_ADDRESS}. */
  readonly source: string
  readonly limit: number
  readonly remaining: number
  /** The length of its window; 0 if it does not say. */
  readonly windowSeconds: number
  /** When `remaining` was said, in milliseconds since the epoch. */
  readonly asOf: number
  /** When the window is over at the latest: registries do not say when it began, so it is counted from its first answer. */
  readonly endsAt?: number
}

/** Stands for this node's address where a registry does not name it. No other node knows which address that is. */
export const THIS_ADDRESS = 'this address'

/** Answers that are no further apart may have overtaken each other. */
const OVERTAKING = 5 * second
/** A used up quota whose window nobody knows is tried again after this long. */
const UNKNOWN_WINDOW = 10 * minute

export function quotaKey({ registry, host, source }: Pick<QuotaView, 'registry' | 'host' | 'source'>): string {
  return JSON.stringify([registry, host, source])
}

/** When nothing is known any more about what is left. */
export function knownUntil(view: QuotaView): number {
  return view.endsAt ?? view.asOf + UNKNOWN_WINDOW
}

/** True if a pull would be refused now, as far as that is known. */
export function isUsedUp(view: QuotaView, now: number): boolean {
  return view.remaining <= 0 && now < knownUntil(view)
}

/** What two answers about one source say together: within a window the lowest, and the newer one where a window has ended. */
export function mergeViews(a: QuotaView, b: QuotaView): QuotaView {
  const [older, newer] = a.asOf <= b.asOf ? [a, b] : [b, a]
  const isOver = newer.asOf >= knownUntil(older)
  const isChanged = newer.limit !== older.limit || newer.windowSeconds !== older.windowSeconds
  const isRefilled = newer.remaining > older.remaining && newer.asOf - older.asOf > OVERTAKING
  if (isOver || isChanged || isRefilled) return newer
  // The lowest keeps its own time: a later answer must be able to show that there is more again.
  const lowest = newer.remaining > older.remaining ? older : newer
  const ends = [older.endsAt, newer.endsAt].filter((end) => end !== undefined)
  return ends.length === 0 ? lowest : { ...lowest, endsAt: Math.min(...ends) }
}
