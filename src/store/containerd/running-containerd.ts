import { readFile, stat } from 'node:fs/promises'
import { connect as connectHttp2 } from 'node:http2'
import { createConnection } from 'node:net'

import { z } from 'zod'

import { errorText } from '../../telemetry/log.ts'
import { second } from '../../time/units.ts'
import { connect, unary } from './connection.ts'
import { type LookServices, loadLookServices } from './services.ts'

/** What a running containerd says about itself. */
export type ContainerdLook =
  | { readonly state: 'absent' }
  | { readonly state: 'failed'; readonly reason: 'refused' | 'denied' | 'silent'; readonly says: string }
  | {
      readonly state: 'answers'
      readonly version: string
      readonly major: number
      readonly minor: number
      readonly patch: number
      /** Where its content store is on disk. */
      readonly contentRoot: string | undefined
      /** Milliseconds since the epoch: of the process where it can be seen (1.7 and newer, no other PID namespace), else of its socket, which it makes anew. */
      readonly startedAt: number | undefined
      /** The file that it was started with, where its command line can be seen and names one. */
      readonly configFile: string | undefined
      readonly cri: CriLook
    }

export type CriLook =
  | { readonly state: 'off' }
  | { readonly state: 'broken'; readonly says: string }
  /** From 2.0 to 2.3 containerd does not tell the settings for images. */
  | { readonly state: 'hidden' }
  | {
      readonly state: 'shown'
      readonly configPath: string
      readonly discardsLayers: boolean
      /** Registries with the mirrors of old that stand in the configuration itself; 2.4 does not tell them. */
      readonly inlineMirrors: readonly string[]
    }

const CALL_DEADLINE = 3 * second
const CLOCK_TICKS = 100

const versionSchema = z.object({ version: z.string() })
const serverSchema = z.object({ pid: z.number(), pidns: z.number() })
const pluginsSchema = z.object({
  plugins: z.array(
    z.object({
      type: z.string(),
      id: z.string(),
      exports: z.record(z.string(), z.string()).default({}),
      init_err: z.object({ message: z.string() }).nullable().default(null),
    }),
  ),
})
const statusSchema = z.object({ info: z.record(z.string(), z.string()) })
/** What the plugin for images exports from 2.4 on. */
const exportsSchema = z.object({ RegistryConfigPath: z.string(), DiscardUnpackedLayers: z.enum(['true', 'false']) })
const criSchema = z.object({
  registry: z
    .object({ configPath: z.string().default(''), mirrors: z.record(z.string(), z.unknown()).nullable().default({}) })
    .optional(),
  containerd: z.object({ discardUnpackedLayers: z.boolean().default(false) }).optional(),
})

/** Looks at the containerd behind a socket. Never rejects but for the signal. */
export async function lookAtContainerd(socket: string, signal: AbortSignal): Promise<ContainerdLook> {
  const failure = await connectionFailure(socket)
  signal.throwIfAborted()
  if (failure?.code === 'ENOENT' || failure?.code === 'ENOTDIR') return { state: 'absent' }
  if (failure !== undefined) {
    const { code } = failure
    const reason = code === 'EACCES' || code === 'EPERM' ? 'denied' : code === 'ECONNREFUSED' ? 'refused' : 'silent'
    return { state: 'failed', reason, says: code ?? failure.message }
  }
  const client = connect(socket)
  const services = loadLookServices()
  try {
    const ask: Ask = (method, argument) =>
      unary(client, services[method], argument, { signal, deadline: CALL_DEADLINE })
    return await look(ask, socket)
  } catch (error) {
    signal.throwIfAborted()
    return { state: 'failed', reason: 'silent', says: errorText(error) }
  } finally {
    client.close()
  }
}

type Ask = (method: keyof LookServices, argument: object) => Promise<unknown>

