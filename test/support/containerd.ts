import { mkdir, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'

import { Child } from './child.ts'
import { findTool, printedBy } from './debian-tool.ts'
import { type CommandResult, execute } from './netns/commands.ts'
import { CriClient } from './cri/cri-client.ts'
import { eventually } from './poll.ts'

/** Debian's suites carry the first three; the others are built from their Go modules. */
const VERSIONS = ['1.6', '1.7', '2.1', '2.2', '2.3', '2.4'] as const
export type ContainerdVersion = (typeof VERSIONS)[number]

/** One containerd to try things with. */
export interface ContainerdVariant {
  /** Whatever is on PATH or in this system's packages if absent. */
  readonly version?: ContainerdVersion | undefined
  /** From 2.1 on: layers come in chunks, several at a time. */
  readonly parallelFetch?: boolean
}

/** Where containerd and ctr are, and how that containerd is to run. */
export interface FoundContainerd {
  readonly binDir: string
  readonly parallelFetch: boolean
}

export interface ContainerdOptions {
  /** A short directory of its own: the path of a socket has less than 108 bytes. Kept over a restart. */
  readonly root: string
  /** Where containerd and ctr are: {@link findContainerd}. */
  readonly binDir: string
  /** That of {@link findContainerd}; what {@link chosenVariant} says if absent. */
  readonly parallelFetch?: boolean
  readonly env?: NodeJS.ProcessEnv
  /** The network namespace to run in. */
  readonly netns?: string
  /** Serves the CRI at the same socket, as for a kubelet, with hosts.toml files from this directory. */
  readonly criCerts?: string
}

export interface Containerd {
  readonly socket: string
  readonly root: string
  readonly pid: number
  /** Where the content store is on disk. */
  readonly contentPath: string
  /** Runs ctr against it, in its network namespace. */
  ctr(...args: readonly string[]): Promise<CommandResult>
  /** Reads an image from a file, without unpacking it, whatever its name is. */
  importTar(namespace: string, file: string, ...flags: readonly string[]): Promise<CommandResult>
  /** Gives an image other names, be they references or not. */
  tag(namespace: string, ...args: readonly string[]): Promise<CommandResult>
  /** Ends it and waits. */
  stop(): Promise<void>
  /** SIGKILL, and waits. */
  kill(): Promise<void>
}

const PARALLEL = '+parallel'
/** A version takes two to three minutes of two cores; the modules come from the network. */
const BUILD_MS = 45 * 60_000

/** What `NABO_TEST_CONTAINERD` says, as `npm run test:matrix` sets it: a version (`2.2`), with `+parallel` or without. */
export function chosenVariant(text = process.env['NABO_TEST_CONTAINERD'] ?? ''): ContainerdVariant {
  const parallelFetch = text.endsWith(PARALLEL)
  const name = parallelFetch ? text.slice(0, -PARALLEL.length) : text
  const version = VERSIONS.find((each) => each === name)
  if (version === undefined && name !== '')
    throw new Error(
      `NABO_TEST_CONTAINERD is ${text}: one of ${VERSIONS.join(', ')} is expected, perhaps with ${PARALLEL}`,
    )
  return { ...(version === undefined ? {} : { version }), parallelFetch }
}

/** The versions for tests that compare them: the chosen one alone, else those of Debian, so that `npm test` needs no Go. */
export function comparedVersions(): readonly ContainerdVersion[] {
  const { version } = chosenVariant()
  return version === undefined ? ['1.6', '1.7', '2.1'] : [version]
}

/** A containerd, fetched once if need be, or why it cannot be had here: a reason to skip. Without a variant the one that is chosen. */
export async function findContainerd(
  variant: ContainerdVariant = chosenVariant(),
): Promise<FoundContainerd | { readonly skip: string }> {
  if (process.getuid?.() !== 0) return { skip: 'containerd needs root' }
  const { version, parallelFetch = false } = variant
  const tool = await findVersion(version)
  return 'skip' in tool ? tool : { ...tool, parallelFetch }
}

async function findVersion(version: ContainerdVersion | undefined): ReturnType<typeof findTool> {
  switch (version) {
    case undefined:
      return findTool('containerd')
    case '1.6':
    case '1.7':
    case '2.1':
      return findTool(`containerd@${version}`)
    case '2.2':
    case '2.3':
    case '2.4':
      return printedBy('containerd-programs.sh', version, BUILD_MS)
  }
}

/** Starts a containerd that has nothing to do with the machine's own, and waits until it answers. Needs root. */
export async function startContainerd(options: ContainerdOptions): Promise<Containerd> {
  const { root, binDir, netns } = options
  const socket = join(root, 'c.sock')
  const config = join(root, 'config.toml')
  const env = { ...process.env, ...options.env, PATH: `${binDir}:${process.env['PATH'] ?? ''}` }
  await mkdir(root, { recursive: true })
  const { parallelFetch = chosenVariant().parallelFetch === true } = options
  await writeFile(config, configOf({ root, socket, criCerts: options.criCerts, parallelFetch }))
  const inNetns = netns === undefined ? {} : { netns }
  const child = new Child(join(binDir, 'containerd'), ['--config', config], { env, ...inNetns })
  try {
    // The socket of a killed one is still there, and refuses.
    await eventually('containerd answers', () => child.exit !== undefined || connects(socket))
    if (options.criCerts !== undefined) {
      using cri = new CriClient(socket)
      await eventually('its CRI answers', async () => child.exit !== undefined || (await cri.isServed()))
    }
    if (child.exit !== undefined) throw new Error('containerd ended at once')
  } catch (cause) {
    await child.kill()
    throw new Error(`containerd did not start:\n${child.lines.slice(-20).join('\n')}`, { cause })
  }
  const ctr = (...args: readonly string[]) => {
    const [command = '', ...rest] = [
      ...(netns === undefined ? [] : ['ip', 'netns', 'exec', netns]),
      join(binDir, 'ctr'),
      '--address',
      socket,
      ...args,
    ]
    return execute(command, rest, { env })
  }
  /** The transfer service of 2.x takes no names that are no references, and ctr may say nothing then. 1.6 has neither. */
  const locally = async (namespace: string, command: string, ...args: readonly string[]) => {
    const { stdout } = await ctr('images', command, '--help')
    const flags = ['--local', '--skip-reference-check'].filter((flag) => stdout.includes(flag))
    return ctr('--namespace', namespace, 'images', command, ...flags, ...args)
  }
  return {
    socket,
    root,
    pid: child.pid ?? 0,
    contentPath: join(root, 'root/io.containerd.content.v1.content'),
    ctr,
    importTar: (namespace, file, ...flags) => locally(namespace, 'import', '--no-unpack', ...flags, file),
    tag: (namespace, ...args) => locally(namespace, 'tag', ...args),
    stop: async () => void (await child.stop()),
    kill: async () => void (await child.kill()),
  }
}

interface Config {
  readonly root: string
  readonly socket: string
  readonly criCerts: string | undefined
  readonly parallelFetch: boolean
}

/** Version 2 of the format is understood by 1.x and 2.x. What is switched off is not needed, or needs more of the machine. */
function configOf({ root, socket, criCerts, parallelFetch }: Config): string {
  const cri = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime']
  const disabled = [
    ...(criCerts === undefined ? cri : []),
    'io.containerd.nri.v1.nri',
    'io.containerd.internal.v1.opt',
    'io.containerd.internal.v1.tracing',
    'io.containerd.snapshotter.v1.aufs',
    'io.containerd.snapshotter.v1.blockfile',
    'io.containerd.snapshotter.v1.btrfs',
    'io.containerd.snapshotter.v1.devmapper',
    'io.containerd.snapshotter.v1.zfs',
  ]
  return [
    'version = 2',
    `root = ${JSON.stringify(join(root, 'root'))}`,
    `state = ${JSON.stringify(join(root, 'state'))}`,
    `disabled_plugins = ${JSON.stringify(disabled)}`,
    '[grpc]',
    `address = ${JSON.stringify(socket)}`,
    '[ttrpc]',
    `address = ${JSON.stringify(join(root, 't.sock'))}`,
    // ctr and the CRI both pull by the transfer service there, unless told otherwise.
    '[plugins."io.containerd.transfer.v1.local"]',
    ...(parallelFetch ? PARALLEL_FETCH : []),
    ...(criCerts === undefined ? [] : criConfigOf(criCerts, parallelFetch)),
    '',
  ].join('\n')
}

/** Chunks of 1 MiB, so that the small layers of tests have several. */
const PARALLEL_FETCH = ['max_concurrent_downloads = 4', `concurrent_layer_fetch_buffer = ${2 ** 20}`]

/** For both plugins of that name: 1.x and 2.x each ignore the other's. The native snapshotter works in any container. */
function criConfigOf(certs: string, parallelFetch: boolean): string[] {
  return [
    '[plugins."io.containerd.grpc.v1.cri"]',
    'disable_tcp_service = true',
    '[plugins."io.containerd.grpc.v1.cri".containerd]',
    'snapshotter = "native"',
    '[plugins."io.containerd.grpc.v1.cri".registry]',
    `config_path = ${JSON.stringify(certs)}`,
    '[plugins."io.containerd.cri.v1.images"]',
    'snapshotter = "native"',
    ...(parallelFetch ? PARALLEL_FETCH : []),
    '[plugins."io.containerd.cri.v1.images".registry]',
    `config_path = ${JSON.stringify(certs)}`,
    // From 2.1 on the CRI pulls by the transfer service.
    '[[plugins."io.containerd.transfer.v1.local".unpack_config]]',
    `platform = "linux/${process.arch === 'x64' ? 'amd64' : process.arch}"`,
    'snapshotter = "native"',
  ]
}

function connects(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = createConnection(socket)
    connection.once('connect', () => resolve(true))
    connection.once('error', () => resolve(false))
    connection.once('connect', () => connection.destroy())
  })
}
