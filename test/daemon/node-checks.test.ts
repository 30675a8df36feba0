import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { NodeChecks, type NodeChecksOptions } from '../../src/daemon/node-checks.ts'
import { type Check, error, ok, type Outcome, unknown, warning } from '../../src/doctor/check.ts'
import { parseServeFlags, runDaemon } from '../support/daemon.ts'

const nowhere = () => Promise.reject(new Error('nothing is looked at'))
const sources = {
  ...{ containerd: nowhere, containerdConfig: nowhere, daemon: nowhere, upstreams: nowhere },
  ...{ isMounted: nowhere, isSameDirectory: nowhere },
  ...{
    certificates: nowhere,
    quotas: nowhere,
    secretProbes: nowhere,
    neighbours: nowhere,
    candidates: nowhere,
    resolve: nowhere,
  },
}

describe('the checks in a daemon', () => {
  const checking = (outcome: () => Outcome, options: Partial<NodeChecksOptions> = {}) => {
    const lines: string[] = []
    const note = (level: string) => (_fields: object, message: string) => void lines.push(`${level}: ${message}`)
    const check: Check = { id: 'disk', title: 'the disk', run: async () => outcome() }
    const checks = new NodeChecks({
      settings: parseServeFlags([]),
      sources,
      environment: {},
      checks: [check],
      log: { info: note('info'), warn: note('warn'), error: note('error') },
      isQuiet: () => false,
      late: [],
      fresh: 0,
      ...options,
    })
    return { checks, lines }
  }

  it('log each change once, and nothing about what cannot be seen', async () => {
    let now: Outcome = ok('all is right')
    const { checks, lines } = checking(() => now)
    for (const next of [
      ok('all is right'),
      unknown('not visible from here'),
      warning('only 9.5 GiB are free', 'make room'),
      warning('only 9.4 GiB are free', 'make room'),
      error('only 100 MiB are free', 'make room'),
      ok('all is right again'),
      ok('all is right again'),
    ]) {
      now = next
      assert.equal((await checks.ask()).findings[0]?.says, next.says)
    }
    assert.deepEqual(lines, ['warn: only 9.5 GiB are free', 'error: only 100 MiB are free', 'info: all is right again'])
    checks.stop()
  })

  it('are not made more often than every so many seconds, whoever asks', async () => {
    let runs = 0
    const { checks } = checking(
      () => {
        runs += 1
        return ok('')
      },
      { fresh: 3_600_000 },
    )
    await Promise.all([checks.ask(), checks.ask()])
    await checks.ask()
    assert.equal(runs, 1)
    checks.stop()
  })

  it('leave out what means nothing yet, and are quiet about what is said elsewhere', async () => {
    const { checks, lines } = checking(() => warning('it is so', 'change it'), {
      isQuiet: ({ id }) => id === 'disk',
    })
    assert.equal((await checks.ask()).level, 'warning')
    assert.deepEqual(lines, [])
    checks.stop()
    const late = checking(() => warning('it is so', 'change it'), { late: ['disk'] })
    assert.deepEqual((await late.checks.ask()).findings, [])
    late.checks.stop()
  })

  it('show in the API, the probes, the metrics and the page, and make no node unready', async () => {
    const daemon = await runDaemon([], { secret: false })
    try {
      const get = async (path: string) => (await fetch(`${daemon.admin}${path}`)).text()
      const report = JSON.parse(await get('/api/v1/checks')) as {
        checkedAt: string
        level: string
        findings: { id: string; level: string; fix?: string }[]
      }
      assert.ok(Date.parse(report.checkedAt) <= Date.now())
      const secret = report.findings.find(({ id }) => id === 'secret')
      assert.equal(secret?.level, 'warning')
      const ready = await fetch(`${daemon.admin}/readyz`)
      assert.equal(ready.status, 200)
      const { warnings, reasons } = (await ready.json()) as { warnings: string[]; reasons: string[] }
      assert.deepEqual(reasons, [])
      assert.match(warnings.join('\n'), /^cluster secret: there is no cluster secret/m)
      const metrics = await get('/metrics')
      for (const level of ['ok', 'warning', 'error', 'unknown']) {
        const count = report.findings.filter((finding) => finding.level === level).length
        assert.match(metrics, new RegExp(`^nabo_check_findings\\{level="${level}"\\} ${count}$`, 'm'))
      }
      assert.match(await get('/'), /^warning: cluster secret: .*\n {2}fix: .*--cluster-secret-file/m)
      // The start of the daemon has said it already.
      assert.equal(daemon.lines.filter(({ check }) => check === 'secret').length, 0)
    } finally {
      await daemon.stop()
    }
  })
})