async function look(ask: Ask, socket: string): Promise<ContainerdLook> {
  const { version } = versionSchema.parse(await ask('version', {}))
  const { plugins } = pluginsSchema.parse(await ask('plugins', { filters: [] }))
  const server = await ask('server', {}).then(
    (answer) => serverSchema.parse(answer),
    () => undefined,
  )
  const [major = 0, minor = 0, patch = 0] =
    /^v?(\d+)\.(\d+)(?:\.(\d+))?/
      .exec(version)
      ?.slice(1)
      .map((digits) => Number(digits ?? 0)) ?? []
  const running = server === undefined ? undefined : await lookAtProcess(server.pid, server.pidns)
  const content = plugins.find((plugin) => plugin.type === 'io.containerd.content.v1')
  return {
    state: 'answers',
    version,
    major,
    minor,
    patch,
    contentRoot: content?.exports['root'],
    startedAt: running?.startedAt ?? (await stat(socket).catch(() => undefined))?.mtimeMs,
    configFile: running?.configFile,
    cri: await lookAtCri(ask, plugins, major),
  }
}

async function lookAtCri(ask: Ask, plugins: z.infer<typeof pluginsSchema>['plugins'], major: number): Promise<CriLook> {
  const parts = plugins.filter(
    ({ type, id }) => (type === 'io.containerd.grpc.v1' && id === 'cri') || type === 'io.containerd.cri.v1',
  )
  const broken = parts.find((plugin) => plugin.init_err !== null)
  if (broken?.init_err !== undefined && broken.init_err !== null)
    return { state: 'broken', says: broken.init_err.message }
  if (parts.length === 0) return { state: 'off' }
  if (major >= 2) return lookAtExports(parts.find(({ id }) => id === 'images')?.exports)
  const answer = await ask('criStatus', { verbose: true })
  const parsed = criSchema.safeParse(parseJson(statusSchema.parse(answer).info['config'] ?? ''))
  if (!parsed.success || parsed.data.registry === undefined) return { state: 'hidden' }
  return {
    state: 'shown',
    configPath: parsed.data.registry.configPath,
    discardsLayers: parsed.data.containerd?.discardUnpackedLayers ?? false,
    inlineMirrors: Object.keys(parsed.data.registry.mirrors ?? {}),
  }
}

function lookAtExports(exported: unknown): CriLook {
  const { success, data } = exportsSchema.safeParse(exported)
  if (!success) return { state: 'hidden' }
  const { RegistryConfigPath: configPath, DiscardUnpackedLayers: discards } = data
  return { state: 'shown', configPath, discardsLayers: discards === 'true', inlineMirrors: [] }
}

/** Only where the number means the same process here. */
async function lookAtProcess(
  pid: number,
  namespace: number,
): Promise<{ startedAt: number; configFile: string | undefined } | undefined> {
  try {
    if (pid === 0 || (await stat('/proc/self/ns/pid')).ino !== namespace) return undefined
    const [line, uptime, command] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile('/proc/uptime', 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ])
    // The 22nd field of proc_pid_stat(5); the second one may hold blanks, in parentheses.
    const ticks = Number(line.slice(line.lastIndexOf(')') + 2).split(' ')[19])
    const startedAt = Date.now() - (Number.parseFloat(uptime) - ticks / CLOCK_TICKS) * second
    return Number.isFinite(startedAt) ? { startedAt, configFile: configFlag(command.split('\0')) } : undefined
  } catch {
    return undefined
  }
}

function configFlag(words: readonly string[]): string | undefined {
  const at = words.findIndex((word) => /^(?:--?config|-c)(?:=|$)/.test(word))
  const word = words[at]
  return word?.includes('=') === true ? word.slice(word.indexOf('=') + 1) : word && words[at + 1]
}

/** gRPC keeps a connection that nobody answers on; this one is ended. */
function connectionFailure(socket: string): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const session = connectHttp2('http://localhost', { createConnection: () => createConnection(socket) })
    const timer = setTimeout(() => finish(new Error('no answer in time')), CALL_DEADLINE)
    const finish = (failure?: NodeJS.ErrnoException) => {
      clearTimeout(timer)
      session.destroy()
      resolve(failure)
    }
    session.once('remoteSettings', () => finish())
    session.once('close', () => finish(new Error('it ended the connection')))
    session.on('error', (error) => finish(error))
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
