import type { Contender, Pull, Run } from '../results.ts'
import { countedPulls } from '../stats.ts'

/** An error that pulls of one contender failed with, and how many did. */
export type PullError = { error: string; count: number }

export type PullErrors = {
  contender: Contender
  /** The most frequent first. */
  shown: PullError[]
  /** Pulls that failed with other errors than those. */
  others: number
}

const maxShown = 3
/** As much as Docker Hub's refusal needs, with the address that was asked. */
const maxChars = 320

/** Why each contender's pulls failed; contenders whose pulls all worked are not in it. */
export function pullErrors(contenders: readonly Contender[], runs: readonly Run[]): PullErrors[] {
  return contenders.flatMap((contender) => {
    const mine = runs.filter((run) => run.contender === contender.id && run.rigFailure === undefined)
    const failed = mine.flatMap(countedPulls).filter(({ ok }) => !ok)
    const counts = new Map<string, number>()
    for (const pull of failed) counts.set(withoutNames(pull), (counts.get(withoutNames(pull)) ?? 0) + 1)
    const all = [...counts].map(([error, count]) => ({ error, count })).toSorted((a, b) => b.count - a.count)
    const others = all.slice(maxShown).reduce((sum, { count }) => sum + count, 0)
    return all.length === 0 ? [] : [{ contender, shown: all.slice(0, maxShown), others }]
  })
}

/** One line without digests, addresses, ports and the image's name: what is left is the same for pulls that failed for the same reason. */
function withoutNames({ error, image }: Pull): string {
  const repository = image.replace(/@.*$/u, '').replace(/:[^/:]*$/u, '')
  const plain = (error ?? 'no reason given')
    .replaceAll(image, '…')
    // A name of a single word could be any word of the sentence.
    .replaceAll(repository.includes('/') ? repository : image, '…')
    .replace(/\b(sha\d{3}):[0-9a-f]{8,}/gu, '$1:…')
    .replace(/\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b/gu, '…')
    .replace(/\[[0-9a-f:]*:[0-9a-f:]*\](?::\d+)?/gu, '…')
    .replace(/(?<=[A-Za-z0-9]):\d{2,5}(?=[/\s:,"']|$)/gu, ':…')
    .replace(/\b[0-9a-f]{12,}\b/gu, '…')
    .replace(/\s+/gu, ' ')
    .trim()
  return cut(plain)
}

/** The beginning says what was tried, the end why it failed: what has to go is in the middle. */
function cut(line: string): string {
  if (line.length <= maxChars) return line
  const half = Math.floor((maxChars - 3) / 2)
  return `${line.slice(0, half).trimEnd()} … ${line.slice(-half).trimStart()}`
}
