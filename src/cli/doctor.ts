import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

import type { Command } from 'commander'

import { defaultAdminSocket } from '../config/admin-socket.ts'
import { differencesOf, type GivenFlags, givenFlags, parseGivenFlags } from '../config/given-flags.ts'
import { parseDuration } from '../config/parse.ts'
import type { ServeConfig, ServeFlags } from '../config/serve-config.ts'
import { addServeFlags, serveFlagsOf } from '../config/serve-flags.ts'
import { ALL_CHECKS } from '../doctor/all-checks.ts'
import { type Finding, warning, worst } from '../doctor/check.ts'
import { settingsCheck } from '../doctor/checks/settings.ts'
import { lookAt } from '../doctor/node.ts'
import { renderFindings } from '../doctor/render.ts'
import { runChecks } from '../doctor/run-checks.ts'
import { errorText } from '../telemetry/log.ts'
import { DeadlineError } from '../time/deadline.ts'
import { second } from '../time/units.ts'
import { ADMIN_API } from '../contracts/admin-api.ts'
import { AdminClient, AdminError } from './admin-client.ts'
import { EXIT } from './exit.ts'
import { jsonFlag } from './flags.ts'
import { printable } from './printable.ts'
import { flag } from './runtime-flags.ts'

/** What has not ended this long after the last check's time is left. */
const SLACK = second

/** Adds `nabo doctor`. */
export function addDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .description('look at this node: what is right, what is not, and what to change; give it the flags of serve')
    .allowExcessArguments(false)
    .addOption(jsonFlag())
    .addOption(flag('--timeout <time>', 'how long one check may take', parseDuration, '5s'))
  addServeFlags(command)
    .addHelpText(
      'after',
      '\nEnds with 0 if all is right, 3 if there are warnings, 1 if something keeps Nabo from working.',
    )
    .action(async (values: Record<string, unknown>) => {
      process.exitCode = await run(serveFlagsOf(values), {
        json: values['json'] === true,
        timeout: values['timeout'] as number,
      })
      // A look at something that hangs must not keep the process.
      process.exit()
    })
}

async function run(flags: ServeFlags, { json, timeout }: { json: boolean; timeout: number }): Promise<number> {
  const { doctorConfig, doctorSources } = await import('./doctor-sources.ts')
  const given = givenFlags(process.argv.slice(2))
  const running = await flagsOfDaemon(flags, timeout / 2)
  const { config, addressProblem } = await doctorConfig(running.isKnown ? running.flags : flags)
  const look = async () => {
    const signal = AbortSignal.timeout(timeout + SLACK)
    const differences = running.isKnown ? differencesOf(given, running.given) : []
    const sources = doctorSources(config, { timeout, ...(running.isKnown ? { admin: running.admin } : {}) })
    const node = lookAt({ settings: config, differences, addressProblem, environment: process.env, sources, signal })
    return runChecks(ALL_CHECKS, node, { timeout, signal })
  }
  const told =
    running.isKnown || running.reason === undefined
      ? undefined
      : await findingsOfDaemon(config, running.reason, timeout / 2)
  const isSilent = !running.isKnown && running.isSilent
  const findings = [
    ...(isSilent ? [silentDaemon(flags)] : []),
    ...(told ?? (isSilent && !namesFlags(given) ? [] : await look())),
  ]
  const level = worst(findings)?.level ?? 'ok'
  const colours = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === ''
  const text = json
    ? `${JSON.stringify({ level, findings }, undefined, 2)}\n`
    : renderFindings(findings, { colours, print: printable })
  await write(text)
  return exitCodeOf(findings)
}

/**
 * What the daemon of this node was started with, if its socket answers; relative paths then start where the daemon's do. Otherwise why the socket does not
 * answer; no reason if none is to be asked.
 */
async function flagsOfDaemon({ adminSocket = defaultAdminSocket() }: ServeFlags, timeout: number) {
  if (adminSocket === 'none') return { isKnown: false, reason: undefined, isSilent: false } as const
  const admin = new AdminClient({ socket: resolve(adminSocket) })
  try {
    const { workingDirectory, flags: given } = await admin.call(ADMIN_API.settings, {}, { timeout })
    const flags = parseGivenFlags(given)
    if (existsSync(workingDirectory)) process.chdir(workingDirectory)
    return { isKnown: true, admin, given, flags } as const
  } catch (error) {
    // No daemon, one of another user, or an older version.
    await admin.close()
    const reason = error instanceof AdminError ? error.message : errorText(error)
    return {
      isKnown: false,
      reason,
      isSilent: error instanceof AdminError && error.cause instanceof DeadlineError,
    } as const
  }
}

/** The daemon has its socket, and does not answer. */
function silentDaemon({ adminSocket = defaultAdminSocket() }: ServeFlags): Finding {
  return {
    ...{ id: 'ports', title: 'daemon', level: 'error' },
    says: `the daemon at ${resolve(adminSocket)} takes connections and does not answer, so its flags are not known`,
    fix: 'it hangs or is stopped: look into its log, and end and restart it',
  }
}

/** Whether flags of serve were given here, which can be checked without the daemon. */
function namesFlags(given: GivenFlags): boolean {
  return Object.keys(given).some((flag) => flag !== '--admin-socket')
}

/**
 * The findings of a daemon that answers on TCP alone, where the flags given here may not be its own, and a finding that says so. undefined if there is none, or
 * one without a socket, or it does not answer in `timeout` milliseconds: then the flags given here are checked.
 */
async function findingsOfDaemon(
  config: ServeConfig,
  reason: string,
  timeout: number,
): Promise<readonly Finding[] | undefined> {
  const options = { timeout, signal: AbortSignal.timeout(timeout) }
  const { adminOf } = await import('./doctor-sources.ts')
  const admin = adminOf(config)
  try {
    const { adminSocket } = await admin.call(ADMIN_API.status, {}, options)
    if (adminSocket === undefined) return undefined
    const { findings } = await admin.call(ADMIN_API.checks, {}, options)
    const outcome = warning(
      `the flags of the daemon cannot be read, so its own findings are shown: ${reason}`,
      // Not the path in the answer: any program may listen there while the daemon is down.
      'run nabo doctor as the user of the daemon, with the --admin-socket of nabo serve',
    )
    return [{ id: settingsCheck.id, title: settingsCheck.title, ...outcome }, ...findings]
  } catch {
    return undefined
  } finally {
    await admin.close()
  }
}

function exitCodeOf(findings: readonly Finding[]): number {
  if (findings.some(({ level }) => level === 'error')) return EXIT.failed
  return findings.some(({ level }) => level === 'warning') ? EXIT.warnings : EXIT.ok
}

/** All of it, before the process ends. */
function write(text: string): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(text, () => resolve())
  })
}
