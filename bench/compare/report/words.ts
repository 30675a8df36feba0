import type { Spread } from '../stats.ts'

/** Three significant figures at most, and no exponent. */
export function number(value: number): string {
  if (value === 0) return '0'
  const figures = Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(Math.abs(value) >= 1 ? 3 : 2))
  return String(figures)
}

/** Seconds as people say them: `0.32 s`, `12.4 s`, `3 min 20 s`. */
export function seconds(value: number): string {
  if (value < 120) return `${number(value)} s`
  const whole = Math.round(value)
  return `${Math.floor(whole / 60)} min ${whole % 60} s`
}

/** Seconds at a tick, where there is little room. */
export function tick(value: number): string {
  return value < 600 ? `${number(value)} s` : `${number(value / 60)} min`
}

/** Titles come as their makers write them; at the beginning of a line they are capitals. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** Bytes in decimal units, as networks count. */
export function bytes(value: number): string {
  if (value >= 1e9) return `${number(value / 1e9)} GB`
  if (value >= 1e6) return `${number(value / 1e6)} MB`
  if (value >= 1e3) return `${number(value / 1e3)} kB`
  return `${number(value)} B`
}

/** Memory in binary units, as systems count. */
export function memory(value: number): string {
  return value >= 1024 ** 3 ? `${number(value / 1024 ** 3)} GiB` : `${number(value / 1024 ** 2)} MiB`
}

export function bitRate(value: number): string {
  return value >= 1e9 ? `${number(value / 1e9)} Gbit/s` : `${number(value / 1e6)} Mbit/s`
}

/** A share of 0 to 1: `96 %`. */
export function percent(value: number): string {
  return `${Math.round(100 * value)} %`
}

/** A ratio to the baseline: `0.31×`. */
export function times(value: number): string {
  return `${Math.abs(value) >= 10 ? number(value) : value.toFixed(2)}×`
}

/** `0.28–0.35×`: the smallest and the largest. */
export function extremes({ min, max }: Spread): string {
  return `${times(min).slice(0, -1)}–${times(max)}`
}

/** `1 pair`, `3 pairs`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** `2026-11-20 09:00 UTC`. */
export function moment(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`
}

/** How often the registry sent the image: `1 copy`, `0.5 copies`. */
export function copies(value: number): string {
  const count = Number(value.toFixed(2))
  return `${count} ${count === 1 ? 'copy' : 'copies'}`
}
