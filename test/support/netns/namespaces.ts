import { readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { isLeftBehind } from '../left-behind.ts'
import { runSync } from './commands.ts'

/** Names of namespaces and directories carry the process that they belong to, so that what a killed one left can be told. */
const PREFIX = 'nabo-net'

let count = 0

/** `nabo-net-<pid>-<n>`: what all names of one cluster begin with. */
export function uniqueName(): string {
  return `${PREFIX}-${process.pid}-${count++}`
}

/** Why this process cannot make network namespaces; undefined if it can. */
export function namespacesUnavailable(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces need Linux'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const name = uniqueName()
  try {
    runSync('ip', 'netns', 'add', name)
    runSync('ip', 'netns', 'del', name)
    return undefined
  } catch (error) {
    return `network namespaces cannot be made here: ${error instanceof Error ? error.message.trim() : String(error)}`
  }
}

/** Kills what runs in the namespaces, takes them down, and removes the directory with whatever is mounted under it. */
export async function demolish(names: readonly string[], directory: string): Promise<void> {
  for (let tries = 0; tries < 50 && killAll(names) > 0; tries++) await sleep(20)
  removeAll(names, directory)
}

/** The same without waiting, for a process that is about to exit. */
export function demolishNow(names: readonly string[], directory: string): void {
  for (let tries = 0; tries < 50 && killAll(names) > 0; tries++) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
  }
  removeAll(names, directory)
}

/** Takes down what earlier processes left behind when they were killed. */
export async function sweep(): Promise<void> {
  const stale = (name: string) => isLeftBehind(PREFIX, name)
  await demolish(listNamespaces().filter(stale), '')
  for (const entry of readdirSync(tmpdir())) {
    if (stale(entry)) removeAll([], join(tmpdir(), entry))
  }
}

function listNamespaces(): string[] {
  return runSync('ip', 'netns', 'list')
    .split('\n')
    .flatMap((line) => (line === '' ? [] : [line.split(' ')[0] ?? '']))
}

/** Which of these namespaces are there. */
function existing(names: readonly string[]): readonly string[] {
  const all = new Set(names.length === 0 ? [] : listNamespaces())
  return names.filter((name) => all.has(name))
}

/** Runs `ip netns <verb> <name>`. Two processes may sweep at once: the output is empty if the other one has just removed the namespace. */
function ipNetns(verb: 'pids' | 'del', name: string): string {
  try {
    return runSync('ip', 'netns', verb, name)
  } catch (error) {
    if (existing([name]).length > 0) throw error
    return ''
  }
}

/** How many processes were still there. */
function killAll(names: readonly string[]): number {
  const pids = existing(names).flatMap((name) => ipNetns('pids', name).split('\n'))
  const alive = pids.filter((pid) => pid !== '' && !isZombie(pid))
  for (const pid of alive) signal(Number(pid), 'SIGKILL')
  return alive.length
}

function removeAll(names: readonly string[], directory: string): void {
  for (const name of existing(names)) ipNetns('del', name)
  if (directory === '') return
  for (const mount of mountsUnder(directory)) unmount(mount)
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
}

function unmount(mount: string): void {
  try {
    runSync('umount', '-l', mount)
  } catch (error) {
    // Another process that sweeps may have unmounted it.
    if (mountsUnder(dirname(mount)).includes(mount)) throw error
  }
}

/** Innermost first. */
function mountsUnder(directory: string): string[] {
  const points = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[1] ?? '').replaceAll('\\040', ' '))
  return points.filter((point) => point.startsWith(`${directory}/`)).reverse()
}

function isZombie(pid: string): boolean {
  try {
    return /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return true
  }
}

function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}
