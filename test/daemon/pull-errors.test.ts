// What a pod's event says when a pull through Nabo fails: the reason of the registry, with each containerd.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { comparedVersions, type Containerd, findContainerd, startContainerd } from '../support/containerd.ts'
import { CriClient, type PullAuth } from '../support/cri/cri-client.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { makeImage } from '../support/image-maker.ts'

const ANN: PullAuth = { username: 'ann', password: 'kept-to-herself' }
const BOB: PullAuth = { username: 'bob', password: 'a-secret-of-bob' }
const HIDDEN = 'docker.io/org/hidden:1'
const DENIED = /pull access denied, repository does not exist or may require authorization/

for (const version of comparedVersions()) {
  const found = await findContainerd({ version })
  describe(`a pull that fails, with containerd ${version}`, { skip: 'skip' in found ? found.skip : false }, () => {
    let directory: string
    let hub: Hub
    let daemon: TestDaemon
    let containerd: Containerd
    let cri: CriClient

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'nabo-e-'))
      hub = await createHub({
        users: [
          { name: 'ann', password: 'kept-to-herself', mayPull: ['org/hidden'] },
          { name: 'bob', password: 'a-secret-of-bob' },
        ],
        privateRepositories: ['org/hidden'],
      })
      await hub.publish('org/hidden', '1', makeImage({ layers: [{ size: 3000, seed: 'hidden' }] }))
      await hub.publish('app', '1', makeImage({ layers: [{ size: 3000, seed: 'open' }] }))
      daemon = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`])
      const certs = join(directory, 'certs.d')
      await mkdir(join(certs, 'docker.io'), { recursive: true })
      const host = `[host."${daemon.mirror}"]\ncapabilities = ["pull", "resolve"]\n`
      await writeFile(join(certs, 'docker.io/hosts.toml'), `server = "${hub.registryUrl}"\n\n${host}`)
      const binDir = 'binDir' in found ? found.binDir : ''
      containerd = await startContainerd({ root: join(directory, 'c'), binDir, parallelFetch: false, criCerts: certs })
      cri = new CriClient(containerd.socket)
    })
    after(async () => {
      cri[Symbol.dispose]()
      await containerd.stop()
      await daemon.stop()
      await hub.close()
      await rm(directory, { recursive: true, force: true })
    })

    const failure = async (image: string, auth?: PullAuth): Promise<string> => {
      const pulled = await cri.pull(image, auth)
      assert.ok('error' in pulled, `${image} was pulled`)
      assert.doesNotMatch(pulled.error, /kept-to-herself|a-secret-of-bob|guessed/)
      return pulled.error
    }

    it('names the refusal of a private image: to nobody in particular, and for a secret that is for another registry', async () => {
      const other = { ...ANN, server_address: 'ghcr.io' }
      for (const auth of [undefined, other]) assert.match(await failure(HIDDEN, auth), DENIED)
      // From 1.7 on containerd says by itself what it lacks.
      const expected = version === '1.6' ? /401 .*insufficient_scope/ : /no basic auth credentials/
      assert.match(await failure(HIDDEN), expected)
    })

    it('names the refusal of credentials that are wrong, or that do not suffice', async () => {
      const guessed = await failure(HIDDEN, { ...ANN, password: 'guessed' })
      assert.match(guessed, version.startsWith('2.') ? DENIED : /failed to authorize: .*401 Unauthorized/)
      const said = await failure(HIDDEN, BOB)
      assert.match(said, /pull access denied, .*: server message: insufficient_scope: authorization failed/)
      assert.ok(!said.includes(new URL(daemon.mirror).host), said)
      // The refusal is known by now, and its words are too.
      assert.equal(await failure(HIDDEN, BOB), said)
    })

    it('says the same of an image that does not exist and of one that is private', async () => {
      for (const auth of [undefined, BOB]) {
        const said = [await failure('docker.io/org/nothing:1', auth), await failure(HIDDEN, auth)]
        assert.equal(said[0]?.replaceAll('org/nothing', 'org/hidden'), said[1])
      }
    })

    it('says that a tag of a public image does not exist', async () => {
      assert.match(await failure('docker.io/library/app:77'), /docker\.io\/library\/app:77: not found/)
    })

    it('does not say "not found" of an image whose registry is down', async () => {
      await hub.setFaults(everywhere({ down: true }))
      const said = await failure('docker.io/library/other:1')
      await hub.setFaults(everywhere({}))
      assert.doesNotMatch(said, /not found/)
      assert.match(said, version.startsWith('2.') ? /503 .*127\.0\.0\.1:\d+ cannot be reached/ : /EOF|reset|refused/)
    })

    it('is the only one: with the right credentials the image comes through Nabo', async () => {
      const pulled = await cri.pull(HIDDEN, ANN)
      assert.ok('imageRef' in pulled, JSON.stringify(pulled))
      const sent = daemon
        .requests()
        .filter(({ repository, status }) => repository === 'docker.io/org/hidden' && status === 200)
      assert.ok(sent.length > 0)
    })
  })
}
