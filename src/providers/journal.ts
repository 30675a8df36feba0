import type { IndexKey } from '../overlay/overlay.ts'

/** Entries that may be dead before the log is rewritten, beyond as many as are alive. */
const SLACK = 4_096

/**
 * A set of keys that remembers the order of its changes, so that many readers can follow it at their own pace without
 * a queue each. The log holds the keys that changed; what happened to them is what the set says when they are read.
 */
export class Journal {
  /** Where in the log a key's latest addition is. */
  readonly #at = new Map<IndexKey, number>()
  readonly #cursors = new Set<JournalCursor>()
  #log: IndexKey[] = []

  get size(): number {
    return this.#at.size
  }

  has(key: IndexKey): boolean {
    return this.#at.has(key)
  }

  keys(): Iterable<IndexKey> {
    return this.#at.keys()
  }

  /** Returns whether the key is new. */
  add(key: IndexKey): boolean {
    if (this.#at.has(key)) return false
    this.#at.set(key, this.#log.length)
    this.#log.push(key)
    return true
  }

  /** Returns whether the key was there. */
  remove(key: IndexKey): boolean {
    if (!this.#at.has(key)) return false
    if (this.#log.length > 2 * this.#at.size + SLACK) this.#compact()
    this.#at.delete(key)
    this.#log.push(key)
    return true
  }

  /** A reader that begins at the oldest key. */
  open(): JournalCursor {
    const cursor = new JournalCursor({
      length: () => this.#log.length,
      at: (position) => this.#log[position],
      addedAt: (key) => this.#at.get(key),
      close: (closed) => this.#cursors.delete(closed),
    })
    this.#cursors.add(cursor)
    return cursor
  }

  #compact(): void {
    const oldLength = this.#log.length
    this.#log = [...this.#at.keys()]
    this.#log.forEach((key, position) => this.#at.set(key, position))
    for (const cursor of this.#cursors) cursor.compacted(oldLength, this.#log.length)
  }
}

/** What happened since the last reading. Each key is in at most one of the two. */
export interface JournalSlice {
  readonly add: readonly IndexKey[]
  readonly remove: readonly IndexKey[]
}

interface JournalLog {
  length(): number
  at(position: number): IndexKey | undefined
  addedAt(key: IndexKey): number | undefined
  close(cursor: JournalCursor): void
}

/** One reader's place in a {@link Journal}. */
export class JournalCursor {
  readonly #log: JournalLog
  #position = 0
  /** Removals before this place are of no interest: the reader's audience never knew those keys. */
  #rewoundAt: number
  #lost = false

  constructor(log: JournalLog) {
    this.#log = log
    this.#rewoundAt = log.length()
  }

  /** The log was rewritten beneath the reader: it has to begin anew. */
  get lost(): boolean {
    return this.#lost
  }

  get behind(): boolean {
    return this.#lost || this.#position < this.#log.length()
  }

  rewind(): void {
    this.#position = 0
    this.#rewoundAt = this.#log.length()
    this.#lost = false
  }

  /** The next changes, at most `limit`. */
  read(limit: number): JournalSlice {
    const add: IndexKey[] = []
    const remove = new Set<IndexKey>()
    for (; this.#position < this.#log.length() && add.length + remove.size < limit; this.#position++) {
      const key = this.#log.at(this.#position)
      if (key === undefined) continue
      const addedAt = this.#log.addedAt(key)
      if (addedAt === this.#position) add.push(key)
      else if (addedAt === undefined && this.#position >= this.#rewoundAt) remove.add(key)
    }
    return { add, remove: [...remove] }
  }

  /** For the journal alone. */
  compacted(oldLength: number, newLength: number): void {
    if (this.#position < oldLength) this.#lost = true
    else this.#position = newLength
    this.#rewoundAt = 0
  }

  close(): void {
    this.#log.close(this)
  }
}
