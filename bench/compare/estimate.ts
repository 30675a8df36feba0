import { type ImageCase, sharesLayers } from './images.ts'
import { type Scenario, pullsUpdate } from './scenarios/scenario.ts'
import { type Plan, bitsPerSecond } from './settings.ts'

/** Making and ending a network with its processes, and checking what came. */
const AROUND_SECONDS = 15
/** How much of a gigabyte a second this machine hashes, writes and moves for one node, roughly. */
const MACHINE_GB_PER_SECOND = 0.3

/** What the registry needs to make an image, for each gigabyte. */
const MAKING_SECONDS = 8

export interface Take {
  readonly scenario: Scenario
  readonly image: ImageCase
}

/** Images that large are left out of the scenarios that are not about size, unless there are no others. */
const LARGE_MEGABYTES = 1000

/** What is played: every scenario with every image that fits it. */
export function takesOf(plan: Plan, scenarios: readonly Scenario[]): Take[] {
  const [smallest] = plan.images.toSorted((a, b) => a.megabytes - b.megabytes)
  const fits = ({ manyImages = false, withLarge = false }: Scenario, image: ImageCase) => {
    if (manyImages) return image === smallest
    return withLarge || image.megabytes < LARGE_MEGABYTES || image.megabytes === smallest?.megabytes
  }
  return plan.images.flatMap((image) =>
    scenarios
      .filter((scenario) => plan.scenarios.includes(scenario.id) && fits(scenario, image))
      .map((scenario) => ({ scenario, image })),
  )
}

/** Seconds, at the most: as if all contenders fetched everything from the registry for every node. */
export function estimateSeconds(plan: Plan, takes: readonly Take[]): number {
  const bitRate = bitsPerSecond(plan.registryRate) ?? Infinity
  const seconds = takes.map(({ image, scenario }) => {
    const { manyImages = false } = scenario
    const withUpdate = pullsUpdate(scenario, sharesLayers(image))
    const newShare = sharesLayers(image) ? 0.5 : 1
    const megabytes = image.megabytes * (manyImages ? 3 : withUpdate ? 1 + newShare : 1) * plan.nodes
    const made = image.megabytes * (manyImages ? 3 : withUpdate ? 2 : 1)
    return (
      AROUND_SECONDS +
      (made / 1000) * MAKING_SECONDS +
      (8e6 * megabytes) / bitRate +
      megabytes / 1000 / MACHINE_GB_PER_SECOND
    )
  })
  return seconds.reduce((sum, one) => sum + one, 0) * plan.contenders.length * plan.repeats
}
