import { EXIT } from '../cli/exit.ts'
import type { ServeConfig, ServeFlags } from '../config/serve-config.ts'
import { createLog, errorText } from '../telemetry/log.ts'
import { second } from '../time/units.ts'
import { resolveAddresses } from './advertised-hosts.ts'
import { type Daemon, startDaemon } from './daemon.ts'
import { startWatchdog } from './watchdog.ts'
import { welcome } from './welcome.ts'

/** After the grace for transfers, everything else has this long to close. */
const CLOSE_TIMEOUT = 5 * second

/** Runs the daemon until SIGTERM or SIGINT; a second one ends it at once. Returns the exit code. */
export async function serve(flags: ServeFlags): Promise<number> {
  const log = createLog(flags.logLevel)
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
  let config: ServeConfig
  let daemon: Daemon
  try {
    config = await resolveAddresses(flags)
    daemon = await startDaemon(config, log, waiting.signal)
  } catch (error) {
    if (waiting.signal.aborted && error instanceof Error && error.name === 'AbortError') {
      await stopWatchdog()
      return EXIT.ok
    }
    process.stderr.write(`nabo: ${errorText(error)}\n`)
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

function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal))
  })
}
