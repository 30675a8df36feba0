/** Where bytes came from. */
export type SourceKind = 'local' | 'peer' | 'upstream'

export interface TransferOrigin {
  readonly source: SourceKind
  /** The peer's address; undefined for the others. */
  readonly peer?: string
}

export interface TransferShare extends TransferOrigin {
  bytes: number
}

/** Which source gave how many bytes of one answer, in the order in which they came in. */
export class TransferRecord {
  readonly shares: TransferShare[] = []

  add(source: SourceKind, peer: string | undefined, bytes: number): void {
    const last = this.shares.at(-1)
    if (last !== undefined && last.source === source && last.peer === peer) last.bytes += bytes
    else this.shares.push({ source, bytes, ...(peer === undefined ? {} : { peer }) })
  }

  get bytes(): number {
    return this.shares.reduce((sum, share) => sum + share.bytes, 0)
  }
}
