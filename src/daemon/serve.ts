import { EXIT } from '../cli/exit.ts'
import type { GivenFlags } from '../config/given-flags.ts'
import type { ServeConfig, ServeFlags } from '../config/serve-config.ts'
import { describeProcess, findListeningProcess } from '../doctor/listening-process.ts'
import { findMirrorOccupant, isThisProgram } from '../doctor/mirror-occupant.ts'
import { type HostPort, formatHostPort } from '../overlay/host-port.ts'
import { ListenError } from '../overlay/listen-error.ts'
import { unknownVariables } from '../config/unknown-variables.ts'
import { createLog, errorText } from '../telemetry/log.ts'
import { second } from '../time/units.ts'
import { resolveAddresses } from './advertised-hosts.ts'
import { type Daemon, startDaemon } from './daemon.ts'
import { startWatchdog } from './watchdog.ts'
import { welcome } from './welcome.ts'

/** After the grace for transfers, everything else has this long to close. */
const CLOSE_TIMEOUT = 5 * second

/** `given`: the flags as they were written. Runs the daemon until SIGTERM or SIGINT; a second one ends it at once. Returns the exit code. */
export async function serve(flags: ServeFlags, given: GivenFlags): Promise<number> {
  const log = createLog(flags.logLevel)
  const unknown = unknownVariables(process.env)
  if (unknown.length > 0)
    log.warn(
      { variables: unknown },
      'these variables are none of Nabo and have no effect: see nabo serve --help for the names',
    )
  const stopWatchdog = startWatchdog()
  const unforeseen = (error: unknown) => {
    log.fatal({ err: error, stack: error instanceof Error ? error.stack : undefined }, 'an error that nobody handled')
    process.exit(EXIT.internal)
  }
  // It has to end: after an exception out of a read the system would go on writing to a buffer that was handed out (peers/blobs).
  process.on('uncaughtException', unforeseen)
  process.on('unhandledRejection', unforeseen)

  const signalled = nextSignal()
  const waiting = new AbortController()
  void signalled.then(() => waiting.abort())
  let config: ServeConfig | undefined
  let daemon: Daemon
  try {
    config = await resolveAddresses(flags)
    daemon = await startDaemon(config, log, { signal: waiting.signal, given })
  } catch (error) {
    if (waiting.signal.aborted && error instanceof Error && error.name === 'AbortError') {
      await stopWatchdog()
      return EXIT.ok
    }
    process.stderr.write(`nabo: ${(await whyTaken(error, config?.mirrorAddr ?? [])) ?? errorText(error)}\n`)
    log.debug({ err: error, stack: error instanceof Error ? error.stack : undefined }, 'could not start')
    await stopWatchdog()
    return EXIT.failed
  }
  log.info(daemon.summary, 'nabo serves')
  if (process.stdout.isTTY || process.env['npm_lifecycle_event'] === 'start')
    process.stderr.write(welcome(daemon.summary, config))

  const signal = await signalled
  log.info({ signal, graceMs: config.shutdownGrace }, 'stopping: transfers under way may end')
  void nextSignal().then((again) => process.exit(again === 'SIGINT' ? 130 : 143))
  const timer = setTimeout(() => process.exit(EXIT.ok), config.shutdownGrace + CLOSE_TIMEOUT)
  await daemon.stop()
  clearTimeout(timer)
  await stopWatchdog()
  log.info({}, 'stopped')
  return EXIT.ok
}

/** Names the program that has the address of a listener; undefined if that is not why the daemon could not start, or the program is unknown. */
async function whyTaken(failure: unknown, mirrors: readonly HostPort[]): Promise<string | undefined> {
  if (!(failure instanceof ListenError) || failure.code !== 'EADDRINUSE') return undefined
  const listener = await findListeningProcess(failure.address).catch(() => undefined)
  if (listener === undefined) return undefined
  const { program, uid } = listener
  const where = formatHostPort(failure.address)
  if (program !== undefined && isThisProgram(listener))
    return `Nabo already runs on this machine (pid ${program.pid}, which has ${where}): nabo status shows it`
  if (program === undefined && (await isMirrorOf(uid, mirrors)))
    return `Nabo already runs on this machine (as user ${uid}, who has ${where}): as that user nabo status shows it`
  return `${failure.message}; it is ${describeProcess(listener)}`
}

/** Whether a Nabo of user `uid` has one of the mirror addresses. The system shows a process of another user to root alone: what answers there tells. */
async function isMirrorOf(uid: number, mirrors: readonly HostPort[]): Promise<boolean> {
  for (const mirror of mirrors) {
    const [occupant, listener] = await Promise.all([
      findMirrorOccupant(new URL(`http://${formatHostPort(mirror)}`)),
      findListeningProcess(mirror),
    ]).catch(() => [])
    if (occupant?.type === 'nabo' && listener?.uid === uid) return true
  }
  return false
}

function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal))
  })
}
