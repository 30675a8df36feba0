import { type Command, InvalidArgumentError, type Option } from 'commander'

import { parseCount, parseDuration } from '../config/parse.ts'
import { type Platform, parsePlatform } from '../oci/platform.ts'
import { parseImageReference } from '../oci/reference.ts'
import { minute } from '../time/units.ts'
import { namespace as namespaceSchema } from '../contracts/node/warm.ts'
import { warm as warmCall } from '../contracts/admin/warm.ts'
import { AdminError } from './admin-client.ts'
import { type AdminFlags, adminSocketOption, adminUrlOption, withAdmin } from './admin-flags.ts'
import { EXIT } from './exit.ts'
import { jsonFlag } from './flags.ts'
import { flag } from './runtime-flags.ts'
import { WarmView } from './warm-view.ts'

interface Flags extends AdminFlags {
  readonly zone?: readonly string[]
  readonly nodes?: readonly string[]
  readonly platform?: Platform
  readonly namespace?: string
  readonly parallel?: number
  readonly timeout: number
  readonly json?: boolean
}

const DEFAULT_TIMEOUT = '1h'
/** The daemon sends a line every three seconds; resolving a tag takes longer. */
const SILENCE = minute / 2
/** 128 and the number of SIGINT, as shells have it. */
const INTERRUPTED = 130

const HELP = `
Each node's own containerd pulls, by its CRI or its transfer service, through its own Nabo; a node without containerd fills its
cache. No credentials are sent to other nodes: of private images each node pulls what its own --credentials-file may.
Ctrl-C takes the order back; when the daemon that coordinates ends, the nodes go on to the end.`

/** Adds `nabo warm`. */
export function addWarm(program: Command): void {
  program
    .command('warm')
    .description('bring an image to every node, before a rollout')
    .argument('<image>', 'such as nginx:1, ghcr.io/org/app:1 or ghcr.io/org/app@sha256:…', parseImage)
    .allowExcessArguments(false)
    .addOption(adminSocketOption())
    .addOption(adminUrlOption())
    .addOption(own('--zone <names>', 'only the nodes of these zones, with commas between them', parseList))
    .addOption(
      own(
        '--nodes <names>',
        'only these nodes: addresses or ids with commas between them; self is this one',
        parseList,
      ),
    )
    .addOption(own('--platform <os/architecture>', "instead of each node's own", parsePlatformName))
    .addOption(own('--namespace <name>', "of containerd (default: the kubelet's, k8s.io)", parseNamespace))
    .addOption(own('--parallel <count>', 'how many nodes at a time (default: all)', parseCount(1, 100_000)))
    .addOption(own('--timeout <time>', 'take the order back after this time', parseDuration, DEFAULT_TIMEOUT))
    .addOption(jsonFlag('print a line of JSON for each change, the last one a summary'))
    .addHelpText('after', HELP)
    .action(async (image: string, flags: Flags) => {
      process.exitCode = await warm(image, flags)
    })
}

async function warm(reference: string, flags: Flags): Promise<number> {
  const interrupted = new AbortController()
  const onSignal = () => interrupted.abort()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, onSignal)
  const timeout = AbortSignal.timeout(flags.timeout)
  const view = new WarmView({ json: flags.json === true, out: process.stdout, err: process.stderr })
  try {
    return await follow(reference, flags, view, AbortSignal.any([interrupted.signal, timeout]))
  } catch (error) {
    view.close()
    if (interrupted.signal.aborted) return (say('interrupted: the order is taken back'), INTERRUPTED)
    if (timeout.aborted) return (say('it took too long (--timeout): the order is taken back'), EXIT.failed)
    if (!(error instanceof AdminError)) throw error
    return (say(error.message), EXIT.failed)
  } finally {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, onSignal)
  }
}

async function follow(reference: string, flags: Flags, view: WarmView, signal: AbortSignal): Promise<number> {
  const { platform, namespace, zone: zones, nodes, parallel } = flags
  const body = {
    reference,
    platform,
    namespace,
    zones: zones && [...zones],
    nodes: nodes && [...nodes],
    parallel,
  }
  return withAdmin(flags, async (admin) => {
    for await (const line of admin.lines(warmCall, { body }, { signal, timeout: SILENCE })) {
      if (line.type !== 'waiting') view.raw(line)
      if (line.type === 'node') view.update(line)
      if (line.type !== 'summary') continue
      view.finish()
      if (line.nodes === 0) return (say(`no node is in ${zones?.join(' or ') ?? 'the cluster'}`), EXIT.failed)
      return line.failed === 0 ? EXIT.ok : EXIT.failed
    }
    throw new AdminError('the daemon ended before every node had the image; the nodes that it has asked go on pulling')
  })
}

/** A flag with the variable NABO_WARM_…: in a container this command has the daemon's environment, where NABO_ZONE is the node's zone. */
function own(...[flags, ...rest]: Parameters<typeof flag>): Option {
  return flag(flags, ...rest).env(`NABO_WARM_${(flags.split(' ')[0] ?? '').slice(2).toUpperCase()}`)
}

function say(sentence: string): void {
  process.stderr.write(`nabo warm: ${sentence}\n`)
}

function parseImage(text: string): string {
  // A digest without a repository reads as a name and a tag.
  if (/^sha(?:256|512):/.test(text) || parseImageReference(text) === undefined)
    throw new InvalidArgumentError('an image such as nginx:1 or ghcr.io/org/app@sha256:… is expected.')
  return text
}

function parseList(text: string): readonly string[] {
  const names = text.split(/[\s,]+/).filter((name) => name !== '')
  if (names.length === 0) throw new InvalidArgumentError('names with commas between them are expected.')
  return names
}

function parsePlatformName(text: string): Platform {
  const platform = parsePlatform(text)
  if (platform === undefined) throw new InvalidArgumentError('a platform such as linux/amd64 is expected.')
  return platform
}

function parseNamespace(text: string): string {
  if (!namespaceSchema.safeParse(text).success)
    throw new InvalidArgumentError("a namespace of containerd's is expected, such as k8s.io.")
  return text
}
