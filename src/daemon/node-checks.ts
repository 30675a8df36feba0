import { Gauge, type Registry } from 'prom-client'

import { bySeverity, type Check, type Finding, isProblem, type Level, type Problem, worst } from '../doctor/check.ts'
import { lookAt, type NodeOptions } from '../doctor/node.ts'
import { runChecks } from '../doctor/run-checks.ts'
import type { Log } from '../telemetry/log.ts'
import { minute, second } from '../time/units.ts'
import { RecentContainerd } from './recent-containerd.ts'

/** What the checks found when they were last made. */
export interface CheckReport {
  /** ISO 8601; undefined before the first ones are done. */
  readonly checkedAt?: string
  readonly level: Level
  readonly findings: readonly Finding[]
}

export interface NodeChecksOptions extends Pick<NodeOptions, 'settings' | 'sources' | 'environment' | 'isContained'> {
  readonly checks: readonly Check[]
  readonly log: Pick<Log, 'info' | 'warn' | 'error'>
  /** Whether another part of the daemon logs what a finding says. */
  readonly isQuiet: (finding: Finding) => boolean
  /** Of checks whose answer means nothing yet while the node is starting. */
  readonly late: readonly string[]
  /** Of checks that look at files of this node or at what the daemon has seen, and are made more often. */
  readonly local?: readonly string[]
  /** Pause between two rounds of these, in milliseconds; 30 seconds if absent. */
  readonly localEvery?: number
  /** How old a report may be that is given to who asks, in milliseconds; 10 seconds if absent. */
  readonly fresh?: number
}

const CHECK_TIMEOUT = 5 * second
/** Each round asks some members one small question. */
const EVERY = 1 * minute
/** A setting that is lost while the node runs is told of within a minute. */
const LOCAL_EVERY = 30 * second
/** By then a node has met others, if it can. */
const START = 30 * second
/** Who asks more often is told what was found last. */
const FRESH = 10 * second

/**
 * The checks of `nabo doctor` in a running daemon: at its start, every minute, and when somebody asks. Those that look at files and at what the daemon
 * has seen are made every half minute.
 */
export class NodeChecks {
  readonly #options: NodeChecksOptions
  readonly #stopping = new AbortController()
  readonly #began = performance.now()
  #report: CheckReport = { level: 'unknown', findings: [] }
  /** What each check found when the log was told last. */
  readonly #logged = new Map<string, Finding>()
  #ranAt = Number.NEGATIVE_INFINITY
  #running: Promise<void> | undefined
  #runningLocal: Promise<void> | undefined
  readonly #containerd: RecentContainerd
  readonly #timers: NodeJS.Timeout[] = []

  constructor(options: NodeChecksOptions) {
    this.#options = options
    const { settings, sources } = options
    this.#containerd = new RecentContainerd(settings.containerdSocket, (signal) => sources.containerd(signal))
  }

  /** Returns at once. */
  start(): void {
    void this.#run()
    const first = setTimeout(() => {
      void this.#run()
      this.#timers.push(setInterval(() => void this.#run(), EVERY).unref())
    }, START).unref()
    const { local = [], localEvery = LOCAL_EVERY } = this.#options
    const often = setInterval(() => void this.#runLocal(local), localEvery).unref()
    this.#timers.push(first, often)
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#stopping.abort(new Error('the node stops'))
  }

  /** What was found last. */
  get last(): CheckReport {
    return this.#report
  }

  /** The warnings and errors that were found last, the worst first. */
  get lastProblems(): readonly Problem[] {
    return bySeverity(this.#report.findings.filter(isProblem))
  }

  /** What is so now, or was some seconds ago. */
  async ask(): Promise<CheckReport> {
    if (this.#running !== undefined || performance.now() - this.#ranAt >= (this.#options.fresh ?? FRESH))
      await this.#run()
    return this.#report
  }

  #run(): Promise<void> {
    this.#running ??= (this.#runningLocal ?? Promise.resolve())
      .then(() => this.#check())
      .finally(() => {
        this.#running = undefined
      })
    return this.#running
  }

  /** Nothing while checks are being made. */
  async #runLocal(local: readonly string[]): Promise<void> {
    if (this.#running !== undefined || this.#runningLocal !== undefined || local.length === 0) return
    this.#runningLocal = this.#checkLocal(local).finally(() => {
      this.#runningLocal = undefined
    })
    await this.#runningLocal
  }

  async #check(): Promise<void> {
    const { checks, late } = this.#options
    const isStarting = performance.now() - this.#began < START
    const due = checks.filter(({ id }) => !isStarting || !late.includes(id))
    const findings = await this.#make(due, (signal) => this.#containerd.ask(signal))
    if (this.#stopping.signal.aborted) return
    this.#ranAt = performance.now()
    this.#report = this.#told(findings)
  }

  async #checkLocal(local: readonly string[]): Promise<void> {
    const due = this.#options.checks.filter(({ id }) => local.includes(id))
    const found = await this.#make(due, (signal) => this.#containerd.recent(signal))
    if (this.#stopping.signal.aborted) return
    const all = new Map(this.#report.findings.map((finding) => [finding.id, finding]))
    for (const { id } of due) all.delete(id)
    for (const finding of found) all.set(finding.id, finding)
    // In the order in which they are shown.
    this.#report = this.#told(this.#options.checks.flatMap(({ id }) => all.get(id) ?? []))
  }

  #make(checks: readonly Check[], containerd: NodeOptions['sources']['containerd']): Promise<readonly Finding[]> {
    const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(CHECK_TIMEOUT)])
    const node = lookAt({ ...this.#options, sources: { ...this.#options.sources, containerd }, signal })
    return runChecks(checks, node, { timeout: CHECK_TIMEOUT, signal: this.#stopping.signal })
  }

  #told(findings: readonly Finding[]): CheckReport {
    this.#tell(findings)
    return { checkedAt: new Date().toISOString(), level: worst(findings)?.level ?? 'ok', findings }
  }

  /** Each change once: a disk that fills by and by is no news every time. */
  #tell(findings: readonly Finding[]): void {
    const { log, isQuiet } = this.#options
    for (const finding of findings) {
      const { id, level, says, fix, seenBy } = finding
      if (isQuiet(finding)) continue
      const old = this.#logged.get(id)
      this.#logged.set(id, finding)
      if (old !== undefined && isSame(old, finding)) continue
      const fields = { check: id, fix, seenBy }
      if (level === 'error') log.error(fields, says)
      else if (level === 'warning') log.warn(fields, says)
      else if (level === 'ok' && (old?.level === 'error' || old?.level === 'warning')) log.info(fields, says)
    }
  }
}

function isSame(a: Finding, b: Finding): boolean {
  const words = ({ level, says }: Finding) => `${level} ${says.replace(/\d+(?:\.\d+)?(?: [KMG]iB)?/g, '#')}`
  return words(a) === words(b)
}

/** Adds to a registry how many checks found what. */
export function observeChecks(registry: Registry, last: () => CheckReport): void {
  registry.registerMetric(
    new Gauge({
      name: 'nabo_check_findings',
      help: 'Checks of this node by what they found: ok, warning, error, or unknown where it cannot be seen from the daemon.',
      labelNames: ['level'],
      registers: [],
      collect() {
        const { findings } = last()
        for (const level of ['ok', 'warning', 'error', 'unknown'] as const)
          this.set({ level }, findings.filter((finding) => finding.level === level).length)
      },
    }),
  )
}
