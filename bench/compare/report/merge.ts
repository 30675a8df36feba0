import { isNotPlayed, withNotPlayed } from '../not-played.ts'
import type { Contender, Results, Run } from '../results.ts'

/**
 * Puts results together that were made under the same conditions (machine, links, versions), and leaves the others apart: figures of different
 * machines must not meet in one median. Repeats are renumbered, so that pairs are always of one file.
 */
export function mergeResults(all: readonly Results[]): Results[] {
  const merged: Results[] = []
  for (const next of all) {
    const index = merged.findIndex((before) => haveSameConditions(before, next))
    const before = merged[index]
    if (before === undefined) merged.push(next)
    else merged[index] = joined(before, next)
  }
  return merged
}

function haveSameConditions(a: Results, b: Results): boolean {
  // Changed files that nobody committed may be any.
  if (a.revision?.endsWith('-dirty') === true) return false
  return conditions(a) === conditions(b) && b.contenders.every((contender) => versionsAgree(contender, a.contenders))
}

function conditions({ revision, machine, settings }: Results): string {
  const { nodes, nodeBitsPerSecond, registryBitsPerSecond, registryLatencyMs, notes } = settings
  const how = notes?.filter((note) => !isNotPlayed(note))
  const software = Object.entries(machine.software).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const hardware = [machine.cpu, machine.cores, machine.memoryBytes, machine.os, machine.kernel]
  return JSON.stringify([
    revision,
    hardware,
    software,
    [nodes, nodeBitsPerSecond, registryBitsPerSecond, registryLatencyMs, how],
  ])
}

function versionsAgree(contender: Contender, others: readonly Contender[]): boolean {
  const same = others.find(({ id }) => id === contender.id)
  return same === undefined || (same.version === contender.version && same.title === contender.title)
}

function joined(a: Results, b: Results): Results {
  const offset = a.runs.reduce((most, { repeat }) => Math.max(most, repeat + 1), 0)
  const moved: Run[] = b.runs.map((run) => ({ ...run, repeat: run.repeat + offset }))
  const runs = [...a.runs, ...moved]
  return {
    ...a,
    startedAt: a.startedAt < b.startedAt ? a.startedAt : b.startedAt,
    finishedAt: a.finishedAt > b.finishedAt ? a.finishedAt : b.finishedAt,
    settings: {
      ...a.settings,
      mode: a.settings.mode === b.settings.mode ? a.settings.mode : 'custom',
      repeats: Math.max(a.settings.repeats, b.settings.repeats),
      // Only the whole can say what is missing in it.
      ...(a.settings.notes === undefined ? {} : { notes: withNotPlayed(a.settings.notes, runs) }),
    },
    contenders: union(a.contenders, b.contenders),
    scenarios: union(a.scenarios, b.scenarios).toSorted((x, y) => (x.id < y.id ? -1 : 1)),
    runs,
  }
}

/** A contender that failed in one file only is shown as failed all the same: what it said there must not get lost. */
function union<Item extends { id: string }>(first: readonly Item[], second: readonly Item[]): Item[] {
  const items = new Map(first.map((item) => [item.id, item]))
  for (const item of second) items.set(item.id, { ...item, ...items.get(item.id) })
  return [...items.values()]
}
