import type { HubOptions } from '../../../test/support/hub/hub.ts'
import type { Version } from '../images.ts'
import type { Stage } from '../rig/stage.ts'

/** The images that a scenario plays with. */
export interface Cast {
  readonly first: Version
  readonly update: Version
  /** Two more images of the same size, which share nothing. */
  readonly others: readonly Version[]
}

export interface Scenario {
  readonly id: string
  readonly title: string
  readonly description: string
  /** Plays with several images, whose size does not matter: the plan's smallest will do. */
  readonly manyImages?: boolean
  /** Plays with images of a gigabyte too: where every node fetches at once, their size is the question. */
  readonly withLarge?: boolean
  /** Pulls the update too: if it shares layers with the first version, or always. */
  readonly withUpdate?: 'if-shared' | 'always'
  readonly hub?: HubOptions
  /** The variants that it measures, in that order. */
  variants(cast: Cast): readonly string[]
  play(stage: Stage, cast: Cast): Promise<void>
}

/** Whether it pulls the update of an image whose versions share layers, or do not. */
export function pullsUpdate({ withUpdate }: Pick<Scenario, 'withUpdate'>, shareLayers: boolean): boolean {
  return withUpdate === 'always' || (withUpdate === 'if-shared' && shareLayers)
}
