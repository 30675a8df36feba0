import { readdir, readFile, readlink } from 'node:fs/promises'
import { isIPv4 } from 'node:net'

import type { HostPort } from '../overlay/host-port.ts'

/** The process behind a listening TCP socket, as far as this user may see it. */
export interface ListeningProcess {
  /** The user who opened the socket. */
  readonly uid: number
  /** undefined if another user or another PID namespace hides the process. */
  readonly program: ListeningProgram | undefined
}

export interface ListeningProgram {
  readonly pid: number
  /** The kernel's name of the process, at most 15 bytes. */
  readonly name: string
  /** undefined if it cannot be read. */
  readonly executable: string | undefined
  readonly args: readonly string[]
}

interface ListeningSocket {
  /** Hexadecimal, as the kernel writes it. */
  readonly address: string
  readonly uid: number
  readonly inode: string
}

/** The socket state LISTEN in `/proc/net/tcp`. */
const LISTEN = '0A'
const WILDCARDS: ReadonlySet<string> = new Set(['0'.repeat(8), '0'.repeat(32)])

/** Finds the process that listens on an IP address and port of this machine; undefined if `/proc/net` shows none. */
export async function findListeningProcess({ host, port }: HostPort): Promise<ListeningProcess | undefined> {
  const tables = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map(readOrNothing))
  const sockets = tables.flatMap((table) => listeningSockets(table, port))
  const wanted = kernelAddress(host)
  // The kernel gives a connection to the socket with the exact address before one with a wildcard.
  const socket =
    sockets.find(({ address }) => address === wanted) ?? sockets.find(({ address }) => WILDCARDS.has(address))
  return socket === undefined ? undefined : { uid: socket.uid, program: await programWith(socket.inode) }
}

/** `nginx (pid 7, /usr/sbin/nginx, user 0)`. */
export function describeProcess({ uid, program }: ListeningProcess): string {
  if (program === undefined) return `a process of user ${uid}, which this user or container cannot see`
  const { name, pid, executable } = program
  return `${name} (pid ${pid}, ${executable === undefined ? `user ${uid}` : `${executable}, user ${uid}`})`
}

/** See proc(5): `sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode …`. */
function listeningSockets(table: string, port: number): readonly ListeningSocket[] {
  return table.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , uid, , inode] = line.trim().split(/\s+/)
    const [address = '', hexPort = ''] = local.split(':')
    if (state !== LISTEN || inode === undefined || Number.parseInt(hexPort, 16) !== port) return []
    return [{ address, uid: Number(uid), inode }]
  })
}

/** An address as `/proc/net` has it: words of 32 bits in the byte order of the machine, which is little-endian on amd64 and arm64. */
function kernelAddress(host: string): string {
  const bytes = isIPv4(host) ? host.split('.').map(Number) : bytesOfIPv6(host)
  const words = Array.from({ length: bytes.length / 4 }, (_, at) => bytes.slice(4 * at, 4 * at + 4).reverse())
  return Buffer.from(words.flat()).toString('hex').toUpperCase()
}

function bytesOfIPv6(host: string): readonly number[] {
  // The URL parser writes an address without an embedded IPv4 part.
  const [head = '', tail] = (URL.parse(`http://[${host}]`)?.hostname.slice(1, -1) ?? '::').split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)))
  const [first, last] = [groups(head), groups(tail ?? '')]
  const all = [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last]
  return all.flatMap((group) => [group >> 8, group & 0xff])
}

/** The first process that has the socket open: of a server with workers, the one that started them. */
async function programWith(inode: string): Promise<ListeningProgram | undefined> {
  const pids = (await readdir('/proc').catch(() => [])).map(Number).filter((pid) => pid > 0)
  for (const pid of pids.sort((a, b) => a - b)) {
    if (await hasOpen(pid, `socket:[${inode}]`)) return describe(pid)
  }
  return undefined
}

async function hasOpen(pid: number, target: string): Promise<boolean> {
  const directory = `/proc/${pid}/fd`
  const descriptors = await readdir(directory).catch(() => [])
  for (const descriptor of descriptors) {
    if ((await readlink(`${directory}/${descriptor}`).catch(() => '')) === target) return true
  }
  return false
}

async function describe(pid: number): Promise<ListeningProgram> {
  const [name, command, executable] = await Promise.all([
    readOrNothing(`/proc/${pid}/comm`),
    readOrNothing(`/proc/${pid}/cmdline`),
    readlink(`/proc/${pid}/exe`).catch(() => undefined),
  ])
  return { pid, name: name.trim(), executable, args: command.split('\0').slice(0, -1) }
}

function readOrNothing(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}
