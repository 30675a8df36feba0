import type { Run } from './results.ts'

const MARK = 'Not played: '
const IMAGE = /\d+ MB, \d+ layers?/

/** Whether a note of results is that of {@link notPlayed}: about what is in the file, and not about how it was measured. */
export function isNotPlayed(note: string): boolean {
  return note.startsWith(MARK)
}

/** Which images that some scenario was played with are missing in others, as one sentence; undefined: none. */
export function notPlayed(runs: readonly Pick<Run, 'scenario' | 'variant'>[]): string | undefined {
  const played = new Set<string>()
  const images = new Set<string>()
  const scenarios = new Set<string>()
  for (const { scenario, variant } of runs) {
    const image = IMAGE.exec(variant)?.[0]
    if (image === undefined) continue
    images.add(image)
    scenarios.add(scenario)
    played.add(`${scenario} ${image}`)
  }
  const missing = Map.groupBy(images, (image) =>
    [...scenarios]
      .filter((scenario) => !played.has(`${scenario} ${image}`))
      .toSorted()
      .join(', '),
  )
  const parts = [...missing]
    .filter(([without]) => without !== '')
    .map(([without, which]) => `${which.map(short).join(', ')} in ${without}`)
  return parts.length === 0 ? undefined : `${MARK}${parts.join('; ')}.`.slice(0, 500)
}

/** `1000 MB, 4 layers` as the command line has it: `1000x4`. */
function short(image: string): string {
  return image.replace(/^(\d+) MB, (\d+) layers?$/, '$1x$2')
}

/** These notes with the sentence about these runs in place of an older one. */
export function withNotPlayed(notes: readonly string[], runs: readonly Run[]): string[] {
  const sentence = notPlayed(runs)
  return [...notes.filter((note) => !isNotPlayed(note)), ...(sentence === undefined ? [] : [sentence])]
}
