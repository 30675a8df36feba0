import type { Node } from './node.ts'

export type Level = 'ok' | 'warning' | 'error' | 'unknown'

/** What a check found. `says` and `fix` are for whoever runs the node; neither holds a secret. */
export interface Finding {
  readonly id: string
  readonly title: string
  readonly level: Level
  /** One sentence. */
  readonly says: string
  /** What to change: a command, or a line and its file. */
  readonly fix?: string | undefined
  /** Addresses of the other nodes that report it; absent if this node has found it out itself. */
  readonly seenBy?: readonly string[] | undefined
}

export type Outcome = Omit<Finding, 'id' | 'title'>

/** One look at this node. */
export interface Check {
  readonly id: string
  readonly title: string
  /** Without its answer nobody knows whether pulls go through Nabo, so `unknown` is a warning. */
  readonly isDecisive?: boolean
  /** undefined where the question does not arise, such as containerd's settings on a node without containerd. */
  run(node: Node, signal: AbortSignal): Promise<Outcome | undefined>
}

export function ok(says: string): Outcome {
  return { level: 'ok', says }
}

export function warning(says: string, fix: string): Outcome {
  return { level: 'warning', says, fix }
}

export function error(says: string, fix: string): Outcome {
  return { level: 'error', says, fix }
}

/** The same outcome, reported by other nodes. */
export function seenBy(nodes: readonly string[], outcome: Outcome): Outcome {
  return { ...outcome, seenBy: nodes }
}

export function unknown(says: string, fix?: string): Outcome {
  return { level: 'unknown', says, ...(fix === undefined ? {} : { fix }) }
}

const SEVERITY: Readonly<Record<Level, number>> = { ok: 0, unknown: 1, warning: 2, error: 3 }

/** The worst first; those of the same level keep their order. */
export function bySeverity<T extends { readonly level: Level }>(outcomes: readonly T[]): readonly T[] {
  return outcomes.toSorted((a, b) => SEVERITY[b.level] - SEVERITY[a.level])
}

/** The worst of several; undefined if there are none. */
export function worst<T extends { readonly level: Level }>(outcomes: readonly T[]): T | undefined {
  return bySeverity(outcomes)[0]
}

/** A finding that something has to be done about. */
export interface Problem extends Finding {
  readonly level: 'warning' | 'error'
}

export function isProblem(finding: Finding): finding is Problem {
  return finding.level === 'warning' || finding.level === 'error'
}
