/** Where a layer came from; more than one share if a source broke off. */
export interface LayerOrigin {
  readonly digest: string
  readonly size: number
  readonly durationMs: number
  readonly shares: readonly { readonly source: string; readonly from: string; readonly bytes: number }[]
}

/** A pull, and what Docker Hub was asked for it. */
export interface PullRow {
  readonly title: string
  readonly durationMs: number
  readonly peerBytes: number
  readonly upstreamBytes: number
  readonly manifestHeads: number
  readonly manifestGets: number
  readonly blobGets: number
  readonly hubBytes: number
}

export function layerTable(title: string, origins: readonly LayerOrigin[]): string {
  return table(
    [title, 'size', 'came from', 'time'],
    origins.map(({ digest, size, durationMs, shares }) => [
      `  ${digest.slice(0, 'sha256:'.length + 12)}`,
      megabytes(size),
      shares.length === 1
        ? (shares[0]?.from ?? '')
        : shares.map((share) => `${share.from} ${megabytes(share.bytes)}`).join(', '),
      seconds(durationMs),
    ]),
    ['left', 'right', 'left', 'right'],
  )
}

export function pullTable(rows: readonly PullRow[]): string {
  return table(
    ['pull on', 'time', 'from peers', 'from Docker Hub', 'Docker Hub: HEADs', 'manifests', 'blobs', 'sent'],
    rows.map((row) => [
      row.title,
      seconds(row.durationMs),
      megabytes(row.peerBytes),
      megabytes(row.upstreamBytes),
      String(row.manifestHeads),
      String(row.manifestGets),
      String(row.blobGets),
      megabytes(row.hubBytes),
    ]),
    ['left', ...Array<'right'>(7).fill('right')],
  )
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`
}

function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  align: readonly ('left' | 'right')[],
): string {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => (row[i] ?? '').length)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (align[i] === 'right' ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('   ')
      .trimEnd()
  return [line(head), widths.map((width) => '─'.repeat(width)).join('───'), ...rows.map(line)].join('\n')
}
