import type { LeftSource } from '../../swarm/swarm.ts'

/** Where a transfer stands: looking for a source, or reading from the upstream, a complete holder, or a node that is getting it. */
export type TransferState = 'searching' | 'upstream' | 'holder' | 'relay'

/** What this node's transfers do now, and what happened to them since the start. */
export class DeliveryCounters {
  readonly states: Record<TransferState, number> = { searching: 0, upstream: 0, holder: 0, relay: 0 }
  readonly sourcesLeft = new Map<LeftSource['reason'], number>()
  /** Times a transfer went on at its byte with another source. */
  resumes = 0
  recalls = 0

  /** Returns its own end. */
  enter(state: TransferState): () => void {
    this.states[state] += 1
    let entered = true
    return () => {
      if (entered) this.states[state] -= 1
      entered = false
    }
  }

  left(reason: LeftSource['reason']): void {
    this.sourcesLeft.set(reason, (this.sourcesLeft.get(reason) ?? 0) + 1)
  }

  resumed(): void {
    this.resumes += 1
  }

  recalled(): void {
    this.recalls += 1
  }
}
