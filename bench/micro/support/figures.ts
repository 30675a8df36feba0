export const KiB = 1024
export const MiB = 1024 * KiB
export const GiB = 1024 * MiB

/** The value that a part `share` (0 to 1) of the values does not exceed. Throws if there is none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
  if (value === undefined) throw new Error('no values')
  return value
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  if (low === undefined || high === undefined) throw new Error('no values')
  return (low + high) / 2
}

/** `1.23 (1.10–1.40)`: the median of each value over its partner of the same round, with the smallest and the largest; `–` where a partner is 0. */
export function ratio(values: readonly number[], partners: readonly number[]): string {
  const ratios = values.map((value, i) => value / (partners[i] ?? Number.NaN))
  if (!ratios.every(Number.isFinite)) return '–'
  const [low, high] = [Math.min(...ratios), Math.max(...ratios)]
  return `${median(ratios).toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`
}

/** `32 MiB`, to one decimal. */
export function sizeName(bytes: number): string {
  const [unit, name] = bytes >= GiB ? [GiB, 'GiB'] : bytes >= MiB ? [MiB, 'MiB'] : [KiB, 'KiB']
  return `${Number((bytes / unit).toFixed(1))} ${name}`
}
