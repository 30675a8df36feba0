import type { Contender, Run } from './results.ts'

/** Without the registry, or past its quota, pulls fail: to count them is what these scenarios are for. */
const MAY_FAIL = new Set(['e', 'g'])

/** What went wrong, a sentence each: who ran the benchmark is to look at it before any figure. */
export function complaintsOf(contenders: readonly Contender[], runs: readonly Run[]): string[] {
  const absent = contenders.flatMap(({ id, failure }) =>
    failure === undefined ? [] : [`${id} could not take part: ${brief(failure)}`],
  )
  return [...absent, ...runs.flatMap(complaintsOfRun)]
}

function complaintsOfRun(run: Run): string[] {
  const { scenario, variant, contender, repeat, contentOk, failure, rigFailure } = run
  const where = `${contender} in ${scenario} (${variant}, repeat ${repeat})`
  if (rigFailure !== undefined) return [`${where}: the benchmark itself failed: ${brief(rigFailure)}`]
  if (failure !== undefined) return [`${where} failed: ${brief(failure)}`]
  if (contentOk === false) return [`${where}: wrong content`]
  const failed = unexpectedFailures(run)
  return failed === 0 ? [] : [`${where}: ${failed} pulls failed`]
}

/** Pulls that should have worked, and did not. */
function unexpectedFailures({ scenario, nodes }: Run): number {
  // Where the one cache of all nodes is killed, and not one mirror of several, nobody can give what it had begun.
  const lostItsCache = scenario === 'f' && !nodes.some(({ role }) => role === 'killed')
  if (MAY_FAIL.has(scenario) || lostItsCache) return 0
  return nodes
    .filter(({ role }) => role === undefined)
    .flatMap(({ pulls }) => pulls)
    .filter(({ ok }) => !ok).length
}

function brief(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`
}
