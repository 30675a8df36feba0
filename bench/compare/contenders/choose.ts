import { join } from 'node:path'

import type { Contender as ContenderEntry } from '../results.ts'
import { type Contender, NoContenderError } from './contender.ts'
import { described } from './described.ts'
import { readDescription } from './description.ts'
import { nabo } from './nabo.ts'
import { noMirror } from './none.ts'
import { pullThrough } from './pull-through.ts'

export interface Chosen {
  readonly contenders: readonly Contender[]
  /** All that were asked for, those too that cannot take part here. */
  readonly entries: readonly ContenderEntry[]
}

/**
 * Finds the contenders by their ids, or by the files that describe them. What has to be made of them is made in `workshop`.
 * Throws NoContenderError.
 */
export async function chooseContenders(names: readonly string[], workshop: string): Promise<Chosen> {
  const contenders: Contender[] = []
  const entries: ContenderEntry[] = []
  for (const name of new Set(names)) {
    const found = await find(name, workshop)
    if ('skip' in found) {
      entries.push({ id: name, title: name, failure: found.skip })
      continue
    }
    if (contenders.some(({ id }) => id === found.id))
      throw new NoContenderError(`two contenders are called ${found.id}`)
    contenders.push(found)
    const { id, title, description, version } = found
    entries.push({
      id,
      title,
      ...(description === undefined ? {} : { description }),
      ...(version === undefined ? {} : { version }),
    })
  }
  return { contenders, entries }
}

async function find(name: string, workshop: string): Promise<Contender | { readonly skip: string }> {
  if (name === 'none') return noMirror
  if (name === 'nabo') return nabo(join(workshop, 'nabo'))
  if (name === 'pull-through') return pullThrough()
  return described(await readDescription(name))
}
