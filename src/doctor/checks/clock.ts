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
    const furthest = others.toSorted((a, b) => Math.abs(b.clockAhead) - Math.abs(a.clockAhead))[0]
    const ahead = furthest?.clockAhead ?? 0
    const says = `this node's clock is ${show(Math.abs(ahead))} ${ahead > 0 ? 'behind' : 'ahead of'} that of ${furthest?.name}`
    if (Math.abs(ahead) > NOTABLE) return warning(says, FIX)
    return ok(`the clock agrees with ${others.length === 1 ? furthest?.name : `those of ${others.length} others`}`)
  },
}

function show(milliseconds: number): string {
  return milliseconds < 2 * minute
    ? `${Math.round(milliseconds / second)} seconds`
    : `${Math.round(milliseconds / minute)} minutes`
}
