import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'

import type { MirrorProcess } from '../../bench/compare/contenders/contender.ts'
import { ProcessTree, sampleProcess } from '../../bench/compare/measure/process-tree.ts'
import { UsageWatch } from '../../bench/compare/measure/usage.ts'
import { Child } from '../support/child.ts'
import { eventually } from '../support/poll.ts'

const BUSY = 'for (;;) Buffer.alloc(1 << 20)'
const cpuOf = (pid: number) => sampleProcess(pid)?.cpuSeconds ?? 0

describe('the watch on a mirror process', () => {
  const running: Child[] = []
  const start = (command: string, args: readonly string[]) => {
    const child = new Child(command, args)
    running.push(child)
    return child
  }
  afterEach(async () => {
    for (const child of running.splice(0)) await child.kill()
  })

  it('counts CPU time from its start on, and keeps the peak of one that was killed', async () => {
    const child = start(process.execPath, ['-e', BUSY])
    const pid = child.pid ?? 0
    const mirror: MirrorProcess = {
      node: 'node-0',
      pid,
      ended: () => child.exit && 'ended',
      log: () => [],
      kill: async () => void (await child.kill()),
    }
    await eventually('it works', () => cpuOf(pid) > 0.05)
    const watch = new UsageWatch([mirror])
    const before = cpuOf(pid)
    await eventually('it works on', () => cpuOf(pid) > before + 0.5)
    await mirror.kill()
    const [usage] = watch.stop()
    assert.equal(usage?.node, 'node-0')
    assert.ok(usage.cpuSeconds > 0)
    assert.ok(usage.peakRssBytes > 1 << 20)
    assert.equal(sampleProcess(pid), undefined)
  })

  it('counts what a shell starts, and keeps it when that has ended', async () => {
    const program = `
      while (process.cpuUsage().user < 2e5);
      console.log(process.pid)
      setInterval(() => {}, 1e6)
    `
    const shell = start('/bin/sh', ['-c', `'${process.execPath}' -e '${program}'; echo over; kill -STOP $$`])
    const tree = new ProcessTree(shell.pid ?? 0)
    const pid = Number(await eventually('the child has worked', () => shell.lines[0]))
    assert.notEqual(pid, shell.pid)
    tree.look()
    const { cpuSeconds, peakRssBytes } = tree.usage
    const ofChild = sampleProcess(pid)
    assert.ok(cpuSeconds > cpuOf(shell.pid ?? 0) && cpuSeconds > 0.05, `${cpuSeconds} s`)
    assert.ok(peakRssBytes >= (ofChild?.rssBytes ?? Infinity))
    process.kill(pid, 'SIGKILL')
    await eventually('the shell goes on', () => shell.lines.includes('over'))
    tree.look()
    assert.equal(sampleProcess(pid), undefined)
    assert.ok(tree.usage.cpuSeconds >= cpuSeconds)
    assert.ok(cpuOf(shell.pid ?? 0) >= cpuSeconds, 'the shell has waited for it, and has its time')
    assert.equal(tree.usage.peakRssBytes, peakRssBytes)
  })

  it('counts on what outlives the process that started it', async () => {
    const shell = start('/bin/sh', ['-c', `'${process.execPath}' -e '${BUSY}' & echo $!; wait`])
    const pid = Number(await eventually('the shell has started it', () => shell.lines[0]))
    try {
      const tree = new ProcessTree(shell.pid ?? 0)
      await shell.kill()
      tree.look()
      const before = tree.usage.cpuSeconds
      await eventually('it works on', () => cpuOf(pid) > before + 0.2)
      tree.look()
      assert.ok(tree.usage.cpuSeconds > before)
    } finally {
      process.kill(pid, 'SIGKILL')
    }
    await eventually('it is gone', () => sampleProcess(pid) === undefined)
  })
})
