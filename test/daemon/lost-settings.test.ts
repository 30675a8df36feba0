// Settings of containerd that are lost while a daemon runs, with real containerds: each is in the log and among the findings.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { NodeChecks, observeChecks } from '../../src/daemon/node-checks.ts'
import { nodeSources } from '../../src/daemon/node-sources.ts'
import { RecentContainerd } from '../../src/daemon/recent-containerd.ts'
import { ALL_CHECKS } from '../../src/doctor/all-checks.ts'
import { Registry } from 'prom-client'
import { type BareContainerd, criConfig, startBareContainerd } from '../support/bare-containerd.ts'
import { comparedVersions, findContainerd } from '../support/containerd.ts'
import { parseServeFlags } from '../support/daemon.ts'
import { eventually } from '../support/poll.ts'

const LOCAL = ['config-path', 'hosts-toml', 'unpacked-layers']
const NABO = '[host."http://127.0.0.1:7950"]\ncapabilities = ["pull", "resolve"]\n'
const OTHER = '[host."https://mirror.example"]\ncapabilities = ["pull", "resolve"]\n'

for (const version of comparedVersions()) {
  const found = await findContainerd({ version })
  describe(`settings of containerd ${version} that are lost`, { skip: 'skip' in found ? found.skip : false }, () => {
    let directory: string
    let certs: string
    let containerd: BareContainerd
    let checks: NodeChecks
    const lines: string[] = []
    const metrics = new Registry()
    const hostsToml = () => join(certs, 'docker.io/hosts.toml')

    const restart = async (config: readonly string[]) => {
      await containerd?.stop()
      const binDir = 'binDir' in found ? found.binDir : ''
      containerd = await startBareContainerd({ root: join(directory, 'c'), binDir, config })
    }
    const level = (id: string) => checks.last.findings.find((finding) => finding.id === id)?.level
    const comesTo = async (expected: Record<string, string>) => {
      await eventually(`the checks find ${JSON.stringify(expected)}`, () => {
        return Object.entries(expected).every(([id, wanted]) => level(id) === wanted)
      })
      const text = await metrics.metrics()
      for (const wanted of ['ok', 'warning', 'error']) {
        const count = checks.last.findings.filter((finding) => finding.level === wanted).length
        assert.match(text, new RegExp(`^nabo_check_findings\\{level="${wanted}"\\} ${count}$`, 'm'))
      }
    }

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'nabo-lost-'))
      certs = join(directory, 'certs.d')
      await mkdir(join(certs, 'docker.io'), { recursive: true })
      await writeFile(hostsToml(), NABO)
      await restart(criConfig({ configPath: certs }))
      const settings = parseServeFlags([
        ...['--containerd-socket', containerd.socket, '--containerd-config', containerd.configFile],
        ...['--config-dir', certs],
      ])
      const nowhere = () => Promise.reject(new Error('nothing else is looked at'))
      checks = new NodeChecks({
        settings,
        environment: {},
        isContained: false,
        checks: ALL_CHECKS.filter(({ id }) => LOCAL.includes(id)),
        sources: {
          ...nodeSources(settings),
          ...{
            daemon: async () => ({ state: 'absent' }),
            upstreams: nowhere,
            certificates: nowhere,
            quotas: nowhere,
            neighbours: nowhere,
            resolve: nowhere,
          },
        },
        log: {
          info: (_fields: object, message: string) => void lines.push(`info: ${message}`),
          warn: (_fields: object, message: string) => void lines.push(`warn: ${message}`),
          error: (_fields: object, message: string) => void lines.push(`error: ${message}`),
        },
        isQuiet: () => false,
        late: [],
        local: LOCAL,
        localEvery: 50,
      })
      observeChecks(metrics, () => checks.last)
      checks.start()
    })
    after(async () => {
      checks.stop()
      await containerd.stop()
      await rm(directory, { recursive: true, force: true })
    })

    it('are noticed: a hosts.toml that somebody overwrites', async () => {
      await comesTo({ 'config-path': 'ok', 'hosts-toml': 'ok', 'unpacked-layers': 'ok' })
      await writeFile(hostsToml(), OTHER)
      await comesTo({ 'hosts-toml': 'error', 'config-path': 'ok' })
      assert.match(lines.join('\n'), /^error: no hosts\.toml in .* sends containerd to Nabo$/m)
      await writeFile(hostsToml(), NABO)
      await comesTo({ 'hosts-toml': 'ok' })
    })

    it('are noticed: config_path, at the restart that loses it', async () => {
      await restart(criConfig())
      await comesTo({ 'config-path': 'error', 'hosts-toml': 'ok' })
      assert.match(lines.join('\n'), /^error: .*(config_path is not set|takes its default list)/m)
      await restart(criConfig({ configPath: certs }))
      await comesTo({ 'config-path': 'ok' })
    })

    it('are noticed: layers that are thrown away from now on', async () => {
      await restart(criConfig({ configPath: certs, discardsLayers: true }))
      await comesTo({ 'unpacked-layers': 'error', 'config-path': 'ok' })
      assert.match(lines.join('\n'), /^error: containerd throws layers away/m)
    })
  })
}

describe('a look at a running containerd', () => {
  it('is kept until its socket is another one', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-recent-'))
    try {
      const socket = join(directory, 'c.sock')
      let looks = 0
      const recent = new RecentContainerd(socket, async () => {
        looks += 1
        const said = { version: '2.1.9', major: 2, minor: 1, patch: 9, contentRoot: undefined, startedAt: undefined }
        return { state: 'answers', ...said, configFile: undefined, cri: { state: 'hidden' } }
      })
      const { signal } = new AbortController()
      await recent.recent(signal)
      await recent.recent(signal)
      assert.equal(looks, 2, 'there is no socket')
      for (const expected of [3, 4]) {
        await rm(socket, { force: true })
        await writeFile(socket, '')
        // Another time of its own, however fast this is.
        await utimes(socket, expected, expected)
        await recent.recent(signal)
        await recent.recent(signal)
        assert.equal(looks, expected)
      }
      await recent.ask(signal)
      assert.equal(looks, 5)
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})
