import { type Command, InvalidArgumentError, Option } from 'commander'

import { parseCount } from '../config/parse.ts'
import { readMirrorToken } from '../config/mirror-token.ts'
import { ownPlatform, parsePlatform } from '../oci/platform.ts'
import { type ImageReference, parseImageReference } from '../oci/reference.ts'
import { formatBytes, formatDuration, formatRate, formatShare } from './amounts.ts'
import { errorText } from '../telemetry/log.ts'
import { EXIT } from './exit.ts'
import { jsonFlag, platformFlag } from './flags.ts'
import { MirrorClient } from './pull/mirror-client.ts'
import { NO_PROGRESS, type PullProgress, barProgress, jsonProgress, lineProgress } from './pull/progress.ts'
import { type PullResult, pullImage } from './pull/pull-image.ts'
import { readCredential } from './pull/read-credential.ts'
import { CommandError, runCommand } from './run-command.ts'
import { flag, mirrorUrlFlag, switchFlag } from './runtime-flags.ts'

interface Values {
  readonly mirrorUrl: string
  readonly platform?: string
  readonly allPlatforms?: boolean
  readonly parallel: number
  readonly credsStdin?: boolean
  readonly mirrorTokenFile?: string
  readonly quiet?: boolean
  readonly json?: boolean
}

const ABOUT = `
Everything is read through the mirror as a client would, its digests are checked, and it is thrown away: nothing is put into containerd.
A daemon with \`--store directory\` keeps it in its cache, as after any pull. What no node holds comes from the registry, and counts there.

Where an answer comes from is what the mirror says when it begins: this node, a neighbour's address, or upstream. If that one breaks off,
the rest comes from somewhere else. --json prints a line for each content and one for the whole, sizes in bytes, times in milliseconds.`

/** Adds `nabo pull`: reads an image through the mirror, to see where it comes from and how fast. */
export function addPull(program: Command): void {
  program
    .command('pull')
    .description('read an image through the mirror and throw it away: does it work, where does it come from, how fast')
    .argument('<image>', 'such as alpine, ghcr.io/org/app:1', parseImage)
    .allowExcessArguments(false)
    .addOption(mirrorUrlFlag())
    .addOption(platformFlag())
    .addOption(switchFlag('--all-platforms', 'all that the image is made of').conflicts('platform'))
    .addOption(flag('--parallel <count>', 'how many layers at a time', parseCount(1, 64), '3'))
    .addOption(new Option('--creds-stdin', 'read user:password for the registry from standard input'))
    .addOption(flag('--mirror-token-file <path>', 'the secret that `nabo serve --mirror-token-file` wants', String))
    .addOption(switchFlag('--quiet', 'print the digest alone').conflicts('json'))
    .addOption(jsonFlag('print JSON lines, for programs'))
    .addHelpText('after', ABOUT)
    .action((image: ImageReference, values: Values) => runCommand((signal) => run(image, values, signal)))
}

async function run(image: ImageReference, values: Values, signal: AbortSignal): Promise<number> {
  const token = values.mirrorTokenFile === undefined ? undefined : await tokenIn(values.mirrorTokenFile)
  const credential = values.credsStdin === true ? await readCredential(process.stdin, values.mirrorUrl) : undefined
  const client = new MirrorClient({ url: values.mirrorUrl, credential, token })
  const progress = progressFor(values)
  try {
    const platform =
      values.allPlatforms === true ? 'all' : (values.platform && parsePlatform(values.platform)) || ownPlatform()
    const { parallel } = values
    const observe = progress.event.bind(progress)
    const result = await pullImage({ client, image, platform, parallel, signal, observe })
    progress.end()
    process.stdout.write(resultText(result, values))
    return EXIT.ok
  } catch (error) {
    progress.end()
    if (values.json === true && error instanceof CommandError)
      process.stdout.write(`${JSON.stringify({ event: 'failed', message: error.message })}\n`)
    throw error
  } finally {
    await client.close()
  }
}

function progressFor({ quiet, json }: Values): PullProgress {
  if (quiet === true) return NO_PROGRESS
  if (json === true) return jsonProgress(process.stdout)
  const canDraw = process.stdout.isTTY && process.env['TERM'] !== 'dumb'
  return canDraw ? barProgress(process.stdout) : lineProgress(process.stdout)
}

function resultText(result: PullResult, { quiet, json }: Values): string {
  if (quiet === true) return `${result.digest}\n`
  if (json !== true) return summaryText(result)
  return `${JSON.stringify({ event: 'pulled', ...result, ms: Math.round(result.ms) })}\n`
}

/** For people. */
export function summaryText({ reference, digest, contents, bytes, ms, sources }: PullResult): string {
  const names = {
    store: 'this node',
    peer: 'neighbours',
    upstream: 'upstream',
    unknown: 'where the mirror does not say',
  }
  const shares = Object.entries(names).flatMap(([source, name]) => {
    const share = sources[source as keyof typeof names]
    return share === 0 ? [] : [`${formatShare(share, bytes)} from ${name}`]
  })
  return `${reference}\n${digest}\n${contents} contents, ${formatBytes(bytes)} in ${formatDuration(ms)}, ${formatRate(bytes, ms)}: ${shares.join(', ')}\n`
}

function parseImage(text: string): ImageReference {
  const image = /^sha(?:256|512):/.test(text) ? undefined : parseImageReference(text.trim())
  if (image === undefined) throw new InvalidArgumentError('an image such as alpine or ghcr.io/org/app:1 is expected.')
  return image
}

async function tokenIn(path: string): Promise<string> {
  try {
    return await readMirrorToken(path)
  } catch (cause) {
    throw new CommandError(errorText(cause), { cause })
  }
}
