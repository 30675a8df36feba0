// A `config_path` that lists several directories: whether a pull over the CRI then asks Nabo, and that /readyz and the doctor say so.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { criConfig, startBareContainerd } from '../support/bare-containerd.ts'
import { comparedVersions, findContainerd } from '../support/containerd.ts'
import { CriClient } from '../support/cri/cri-client.ts'
import { runDaemon } from '../support/daemon.ts'
import { examine } from '../support/doctor.ts'
import { makeImage } from '../support/image-maker.ts'
import { RecordingMirror } from '../support/recording-mirror.ts'

/** Settings in the table of 2.x, which counts in a file of version 2 too. */
const LOCALLY = {
  'use_local_image_pull is set': ['[plugins."io.containerd.cri.v1.images"]', 'use_local_image_pull = true'],
  'max_concurrent_downloads is not 3': ['[plugins."io.containerd.cri.v1.images"]', 'max_concurrent_downloads = 4'],
  'layers are discarded': ['[plugins."io.containerd.cri.v1.images"]', 'discard_unpacked_layers = true'],
  'snapshots are annotated': ['[plugins."io.containerd.cri.v1.images"]', 'disable_snapshot_annotations = false'],
}
/** Without it the transfer service does not unpack for the snapshotter of the CRI. */
const UNPACK = [
  '[[plugins."io.containerd.transfer.v1.local".unpack_config]]',
  `platform = "linux/${process.arch === 'x64' ? 'amd64' : process.arch}"`,
  'snapshotter = "native"',
]

for (const version of comparedVersions()) {
  const found = await findContainerd({ version })
  const takesListForOneName = version.startsWith('2.')
  describe(`a list in config_path, with containerd ${version}`, { skip: 'skip' in found ? found.skip : false }, () => {
    let directory = ''
    let ours = ''
    let empty = ''
    let others = ''
    let registry: RecordingMirror
    let count = 0

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'nabo-list-'))
      ours = join(directory, 'ours')
      empty = join(directory, 'empty')
      others = join(directory, 'others')
      registry = await RecordingMirror.start()
      registry.rules = { image: makeImage({ layers: [{ size: 2000, seed: 'list' }] }) }
      for (const path of [join(ours, '_default'), empty, join(others, '_default')])
        await mkdir(path, { recursive: true })
      await writeFile(
        join(others, '_default/hosts.toml'),
        `server = "${registry.url}"
`,
      )
    })
    after(async () => {
      await registry[Symbol.asyncDispose]()
      await rm(directory, { recursive: true, force: true })
    })

    /** Pulls an image over the CRI, and compares what happens with what /readyz and the doctor say. */
    const agree = async (configPath: string, asks: boolean, settings: readonly string[] = []): Promise<string> => {
      const containerd = await startBareContainerd({
        root: join(directory, `c${count++}`),
        binDir: 'binDir' in found ? found.binDir : '',
        config: [...criConfig({ configPath }), ...UNPACK, ...settings],
      })
      const flags = [
        ...['--containerd-socket', containerd.socket, '--containerd-config', containerd.configFile],
        ...[
          '--store',
          'containerd',
          '--config-dir',
          ours,
          '--upstream',
          `${registry.host}=${registry.url}`,
          '--fallback',
          'all',
        ],
      ]
      const daemon = await runDaemon(flags)
      using cri = new CriClient(containerd.socket)
      try {
        const host = `[host."${daemon.mirror}"]\ncapabilities = ["pull", "resolve"]\n`
        await writeFile(join(ours, '_default/hosts.toml'), host)
        const pulled = await cri.pull(`${registry.host}/org/app:1`)
        assert.ok('imageRef' in pulled, JSON.stringify(pulled))
        assert.equal(daemon.requests().length > 0, asks, 'whether Nabo was asked')

        await fetch(`${daemon.admin}/api/v1/checks`)
        const ready = (await (await fetch(`${daemon.admin}/readyz`)).json()) as { warnings: string[] }
        const warning = ready.warnings.find((text) => text.startsWith('config_path: '))
        const finding = (await examine(flags, { checks: ['config-path'] })).get('config-path')
        assert.equal(finding?.level === 'ok', asks, JSON.stringify(finding))
        assert.equal(warning, asks ? undefined : `config_path: ${finding?.says}`)
        if (!asks) assert.match(finding?.fix ?? '', new RegExp(`config_path = ${JSON.stringify(ours)}; then restart`))
        return finding?.says ?? ''
      } finally {
        await daemon.stop()
        await containerd.stop()
      }
    }

    it('has no effect where there is one directory', async () => void (await agree(ours, true)))

    for (const [order, list] of [
      ['first', () => `${ours}:${empty}`],
      ['last', () => `${empty}:${ours}`],
    ] as const)
      it(`with Nabo's directory ${order} ${takesListForOneName ? 'is said to be taken for one name' : 'works'}`, async () => {
        const says = await agree(list(), !takesListForOneName)
        if (takesListForOneName)
          assert.equal(
            says,
            `containerd ${version} takes the list ${list()} for the name of one directory, and reads no hosts.toml`,
          )
      })

    it('is said to lead past Nabo by a directory that comes first', async () => {
      const says = await agree(`${others}:${ours}`, false)
      if (!takesListForOneName)
        assert.match(says, new RegExp(`^containerd reads ${others}/_default before ${ours}, and goes past Nabo`))
    })

    if (!takesListForOneName) return
    for (const [why, settings] of Object.entries(LOCALLY))
      it(`works where the CRI pulls by itself, because ${why}`, async () =>
        void (await agree(`${empty}:${ours}`, true, settings)))
  })
}
