import { errorText } from '../telemetry/log.ts'
import { withDeadline } from '../time/deadline.ts'
import { type Check, type Finding, unknown, warning } from './check.ts'
import type { Node } from './node.ts'

const LOOK = 'run nabo doctor as root, and outside of a container'

/** Runs checks side by side, each with a deadline of its own in milliseconds. Never rejects: a check that fails finds `unknown`. */
export async function runChecks(
  checks: readonly Check[],
  node: Node,
  options: { timeout: number; signal: AbortSignal },
): Promise<readonly Finding[]> {
  const findings = await Promise.all(checks.map((check) => runOne(check, node, options)))
  return findings.filter((finding) => finding !== undefined)
}

async function runOne(
  check: Check,
  node: Node,
  { timeout, signal }: { timeout: number; signal: AbortSignal },
): Promise<Finding | undefined> {
  const { id, title } = check
  const outcome = await withDeadline(timeout, 'the check', signal, (limit) => check.run(node, limit)).catch(
    (cause: unknown) => unknown(`this could not be checked: ${errorText(cause)}`),
  )
  if (outcome?.level !== 'unknown' || check.isDecisive !== true) return outcome && { id, title, ...outcome }
  return { id, title, ...warning(`${outcome.says}: perhaps pulls do not go through Nabo`, outcome.fix ?? LOOK) }
}
