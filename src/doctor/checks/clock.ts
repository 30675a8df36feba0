import { type Check, ok, unknown, warning } from '../check.ts'
import { isNotableOffset, showOffset, typicalOffset } from '../clock-offsets.ts'

const FIX = 'set the clock: timedatectl set-ntp true'

/** Whether this node's clock agrees with those of other nodes and registries. */
export const clockCheck: Check = {
  id: 'clock',
  title: 'clock',
  async run(node) {
    const [neighbours, upstreams] = await Promise.all([node.neighbours(), node.upstreams().catch(() => [])])
    const others = [
      ...neighbours.map(({ address, clockAheadMs }) => ({ name: address, clockAhead: clockAheadMs })),
      ...upstreams.map(({ host, clockAhead }) => ({ name: host, clockAhead })),
    ].flatMap(({ name, clockAhead }) => (clockAhead === undefined ? [] : [{ name, clockAhead }]))
    if (others.length === 0) return unknown('there is nobody to compare the clock with')
    const typical = typicalOffset(others.map(({ clockAhead }) => clockAhead))
    const where = (ahead: number) => `${showOffset(ahead)} ${ahead > 0 ? 'behind' : 'ahead of'}`
    // Two clocks that differ do not show which one is wrong; of three or more, the majority counts as right.
    if (isNotableOffset(typical)) {
      const [whose] = others.filter(({ clockAhead }) => isNotableOffset(clockAhead))
      return warning(
        `this node's clock is ${where(typical)} that of ${whose?.name}${others.length > 1 ? ' and others' : ''}`,
        FIX,
      )
    }
    const wrong = others.find(({ clockAhead }) => isNotableOffset(clockAhead))
    if (wrong === undefined)
      return ok(`the clock agrees with ${others.length === 1 ? others[0]?.name : `those of ${others.length} others`}`)
    return ok(
      `the clock agrees with most of ${others.length} others; it is ${where(wrong.clockAhead)} that of ${wrong.name}`,
    )
  },
}
