import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

import type { Command } from 'commander'

import { defaultAdminSocket } from '../config/admin-socket.ts'
import { differencesOf, givenFlags, parseGivenFlags } from '../config/given-flags.ts'
import { parseDuration } from '../config/parse.ts'
import type { ServeFlags } from '../config/serve-config.ts'
import { addServeFlags, serveFlagsOf } from '../config/serve-flags.ts'
import { ALL_CHECKS } from '../doctor/all-checks.ts'
import { type Finding, worst } from '../doctor/check.ts'
import { lookAt } from '../doctor/node.ts'
import { renderFindings } from '../doctor/render.ts'
import { runChecks } from '../doctor/run-checks.ts'
import { second } from '../time/units.ts'
import { ADMIN_API } from '../contracts/admin-api.ts'
import { AdminClient } from './admin-client.ts'
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
  const { config, addressProblem } = await doctorConfig(running?.flags ?? flags)
  const differences = running === undefined ? [] : differencesOf(given, running.given)
  const signal = AbortSignal.timeout(timeout + SLACK)
  const sources = doctorSources(config, { timeout, ...(running === undefined ? {} : { admin: running.admin }) })
  const node = lookAt({ settings: config, differences, addressProblem, environment: process.env, sources, signal })
  const findings = await runChecks(ALL_CHECKS, node, { timeout, signal })
  const level = worst(findings)?.level ?? 'ok'
  const colours = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === ''
  const text = json
    ? `${JSON.stringify({ level, findings }, undefined, 2)}\n`
    : renderFindings(findings, { colours, print: printable })
  await write(text)
  return exitCodeOf(findings)
}

/** What the daemon of this node was started with, if its socket answers; relative paths then start where the daemon's do. */
async function flagsOfDaemon({ adminSocket = defaultAdminSocket() }: ServeFlags, timeout: number) {
  if (adminSocket === 'none') return undefined
  const admin = new AdminClient({ socket: resolve(adminSocket) })
  try {
    const { workingDirectory, flags: given } = await admin.call(ADMIN_API.settings, {}, { timeout })
    const flags = parseGivenFlags(given)
    if (existsSync(workingDirectory)) process.chdir(workingDirectory)
    return { admin, given, flags }
  } catch {
    // No daemon, one of another user, or an older version: the flags given here are checked.
    await admin.close()
    return undefined
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
