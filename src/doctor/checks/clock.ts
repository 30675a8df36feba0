import { minute, second } from '../../time/units.ts'
import { type Check, ok, unknown, warning } from '../check.ts'

/** Further apart than what any time service leaves. */
const NOTABLE = minute
const FIX = 'set the clock: timedatectl set-ntp true'

/** Whether this node's clock agrees with those of other nodes and registries. */
export const clockCheck: Check = {
  id: 'clock',
  title: 'clock',
  async run(node) {
    const [peers, upstreams] = await Promise.all([node.peers(), node.upstreams().catch(() => [])])
    const others = [
      ...peers.map(({ address, clockAhead }) => ({ name: address, clockAhead })),
      ...upstreams.map(({ host, clockAhead }) => ({ name: host, clockAhead })),
    ].flatMap(({ name, clockAhead }) => (clockAhead === undefined ? [] : [{ name, clockAhead }]))
    if (others.length === 0) return unknown('there is nobody to compare the clock with')
    const typical = median(others.map(({ clockAhead }) => clockAhead))
    const off = (ahead: number) => Math.abs(ahead) > NOTABLE
    const where = (ahead: number) => `${show(Math.abs(ahead))} ${ahead > 0 ? 'behind' : 'ahead of'}`
    // Two clocks that differ do not show which one is wrong; of three or more, the majority counts as right.
    if (off(typical)) {
      const [whose] = others.filter(({ clockAhead }) => off(clockAhead))
      return warning(
        `this node's clock is ${where(typical)} that of ${whose?.name}${others.length > 1 ? ' and others' : ''}`,
        FIX,
      )
    }
    const wrong = others.find(({ clockAhead }) => off(clockAhead))
    if (wrong === undefined)
      return ok(`the clock agrees with ${others.length === 1 ? others[0]?.name : `those of ${others.length} others`}`)
    return ok(
      `the clock agrees with most of ${others.length} others; it is ${where(wrong.clockAhead)} that of ${wrong.name}`,
    )
  },
}

/** Of two middle values, the one nearer to zero: half of the clocks are no majority. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const [low = 0, high = 0] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]]
  return Math.abs(low) < Math.abs(high) ? low : high
}

function show(milliseconds: number): string {
  return milliseconds < 2 * minute
    ? `${Math.round(milliseconds / second)} seconds`
    : `${Math.round(milliseconds / minute)} minutes`
}
