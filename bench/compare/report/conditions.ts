import type { Results, Settings } from '../results.ts'
import { hasShortfall } from './figures.ts'
import { limitSentence } from './remarks.ts'
import type { Cell, Summary } from './summary.ts'
import { bitRate, counted, memory, moment, number } from './words.ts'

/** Under which conditions the results came to be: pairs of name and value. */
export function conditions({
  startedAt,
  finishedAt,
  revision,
  machine,
  settings,
  scenarios,
  runs,
}: Results): [string, string][] {
  const { label, cpu, cores, memoryBytes, os, kernel, software, fileSystem, loadAtStart } = machine
  const { nodeBitsPerSecond, registryBitsPerSecond, registryLatencyMs } = settings
  const links = [
    nodeBitsPerSecond === undefined ? [] : [`${bitRate(nodeBitsPerSecond)} for each node`],
    registryBitsPerSecond === undefined ? [] : [`${bitRate(registryBitsPerSecond)} for the registry`],
    registryLatencyMs === undefined ? [] : [`${registryLatencyMs} ms before each of its answers`],
  ].flat()
  const notRun = scenarios.filter(({ id }) => !runs.some(({ scenario }) => scenario === id)).map(({ title }) => title)
  const rows: [string, string | undefined][] = [
    ['Made', `${moment(startedAt)} to ${moment(finishedAt)}`],
    ['Nabo at', revision],
    [
      'Machine',
      `${label === undefined ? '' : `${label}: `}${cpu}, ${cores} cores, ${memory(memoryBytes)}; ${os}, Linux ${kernel}`,
    ],
    ['Content stores', fileSystem === undefined ? undefined : `on ${fileSystem}`],
    ['Load at the start', loadAtStart === undefined ? undefined : `${number(loadAtStart)} processes on average`],
    [
      'Software',
      Object.entries(software)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    ],
    ['Nodes', `${settings.nodes}, ${settings.mode} run, ${counted(settings.repeats, 'repeat')}`],
    ['Links', links.join(', ') || undefined],
    ['What follows from them', whatFollows(settings)],
    ['Also', settings.notes?.join(' ')],
    ['Not run', notRun.join('; ')],
  ]
  return rows.flatMap(([name, value]) => (value === undefined || value === '' ? [] : [[name, value]]))
}

/** A reader must not take for a finding what the choice of links has decided. */
function whatFollows({ nodes, registryBitsPerSecond }: Settings): string | undefined {
  if (registryBitsPerSecond === undefined || nodes < 2) return undefined
  return `The registry’s link stands for a site’s uplink that all nodes share. Without a mirror, ${nodes} nodes that pull at once need ${nodes} times what one copy takes, by construction: how much a mirror gains depends on the links chosen.`
}

/** What has to be known to read the figures; the same in Markdown and HTML. */
export function howToRead(summaries: readonly Summary[]): Reading[] {
  const cells = summaries.flatMap(({ scenarios }) =>
    scenarios.flatMap(({ overall, variants }) => [...overall, ...variants.flatMap((variant) => variant.cells)]),
  )
  return readings.filter(({ needs }) => needs === undefined || cells.some(needs))
}

type Reading = {
  term: string
  text: string
  /** Only where a cell is like this. */
  needs?: (cell: Cell) => boolean
}

const readings: Reading[] = [
  {
    term: 'Ratios',
    text: 'A ratio compares a contender with “no mirror” in the same repeat of the same scenario and image: the two ran minutes apart on the same links. 0.5× is half the time. Of all such pairs the median, the quartiles and the extremes are given, and how many there were. “At a glance” puts different images together: the spread there is over images as well as repeats, and with one repeat it is no measure of noise. Colour is only given where every image has at least three repeats. Few pairs prove little: look at the extremes.',
  },
  {
    term: 'Absolute figures are noisy',
    text: 'Seconds, CPU and memory, marked ≈ in the tables, depend on the machine, its disk, and on what else it did. They are here to show orders of magnitude; do not compare them between machines or days. CPU and “all mirrors” are sums over the nodes; the peaks that make up the sum of memory need not have come at the same time.',
  },
  {
    term: 'Only complete runs have a time',
    text: 'Where a pull failed, or the bytes were wrong, on either side of a pair, there is no ratio: failing fast is not being fast. The number of pulls that worked is shown instead.',
  },
  {
    term: '(9/18) behind a value',
    text: 'Only nine of eighteen pulls, or runs, are in it; the others failed, or had nothing to be compared with.',
    needs: hasShortfall,
  },
  {
    term: 'Copies',
    text: 'What the registry sent, over what one node lacked. One copy is the least while no node has the image; without a mirror it is one for each node.',
  },
  {
    term: 'Quota used, manifest GETs',
    text: 'Manifest GETs are all that reached the registry; those that it answered with a manifest are what its quota counts, one each.',
    needs: ({ countedPulls }) => countedPulls !== undefined,
  },
  {
    term: '▲',
    text: `More than nine tenths of all cores’ time was used. ${limitSentence}`,
    needs: ({ atLimit }) => atLimit > 0,
  },
  {
    term: 'Pauses',
    text: 'Between pulls it is waited until others can know what a node has. That is in no time and no ratio; the timelines go on through it.',
    needs: ({ pausedSeconds }) => pausedSeconds !== undefined && pausedSeconds.max > 0,
  },
  {
    term: 'Not counted',
    text: 'Nodes that had the image before, and a node that is killed on purpose, have no pulls in these figures.',
  },
]
