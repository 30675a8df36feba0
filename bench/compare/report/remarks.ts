import { baseline } from '../results.ts'
import type { Run, Settings } from '../results.ts'
import { killScenario, killStruckNothing, lackingBytes } from '../stats.ts'
import { pullErrors } from './pull-errors.ts'
import type { ScenarioSummary } from './summary.ts'
import { bytes, counted, seconds } from './words.ts'

/** Something about a scenario that its figures do not say: the same in Markdown and HTML. */
export type Remark = { title: string; text?: string; items: { subject: string; text: string }[] }

/** What has to be said beside a scenario's figures, the ordinary first. */
export function remarks(summary: ScenarioSummary, settings: Settings): Remark[] {
  return [
    idealTimes(summary, settings),
    failedPulls(summary),
    kills(summary),
    notMeasured(summary),
    busyMachine(summary),
  ]
    .filter((remark) => remark !== undefined)
    .filter(({ items }) => items.length > 0)
}

/** What a mark of a busy machine means. */
export const limitSentence = 'The machine was the limit: differences come out smaller than they are.'

/** Without a registry that answers, there is nothing that its link could bring. */
const registryDownScenario = 'e'

function idealTimes({ scenario, variants, runs }: ScenarioSummary, settings: Settings): Remark | undefined {
  const rate = settings.registryBitsPerSecond
  if (rate === undefined || scenario.id === registryDownScenario) return undefined
  const items = variants.flatMap(({ variant }) => {
    const run = runs.find((one) => one.variant === variant && one.rigFailure === undefined && one.images.length > 0)
    if (run === undefined) return []
    const nodes = run.nodes.filter(({ role }) => role === undefined).length
    const one = (8 * lackingBytes(run)) / rate
    return [{ subject: variant, text: `one copy ${seconds(one)}, ${nodes} copies ${seconds(one * nodes)}` }]
  })
  const text =
    'Computed from sizes alone: what the registry’s link needs for one copy of what a node lacks, and for one copy for each node that pulls.'
  return { title: 'Ideal times over the registry’s link', text, items }
}

function failedPulls({ overall, runs }: ScenarioSummary): Remark {
  const contenders = overall.map(({ contender }) => contender)
  const items = pullErrors(contenders, runs).flatMap(({ contender, shown, others }) => [
    ...shown.map(({ error, count }) => ({ subject: `${contender.title}, ${counted(count, 'pull')}`, text: error })),
    ...(others === 0 ? [] : [{ subject: `${contender.title}, ${counted(others, 'pull')}`, text: 'other errors' }]),
  ])
  return { title: 'Why pulls failed', items }
}

function kills({ scenario, overall, variants, runs }: ScenarioSummary): Remark {
  const contenders = overall.map(({ contender }) => contender)
  const items = contenders.flatMap((contender) => {
    const mine = runs.filter((run) => run.contender === contender.id && run.rigFailure === undefined)
    if (contender.id === baseline && scenario.id === killScenario && mine.length > 0)
      return [{ subject: contender.title, text: 'there is no mirror to kill, so the reference has no fault' }]
    return variants.flatMap(({ variant }) => {
      const said = mine.filter((run) => run.variant === variant).flatMap((run) => kill(run) ?? [])
      return said.length === 0 ? [] : [{ subject: `${contender.title}, ${variant}`, text: said.join('; ') }]
    })
  })
  return { title: 'What was killed', items }
}

function kill(run: Run): string | undefined {
  const { killed, failure } = run
  if (failure !== undefined) return undefined
  const nothing = killStruckNothing(run) ? 'the kill struck nothing, so there is no ratio' : undefined
  if (killed === undefined) return nothing
  const what = `${killed.node} after ${seconds(killed.at)}, when it had sent ${bytes(killed.sentBytes)}`
  return nothing === undefined ? what : `${what}: ${nothing}`
}

function notMeasured({ overall, runs }: ScenarioSummary): Remark {
  const items = runs.flatMap((run) => {
    if (run.rigFailure === undefined) return []
    const text = `not measured: the benchmark itself failed: ${run.rigFailure}`
    const title = overall.find(({ contender }) => contender.id === run.contender)?.contender.title ?? run.contender
    return [{ subject: `${title}, ${run.variant}, repeat ${run.repeat + 1}`, text }]
  })
  return { title: 'Not measured', text: 'These runs are in no figure, and say nothing of the contender.', items }
}

function busyMachine({ variants }: ScenarioSummary): Remark {
  const items = variants.flatMap(({ variant, cells }) =>
    cells
      .filter(({ atLimit }) => atLimit > 0)
      .map(({ contender, atLimit, runs }) => ({
        subject: `${contender.title}, ${variant}`,
        text: `in ${atLimit} of ${counted(runs, 'run')}`,
      })),
  )
  return { title: 'The machine was busy', text: limitSentence, items }
}
