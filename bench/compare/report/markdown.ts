import { conditions, howToRead } from './conditions.ts'
import { columnsFor, verdict } from './figures.ts'
import type { Remark } from './remarks.ts'
import { remarks } from './remarks.ts'
import type { Failure, ScenarioSummary, Summary } from './summary.ts'
import type { Contender, Results } from '../results.ts'
import { baseline } from '../results.ts'
import type { Cell } from './summary.ts'

/** The report as Markdown: tables only, charts stay in the page. */
export function markdownReport(summaries: readonly Summary[]): string {
  const parts = summaries.flatMap((summary, index) => [
    ...(summaries.length > 1 ? [`## Results ${index + 1} of ${summaries.length}`] : []),
    ...chapter(summary),
  ])
  const reading = ['## How to read this', ...howToRead(summaries).map(({ term, text }) => `**${term}.** ${text}`)]
  return `${['# Pull times, side by side', ...parts, ...reading].join('\n\n')}\n`
}

function chapter(summary: Summary): string[] {
  const { results, scenarios, failures, interleaved } = summary
  return [
    conditions(results)
      .map(([name, value]) => `- ${name}: ${inline(value)}`)
      .join('\n'),
    contenderList(results.contenders),
    ...(interleaved
      ? []
      : ['**Contenders did not take turns in these runs: ratios may show the hour and not the contender.**']),
    '## At a glance',
    'Time until all nodes have the image, times what it takes without a mirror: median, extremes, pairs. Different images are put together here: the spread is over images too, and not noise alone.',
    glance(summary),
    ...(failures.length === 0 ? [] : ['## What failed', ...failures.map(failure)]),
    ...scenarios.flatMap((one) => scenario(one, results)),
  ]
}

function contenderList(contenders: readonly Contender[]): string {
  const lines = contenders.map(({ title, version, description }) => {
    const name = `**${inline(title)}**${version === undefined ? '' : ` ${inline(version)}`}`
    return `- ${name}${description === undefined ? '' : `: ${inline(description)}`}`
  })
  return ['Contenders:', lines.join('\n')].join('\n\n')
}

function glance({ results, scenarios }: Summary): string {
  const rows = scenarios.map(({ scenario, overall }) => {
    const base = overall.find(({ contender }) => contender.id === baseline)
    const said = overall.map((cell) => {
      const { main, details } = verdict(cell, base, scenario.id)
      return [`**${inline(main)}**`, ...details.map(inline)].join('<br>')
    })
    return [inline(scenario.title), ...said]
  })
  return table(['Scenario', ...results.contenders.map(({ title }) => inline(title))], rows)
}

function scenario(summary: ScenarioSummary, { settings }: Results): string[] {
  const { scenario, variants } = summary
  const rows: { variant: string; cell: Cell }[] = variants.flatMap(({ variant, cells }) =>
    cells.map((cell) => ({ variant, cell })),
  )
  const columns = columnsFor(rows.map(({ cell }) => cell))
  const lines = rows.map(({ variant, cell }) => [
    inline(variant),
    inline(cell.contender.title),
    ...columns.map(({ show }) => inline(show(cell) ?? '–')),
  ])
  return [
    `## ${inline(scenario.title)}`,
    ...(scenario.description === undefined ? [] : [inline(scenario.description)]),
    table(['Image', 'Contender', ...columns.map(({ title }) => title)], lines),
    ...remarks(summary, settings).map(remark),
  ]
}

function remark({ title, text, items }: Remark): string {
  const lines = items.map(({ subject, text }) => `- ${inline(subject)}: ${inline(text)}`)
  return [`**${title}.**${text === undefined ? '' : ` ${text}`}`, lines.join('\n')].join('\n\n')
}

function failure({ contender, places, message, log }: Failure): string {
  const where = places.length > 1 ? `${places.length} runs, first: ${places[0]}` : places[0]
  const said = log === undefined || log === '' ? '' : `\n\n${fenced(log)}`
  return `**${inline(contender.title)}**: ${inline(message)} (${inline(where ?? '')})${said}`
}

function table(head: string[], rows: string[][]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** Words from outside, on one line and without a meaning in Markdown or HTML. */
function inline(text: string): string {
  return text
    .replace(/\s+/gu, ' ')
    .replace(/&/gu, '&amp;')
    .replace(/</gu, '&lt;')
    .replace(/([\\`*_[\]|#~])/gu, '\\$1')
}

/** A block that ends where the log ends, whatever the log contains. */
function fenced(log: string): string {
  const longest = Math.max(2, ...(log.match(/`+/gu) ?? []).map((run) => run.length))
  const fence = '`'.repeat(longest + 1)
  return `${fence}text\n${log.trimEnd()}\n${fence}`
}
