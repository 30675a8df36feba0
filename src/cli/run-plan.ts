import { FileError, withRetries } from '../runtimes/edited-file.ts'
import { applyPlan, type FileChange, type Plan, verbOf } from '../runtimes/text-file.ts'
import { differenceOf } from './containerd-files.ts'
import { EXIT } from './exit.ts'
import { isFitForMirror } from './mirror-check.ts'
import { printable } from './printable.ts'

export interface PlanRun {
  /** The file or the directory that the command is about. */
  readonly path: string
  readonly dryRun: boolean
  /** Where clients are sent; undefined if the plan sends them nowhere. */
  readonly mirrorUrl?: URL
  /** Called again when another program changes a file meanwhile. */
  readonly make: () => Promise<Plan>
  /** Printed when the plan changes nothing. */
  readonly nothing: string
  /** Printed after a change: what the runtime needs now. */
  readonly after: string
}

/** Makes a plan, carries it out unless this is a dry run, and prints a line for each file. Returns the exit code. */
export async function runPlan({ path, dryRun, mirrorUrl, make, nothing, after }: PlanRun): Promise<number> {
  if (mirrorUrl !== undefined && !(await isFitForMirror(mirrorUrl))) return EXIT.failed
  try {
    const plan = await withRetries(path, async () => {
      const made = await make()
      if (!dryRun) await applyPlan(made)
      return made
    })
    print(plan, path, dryRun)
    for (const note of plan.notes) say(note)
    if (plan.changes.length === 0 && plan.notes.length === 0) say(nothing)
    else if (plan.changes.length > 0 && !dryRun) say(after)
    return EXIT.ok
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    process.stderr.write(`nabo: ${printable(error.message)}\n`)
    return EXIT.failed
  }
}

function print({ changes }: Plan, about: string, dryRun: boolean): void {
  // A file may be written twice on the way.
  const files = new Map<string, FileChange>()
  for (const change of changes) if (!files.has(change.before.path)) files.set(change.before.path, change)
  // The file that the command is about comes first, whatever is written first.
  const shown = [...files].toSorted(([a], [b]) => Number(b === about) - Number(a === about))
  for (const [path, change] of shown) {
    say(`${path}: ${dryRun ? 'would be ' : ''}${verbOf(change)}`)
    if (dryRun) for (const line of linesOf(change)) say(`  ${line}`)
  }
}

function linesOf(change: FileChange): readonly string[] {
  return change.kind === 'remove' ? [] : differenceOf(change.before.text, change.text)
}

function say(line: string): void {
  process.stdout.write(`${printable(line)}\n`)
}
