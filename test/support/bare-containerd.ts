import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { connectionError } from './connection-error.ts'
import { Child } from './child.ts'
import { eventually } from './poll.ts'

/** A containerd whose configuration is the test's own matter. */
export interface BareContainerd {
  readonly socket: string
  readonly configFile: string
  readonly contentPath: string
  stop(): Promise<void>
  /** SIGKILL, which leaves the socket behind. */
  kill(): Promise<void>
}

/** Starts one in a short directory of its own. `config` comes after the paths. Needs root. */
export async function startBareContainerd(options: {
  root: string
  binDir: string
  config: readonly string[]
  disabled?: readonly string[]
}): Promise<BareContainerd> {
  const { root, binDir, config, disabled = [] } = options
  const socket = join(root, 'c.sock')
  const configFile = join(root, 'config.toml')
  await mkdir(root, { recursive: true })
  await writeFile(configFile, [...headOf(root, socket, disabled), ...config, ''].join('\n'))
  const env = { ...process.env, PATH: `${binDir}:${process.env['PATH'] ?? ''}` }
  const child = new Child(join(binDir, 'containerd'), ['--config', configFile], { env })
  try {
    await eventually(
      'containerd answers',
      async () => child.exit !== undefined || (await connectionError(socket)) === undefined,
    )
    if (child.exit !== undefined) throw new Error('containerd ended at once')
  } catch (cause) {
    await child.kill()
    throw new Error(`containerd did not start:\n${child.lines.slice(-20).join('\n')}`, { cause })
  }
  return {
    socket,
    configFile,
    contentPath: join(root, 'root/io.containerd.content.v1.content'),
    stop: async () => void (await child.stop()),
    kill: async () => void (await child.kill()),
  }
}

const NEEDLESS = ['io.containerd.nri.v1.nri', 'io.containerd.internal.v1.opt', 'io.containerd.internal.v1.tracing']

function headOf(root: string, socket: string, disabled: readonly string[]): string[] {
  return [
    'version = 2',
    `root = ${JSON.stringify(join(root, 'root'))}`,
    `state = ${JSON.stringify(join(root, 'state'))}`,
    `disabled_plugins = ${JSON.stringify([...NEEDLESS, ...disabled])}`,
    '[grpc]',
    `address = ${JSON.stringify(socket)}`,
    '[ttrpc]',
    `address = ${JSON.stringify(join(root, 't.sock'))}`,
  ]
}

/** The CRI plugin as a kubelet needs it, in a configuration of version 2. */
export function criConfig(
  options: { configPath?: string; discardsLayers?: boolean; mirrors?: boolean } = {},
): string[] {
  const { configPath, discardsLayers, mirrors } = options
  return [
    '[plugins."io.containerd.grpc.v1.cri"]',
    'disable_tcp_service = true',
    '[plugins."io.containerd.grpc.v1.cri".containerd]',
    'snapshotter = "native"',
    ...(discardsLayers === undefined ? [] : [`discard_unpacked_layers = ${discardsLayers}`]),
    // Without runtimes 2.x takes nothing over from this table.
    '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]',
    'runtime_type = "io.containerd.runc.v2"',
    '[plugins."io.containerd.grpc.v1.cri".registry]',
    ...(configPath === undefined ? [] : [`config_path = ${JSON.stringify(configPath)}`]),
    ...(mirrors === true
      ? ['[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]', 'endpoint = ["http://127.0.0.1:5000"]']
      : []),
  ]
}
