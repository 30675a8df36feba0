import type { WarmNodeLine } from '../contracts/admin/warm.ts'
import { counted, formatBytes, formatDuration, formatShare } from './amounts.ts'
import { printable } from './printable.ts'
import { table } from './table.ts'

/** The slice of a terminal's stream, or a pipe's, that is written to. */
export interface Output {
  readonly isTTY?: boolean
  readonly rows?: number
  readonly columns?: number
  write(text: string): unknown
}

/** Failures first, then nodes that have not ended. */
const ORDER: readonly WarmNodeLine['state'][] = [
  'failed',
  'unsupported',
  'unreachable',
  'cancelled',
  'pulling',
  'queued',
  'done',
]
const REDRAW_INTERVAL = 100
const BAR_WIDTH = 24

/** Shows nodes getting an image: on a terminal lines that are drawn again, else a line for each change of state; a table in the end. */
export class WarmView {
  readonly #json: boolean
  readonly #out: Output
  readonly #err: Output
  readonly #nodes = new Map<string, WarmNodeLine>()
  #drawnAt = Number.NEGATIVE_INFINITY
  #drawn = 0

  constructor(options: { json: boolean; out: Output; err: Output }) {
    this.#json = options.json
    this.#out = options.out
    this.#err = options.err
  }

  /** A line of the daemon's, as programs read it. */
  raw(line: object): void {
    if (this.#json) this.#out.write(`${JSON.stringify(line)}\n`)
  }

  update(line: WarmNodeLine): void {
    const before = this.#nodes.get(line.node)
    this.#nodes.set(line.node, line)
    if (this.#json) return
    if (this.#err.isTTY === true) this.#redraw()
    else if (before?.state !== line.state) this.#err.write(`${printable(`${nameOf(line)} ${stateText(line)}`)}\n`)
  }

  /** Erases the drawn lines. */
  close(): void {
    this.#erase()
  }

  /** The table. */
  finish(): void {
    this.#erase()
    if (!this.#json && this.#nodes.size > 0) this.#out.write(resultTable([...this.#nodes.values()]))
  }

  #redraw(): void {
    const now = performance.now()
    if (now - this.#drawnAt < REDRAW_INTERVAL) return
    this.#drawnAt = now
    const nodes = sorted(this.#nodes.values())
    const over = nodes.filter(({ state }) => state === 'done').length
    const room = Math.max(1, (this.#err.rows ?? 24) - 2)
    const lines = [
      `${over} of ${counted(nodes.length, 'node')} done`,
      ...nodes.slice(0, room).map((node) => `  ${nameOf(node)}  ${progressText(node)}`),
    ]
    const width = Math.max(1, (this.#err.columns ?? 80) - 1)
    this.#erase()
    this.#err.write(lines.map((line) => `${printable(line).slice(0, width)}\n`).join(''))
    this.#drawn = lines.length
  }

  #erase(): void {
    if (this.#drawn > 0) this.#err.write(`\u001B[${this.#drawn}A\u001B[0J`)
    this.#drawn = 0
  }
}

export function resultTable(nodes: readonly WarmNodeLine[]): string {
  const rows = sorted(nodes).map((node) => [
    nameOf(node),
    node.zone ?? '-',
    node.state,
    amount(node.total ?? node.bytes),
    amount(node.fromPeers),
    amount(node.fromUpstream),
    node.seconds === undefined ? '-' : formatDuration(node.seconds * 1000),
    node.message ?? '',
  ])
  const right = (title: string) => ({ title, align: 'right' }) as const
  const columns = ['NODE', 'ZONE', 'RESULT', right('SIZE'), right('FROM NODES'), right('FROM REGISTRY'), right('TIME')]
  return table([...columns, 'NOTE'], rows)
}

function sorted(nodes: Iterable<WarmNodeLine>): WarmNodeLine[] {
  const rank = ({ state }: WarmNodeLine) => ORDER.indexOf(state)
  return [...nodes].sort((a, b) => rank(a) - rank(b) || nameOf(a).localeCompare(nameOf(b), 'en', { numeric: true }))
}

function progressText(node: WarmNodeLine): string {
  const { state, bytes, total } = node
  if (state !== 'pulling' || bytes === undefined || total === undefined || total === 0) return stateText(node)
  const full = Math.round((Math.min(bytes, total) / total) * BAR_WIDTH)
  const bar = `${'#'.repeat(full)}${'.'.repeat(BAR_WIDTH - full)}`
  return `[${bar}] ${formatShare(bytes, total)} of ${formatBytes(total)}`
}

function stateText({ state, message }: WarmNodeLine): string {
  return message === undefined ? state : `${state}: ${message}`
}

function nameOf({ address, node }: WarmNodeLine): string {
  return address === '' ? node : address
}

function amount(bytes: number | undefined): string {
  return bytes === undefined ? '-' : formatBytes(bytes)
}
