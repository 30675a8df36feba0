import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import type { Finding } from '../../src/doctor/check.ts'
import { type BareContainerd, criConfig, startBareContainerd } from '../support/bare-containerd.ts'
import { comparedVersions, findContainerd } from '../support/containerd.ts'
import { examine } from '../support/doctor.ts'

/** From 2.0 to 2.3 containerd tells only when it started, not what it has read. */
const isSilent = (version: string) => ['2.1', '2.2', '2.3'].includes(version)
const CHECKS = ['containerd', 'config-path', 'unpacked-layers', 'content', 'space', 'hosts-toml']

for (const version of comparedVersions()) {
  const found = await findContainerd({ version })
  describe(`the doctor at containerd ${version}`, { skip: 'skip' in found ? found.skip : false }, () => {
    let directory: string
    let certs: string

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'nabo-dr-'))
      certs = join(directory, 'certs.d')
      await mkdir(join(certs, 'docker.io'), { recursive: true })
      await writeFile(
        join(certs, 'docker.io/hosts.toml'),
        '[host."http://127.0.0.1:7950"]\ncapabilities = ["pull", "resolve"]\n',
      )
    })
    after(() => rm(directory, { recursive: true, force: true }))

    const running = async (
      config: readonly string[],
      test: (containerd: BareContainerd) => Promise<void>,
      disabled: readonly string[] = [],
    ) => {
      const root = await mkdtemp(join(directory, 'c'))
      const binDir = 'binDir' in found ? found.binDir : ''
      const containerd = await startBareContainerd({ root, binDir, config, disabled })
      try {
        await test(containerd)
      } finally {
        await containerd.stop()
      }
    }
    const look = (
      containerd: BareContainerd,
      flags: readonly string[] = [],
      options: Parameters<typeof examine>[1] = {},
    ): Promise<Map<string, Finding>> =>
      examine(
        [
          ...['--containerd-socket', containerd.socket, '--containerd-config', containerd.configFile],
          ...['--config-dir', certs, '--admin-addr', '127.0.0.1:1', ...flags],
        ],
        { checks: CHECKS, ...options },
      )

    it('finds nothing wrong with one that is set up for mirrors', () =>
      running(criConfig({ configPath: certs }), async (containerd) => {
        const findings = await look(containerd)
        for (const id of CHECKS) assert.equal(findings.get(id)?.level, 'ok', JSON.stringify(findings.get(id)))
        assert.match(
          findings.get('containerd')?.says ?? '',
          new RegExp(`containerd v?${version.replace('.', '\\.')}\\.`),
        )
        assert.match(findings.get('content')?.says ?? '', new RegExp(containerd.contentPath))
      }))

    it('says that config_path is not set, and where to set it', () =>
      running(criConfig(), async (containerd) => {
        const finding = (await look(containerd)).get('config-path')
        assert.equal(finding?.level, 'error')
        const hasDefault = !['1.6', '1.7', '2.1'].includes(version)
        const expected = hasDefault
          ? /takes its default list \/etc\/containerd\/certs\.d:\/etc\/docker\/certs\.d for the name of one directory/
          : /config_path is not set/
        assert.match(finding?.says ?? '', expected)
        assert.match(
          finding?.fix ?? '',
          new RegExp(
            `in ${containerd.configFile}: below \\[plugins\\."io\\.containerd\\.grpc\\.v1\\.cri"\\.registry\\] config_path = "${certs}"; then restart`,
          ),
        )
      }))

    it('says that containerd must be restarted when config_path was set after its start', () =>
      running(criConfig(), async (containerd) => {
        const text = await readFile(containerd.configFile, 'utf8')
        await writeFile(containerd.configFile, `${text}config_path = ${JSON.stringify(certs)}\n`)
        // Some time after the start.
        const later = new Date(Date.now() + 60_000)
        await utimes(containerd.configFile, later, later)
        const finding = (await look(containerd)).get('config-path')
        assert.equal(finding?.level, isSilent(version) ? 'warning' : 'error', JSON.stringify(finding))
        assert.equal(finding?.fix, 'restart containerd: systemctl restart containerd')
      }))

    it('says which directory containerd reads instead', () =>
      running(criConfig({ configPath: '/elsewhere/certs.d' }), async (containerd) => {
        const finding = (await look(containerd)).get('config-path')
        assert.equal(finding?.level, 'error')
        assert.match(finding?.fix ?? '', /^--config-dir \/elsewhere\/certs\.d/)
      }))

    it('says that layers are thrown away', () =>
      running(criConfig({ configPath: certs, discardsLayers: true }), async (containerd) => {
        const finding = (await look(containerd)).get('unpacked-layers')
        assert.equal(finding?.level, 'error')
        assert.match(finding?.fix ?? '', /discard_unpacked_layers = false/)
      }))

    it('says what the CRI plugin could not start for', () =>
      running(criConfig({ configPath: certs, mirrors: true }), async (containerd) => {
        const finding = (await look(containerd)).get('config-path')
        assert.equal(finding?.level, 'error', JSON.stringify(finding))
        assert.match(finding?.says ?? '', /`mirrors` cannot be set when `config_path` is provided/)
      }))

    it('warns in a container that cannot see the files, unless containerd itself says what it has read', () =>
      running(criConfig({ configPath: certs }), async (containerd) => {
        const config = join(directory, 'not-mounted/config.toml')
        const isMounted = async (path: string) => !path.startsWith(join(directory, 'not-mounted'))
        const options = { isContained: true, sources: { isMounted } }
        const findings = await look(containerd, ['--containerd-config', config], options)
        const expected = isSilent(version) ? 'warning' : 'ok'
        for (const id of ['config-path', 'unpacked-layers']) assert.equal(findings.get(id)?.level, expected, id)
        if (expected === 'ok') return
        assert.match(findings.get('config-path')?.says ?? '', /is not visible from here: perhaps pulls do not go/)
        assert.match(findings.get('config-path')?.fix ?? '', /containerd\.configFile/)
        const seen = await look(containerd, [], options)
        for (const id of ['config-path', 'unpacked-layers', 'hosts-toml']) assert.equal(seen.get(id)?.level, 'ok', id)
      }))

    it('warns in a container whose file is a link to what is not mounted, or is not there', () =>
      running(criConfig({ configPath: certs }), async (containerd) => {
        const outside = join(directory, 'not-mounted/config.toml')
        const link = join(directory, `link-${version}.toml`)
        await symlink(outside, link)
        const isMounted = async (path: string) => !path.startsWith(join(directory, 'not-mounted'))
        const options = { isContained: true, sources: { isMounted } }
        const findings = await look(containerd, ['--containerd-config', link], options)
        const expected = isSilent(version) ? 'warning' : 'ok'
        for (const id of ['config-path', 'unpacked-layers']) assert.equal(findings.get(id)?.level, expected, id)
        if (expected === 'ok') return
        for (const id of ['config-path', 'unpacked-layers'])
          assert.ok(findings.get(id)?.says.includes(`${link}, a link: ${outside} is not visible from here`))
        assert.match(findings.get('config-path')?.fix ?? '', new RegExp(`mount ${join(directory, 'not-mounted')} `))
        const none = await look(containerd, ['--containerd-config', join(directory, 'none.toml')], options)
        assert.equal(none.get('unpacked-layers')?.level, 'warning')
        assert.match(none.get('unpacked-layers')?.says ?? '', /there is no .*none\.toml/)
        const outsideOfContainers = await look(containerd, ['--containerd-config', join(directory, 'none.toml')])
        assert.equal(outsideOfContainers.get('unpacked-layers')?.level, 'ok')
      }))

    it('says that the CRI plugin is off', () =>
      running(
        [],
        async (containerd) => {
          const finding = (await look(containerd)).get('config-path')
          assert.equal(finding?.level, 'warning', JSON.stringify(finding))
          assert.match(finding?.says ?? '', /CRI plugin is switched off/)
        },
        ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime'],
      ))

    it('tells a socket that nobody listens at from one that is not there', () =>
      running(criConfig({ configPath: certs }), async (containerd) => {
        await containerd.kill()
        const findings = await look(containerd)
        assert.equal(findings.get('containerd')?.level, 'error')
        assert.match(findings.get('containerd')?.says ?? '', /nothing answers at .*ECONNREFUSED/)
        // What the files say can still be read.
        assert.equal(findings.get('config-path')?.level, 'ok')
        assert.equal(findings.get('content')?.level, 'unknown')
        await rm(containerd.socket)
        const gone = await look(containerd, ['--store', 'containerd'])
        assert.match(gone.get('containerd')?.says ?? '', /there is no socket/)
      }))
  })
}

describe('the doctor at a socket that is not containerd', () => {
  it('says so, in time', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-dr-'))
    const socket = join(directory, 's')
    const server = createServer((connection) => connection.resume().on('error', () => {})).listen(socket)
    try {
      const finding = (await examine(['--containerd-socket', socket], { checks: ['containerd'] })).get('containerd')
      assert.equal(finding?.level, 'error')
      assert.match(finding?.says ?? '', /does not answer as containerd does/)
    } finally {
      server.close()
      await rm(directory, { recursive: true, force: true })
    }
  })
})
