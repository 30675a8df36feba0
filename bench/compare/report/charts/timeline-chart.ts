import type { Run, RunNode, Transfer } from '../../results.ts'
import { tick } from '../words.ts'
import type { Chart, Shape } from './drawing.ts'
import { box, chartWidth, draw, line, words } from './drawing.ts'
import type { Scale } from './scale.ts'
import type { Token } from './theme.ts'
import { paint } from './theme.ts'

export type TimelineChart = {
  id: string
  title: string
  /** Lines under the title. */
  subtitle: string[]
  description: string
  run: Run
  scale: Scale
}

/** More nodes than this are not drawn. */
export const maxNodesDrawn = 40

const left = 76
const right = 16
const lineHeight = 17
const bottom = 30
const laneHeight = 13
/** A node that fetches in many pieces at once gets thinner lanes, so that its band stays one of several. */
const lanesHeight = 6 * laneHeight
const gap = 9

const sources: { source: Transfer['source']; color: Token; name: string }[] = [
  { source: 'upstream', color: 'fromUpstream', name: 'registry' },
  { source: 'peer', color: 'fromPeer', name: 'other node' },
  { source: 'mirror', color: 'fromMirror', name: 'cache' },
  { source: 'local', color: 'fromLocal', name: 'itself' },
]

/** Who got what from whom, and when: a band for each node, a bar for each transfer, the sender's name in it. */
export function timelineChart({ id, title, subtitle, description, run, scale }: TimelineChart): Chart {
  const bands = run.nodes.slice(0, maxNodesDrawn).map((node) => ({ node, lanes: lanes(node, run.transfers ?? []) }))
  const heights = bands.map(
    ({ node, lanes }) => Math.max(fewest(node) * laneHeight, lanes.length * laneOf(lanes)) + gap,
  )
  const top = 67 + subtitle.length * lineHeight
  const height = top + heights.reduce((sum, one) => sum + one, 0) + bottom
  const width = chartWidth - left - right
  const x = (value: number) => left + Math.min(1, scale.place(value) / scale.max) * width
  let y = top
  const shapes: Shape[] = [
    words({ x: 8, y: 18, text: title, bold: true, size: 15, width: chartWidth - 16 }),
    ...subtitle.map((text, index) =>
      words({ x: 8, y: 40 + index * lineHeight, text, color: 'soft', width: chartWidth - 16 }),
    ),
    ...legend(run, top - 28),
  ]
  for (const [index, band] of bands.entries()) {
    shapes.push(...bandShapes(band.node, band.lanes, { y, height: heights[index] ?? 0, x }))
    y += heights[index] ?? 0
  }
  if (run.killed !== undefined) shapes.push(killLine(x(run.killed.at), top, height - bottom))
  return draw({
    id,
    title,
    description,
    height,
    option: {
      grid: { left, right, top: top - 4, bottom, containLabel: false },
      xAxis: {
        type: 'value',
        min: 0,
        max: scale.max,
        axisLine: { lineStyle: { color: paint('rule') } },
        axisTick: { lineStyle: { color: paint('rule') }, customValues: scale.ticks },
        axisLabel: { customValues: scale.ticks, formatter: tick, color: paint('soft'), fontSize: 12 },
        splitLine: { lineStyle: { color: paint('line') } },
      },
      yAxis: { type: 'value', min: 0, max: 1, show: false },
      series: [
        { type: 'custom', silent: true, data: [[0, 0]], renderItem: () => ({ type: 'group', children: shapes }) },
      ],
    },
  })
}

/** When a mirror was killed. */
function killLine(x: number, from: number, to: number): Shape {
  const style = { fill: 'none', stroke: paint('bad'), lineWidth: 1.5, lineDash: [4, 3] }
  return { type: 'line', shape: { x1: x, y1: from, x2: x, y2: to }, style }
}

function legend(run: Run, y: number): Shape[] {
  const used = sources.filter(({ source }) => run.transfers?.some((transfer) => transfer.source === source))
  return used.flatMap(({ color, name }, index) => {
    const x = 8 + index * 104
    return [
      box({ x, y, width: 14, height: 10 }, color, { r: 2 }),
      words({ x: x + 20, y: y + 5, text: name, color: 'soft' }),
    ]
  })
}

/** Transfers that overlap in time get lanes of their own: the first one that is free. */
function lanes(node: RunNode, transfers: readonly Transfer[]): Transfer[][] {
  const found: Transfer[][] = []
  const own = transfers.filter((transfer) => transfer.node === node.name)
  for (const transfer of own.toSorted((a, b) => a.at - b.at || (a.digest < b.digest ? -1 : 1))) {
    const free = found.find((lane) => {
      const last = lane.at(-1)
      return last !== undefined && last.at + last.seconds <= transfer.at
    })
    if (free === undefined) found.push([transfer])
    else free.push(transfer)
  }
  return found
}

function remarkOn({ role, pulls }: RunNode): string | undefined {
  if (role === undefined) return pulls.every(({ ok }) => ok) ? undefined : 'failed'
  return role === 'seed' ? 'has it' : 'killed'
}

/** Lanes that a node's words need. */
function fewest(node: RunNode): number {
  return remarkOn(node) === undefined ? 1 : 2
}

type Band = { y: number; height: number; x: (value: number) => number }

function bandShapes(node: RunNode, lanes: Transfer[][], { y, height, x }: Band): Shape[] {
  const middle = y + (height - gap) / 2
  const remark = remarkOn(node)
  const name =
    remark === undefined
      ? [words({ x: 8, y: middle, text: node.name, width: left - 12 })]
      : [
          words({ x: 8, y: middle - 6, text: node.name, width: left - 12 }),
          words({
            x: 8,
            y: middle + 7,
            text: remark,
            size: 11,
            color: remark === 'failed' ? 'bad' : 'soft',
            width: left - 12,
          }),
        ]
  const pulls = node.pulls.map(({ at, seconds }) =>
    box({ x: x(at), y: y - 2, width: Math.max(1, x(at + seconds) - x(at)), height: height - gap + 4 }, 'gray', {
      opacity: 0.13,
      r: 2,
    }),
  )
  const each = laneOf(lanes)
  const bars = lanes.flatMap((lane, index) =>
    lane.flatMap((transfer) => bar(transfer, { y: y + index * each, height: each, x })),
  )
  const separator = line([8, y + height - gap / 2], [chartWidth - 8, y + height - gap / 2], 'line')
  return [...name, ...pulls, ...bars, separator]
}

/** The height of one of a node's lanes. */
function laneOf(lanes: readonly unknown[]): number {
  return Math.max(2, Math.min(laneHeight, lanesHeight / lanes.length))
}

function bar({ at, seconds, source, from }: Transfer, { y, height, x }: Band): Shape[] {
  const start = x(at)
  const width = Math.max(1.5, x(at + seconds) - start)
  const color = sources.find((one) => one.source === source)?.color ?? 'fromLocal'
  const space = height < laneHeight ? 0.5 : 1
  const shown = box({ x: start, y: y + space, width, height: height - 2 * space }, color, {
    r: height < laneHeight ? 1 : 2,
  })
  if (from === undefined || height < laneHeight || width < from.length * 6 + 10) return [shown]
  return [shown, words({ x: start + 5, y: y + height / 2, text: from, size: 10, color: 'surface', bold: true })]
}
