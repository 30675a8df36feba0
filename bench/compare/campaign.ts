import type { Contender } from './contenders/contender.ts'
import { type Take, takesOf } from './estimate.ts'
import { makeVersions } from './images.ts'
import type { Run } from './results.ts'
import type { Performance } from './rig/perform.ts'
import type { Cast, Scenario } from './scenarios/scenario.ts'
import type { Plan } from './settings.ts'

export interface Listener {
  /** A run is about to begin; `done` of `all` have ended. */
  beginning(words: string, done: number, all: number): void
  /** The benchmark itself failed, and tries the run once more. */
  again(why: string): void
  ended(runs: readonly Run[]): Promise<void>
}

export interface Campaign {
  readonly plan: Plan
  readonly scenarios: readonly Scenario[]
  readonly contenders: readonly Contender[]
  /** How many repeats were made before, in the results that these are added to. */
  readonly earlierRepeats: number
  /** Plays one scenario with one contender. What goes wrong stands in its runs. */
  readonly perform: (performance: Performance, plan: Plan, signal: AbortSignal) => Promise<Run[]>
}

/** The benchmark itself failed again and again: to go on would book nothing but that. */
export class RigFailure extends Error {
  override readonly name = 'RigFailure'
}

const OTHER_IMAGES = 2
const RIG_FAILURES_IN_A_ROW = 3

/**
 * Plays everything: contenders take turns with each scenario and image, and begin with another one each time, so that whatever else the machine
 * does, and whatever a run leaves in it, meets all of them. A run in which the rig fails is tried once more. Throws {@link RigFailure} when the
 * rig has failed in three runs in a row, after they were told.
 */
export async function playAll(campaign: Campaign, listener: Listener, signal: AbortSignal): Promise<void> {
  const { plan, scenarios, contenders, earlierRepeats } = campaign
  const takes = takesOf(plan, scenarios)
  const all = takes.length * plan.repeats * contenders.length
  let done = 0
  let failedInARow = 0
  for (const [turn, take] of takes.entries()) {
    const cast = makeCast(take)
    for (let repeat = 0; repeat < plan.repeats; repeat++) {
      for (const contender of rotated(contenders, turn + earlierRepeats + repeat)) {
        signal.throwIfAborted()
        const { scenario, image } = take
        const words = `${scenario.id} (${scenario.title}), ${image.megabytes} MB x ${image.layers}, ${contender.title}`
        listener.beginning(words, done, all)
        const runs = await performSurely(campaign, { scenario, contender, cast, repeat }, listener, signal)
        await listener.ended(runs)
        done += 1
        const why = rigFailureIn(runs)
        failedInARow = why === undefined ? 0 : failedInARow + 1
        if (failedInARow === RIG_FAILURES_IN_A_ROW) {
          throw new RigFailure(
            `the benchmark itself failed in ${failedInARow} runs in a row, last with: ${why?.slice(0, 500)}`,
          )
        }
      }
    }
  }
}

/** A second time if the rig fails in the first: a hiccup of this machine is no result. */
async function performSurely(
  { perform, plan }: Campaign,
  performance: Performance,
  listener: Listener,
  signal: AbortSignal,
): Promise<Run[]> {
  const once = async () => {
    const runs = await perform(performance, plan, signal)
    // What an interrupt broke is no result.
    signal.throwIfAborted()
    return runs
  }
  const first = await once()
  const why = rigFailureIn(first)
  if (why === undefined) return first
  listener.again(why)
  return once()
}

function rigFailureIn(runs: readonly Run[]): string | undefined {
  return runs.find(({ rigFailure }) => rigFailure !== undefined)?.rigFailure
}

function makeCast({ image, scenario }: Take): Cast {
  const count = scenario.manyImages === true ? OTHER_IMAGES : 0
  const others = Array.from({ length: count }, (_, i) => makeVersions(image, i + 1).first)
  return { ...makeVersions(image), others }
}

function rotated<T>(items: readonly T[], by: number): T[] {
  if (items.length === 0) return []
  const from = by % items.length
  return [...items.slice(from), ...items.slice(0, from)]
}
