// What clients really send to a mirror, found out with real ones. docs/clients.md is the table of it.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import { chosenVariant, type Containerd, findContainerd, startContainerd } from '../support/containerd.ts'
import { CriClient, type PullAuth } from '../support/cri/cri-client.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { findTool } from '../support/debian-tool.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { makeImage } from '../support/image-maker.ts'
import { execute } from '../support/netns/commands.ts'
import { RecordingMirror, type SeenRequest } from '../support/recording-mirror.ts'

const image = makeImage({ layers: [{ size: 1000, seed: 'clients' }] })
const REGISTRY = 'registry.example'
const IMAGE = `${REGISTRY}/org/app:1`
const ANN = 'ann:secret'
/** A mirror that answers `/v2/` to everybody and asks for a password where content is private, as Nabo does. */
const CHALLENGE = { image, basic: { user: ANN, challenge: 'content' } } as const

const containerd = await findContainerd()
const tools = 'skip' in containerd ? { binDir: '' } : containerd
const skopeo = await findTool('skopeo')
const noSkopeo = 'skip' in skopeo ? skopeo.skip : false

describe('clients of a mirror', { skip: 'skip' in containerd ? containerd.skip : false }, () => {
  let mirror: RecordingMirror
  let upstream: RecordingMirror
  let directory: string

  before(async () => {
    mirror = await RecordingMirror.start()
    upstream = await RecordingMirror.start()
    directory = await mkdtemp(join(tmpdir(), 'nabo-cl-'))
  })
  after(async () => {
    await mirror[Symbol.asyncDispose]()
    await upstream[Symbol.asyncDispose]()
    await rm(directory, { recursive: true, force: true })
  })
  beforeEach(() => {
    mirror.rules = CHALLENGE
    upstream.rules = {}
    for (const each of [mirror, upstream]) each.take()
  })

  describe('containerd', () => {
    let daemon: Containerd
    let cri: CriClient

    before(async () => {
      const certs = join(directory, 'certs')
      await mkdir(join(certs, REGISTRY), { recursive: true })
      const section = `[host."${mirror.url}"]\n  capabilities = ["pull", "resolve"]\n`
      await writeFile(join(certs, REGISTRY, 'hosts.toml'), `server = "${upstream.url}"\n\n${section}`)
      daemon = await startContainerd({ ...tools, root: join(directory, 'c'), criCerts: certs })
      cri = new CriClient(daemon.socket)
    })
    after(async () => {
      cri[Symbol.dispose]()
      await daemon.stop()
    })
    afterEach(() => cri.remove(IMAGE))

    const pull = async (auth?: PullAuth): Promise<boolean> => 'imageRef' in (await cri.pull(IMAGE, auth))
    const withPassword = { username: 'ann', password: 'secret' }
    const authorizations = (requests: readonly SeenRequest[]) => requests.map(({ authorization }) => authorization)

    it('sends nothing before a challenge, then the password of the pull, and says for which registry', async () => {
      assert.ok(await pull(withPassword))
      const seen = mirror.take()
      assert.deepEqual(
        seen.slice(0, 2).map(({ method, status, authorization }) => ({ method, status, authorization })),
        [
          { method: 'HEAD', status: 401, authorization: undefined },
          { method: 'HEAD', status: 200, authorization: `Basic ${ANN}` },
        ],
      )
      assert.ok(seen.every(({ ns }) => ns === REGISTRY))
      // It never asks for `/v2/`, is challenged once more when it begins to fetch, and then not for blobs.
      assert.ok(seen.every(({ path }) => path !== '/v2/'))
      assert.equal(seen.filter(({ status }) => status === 401).length, 2)
      assert.ok(seen.filter(({ path }) => path.includes('/blobs/')).every(({ status }) => status === 200))
      assert.equal(upstream.take().length, 0)
    })

    it('sends `auth` of a pull secret like a name and a password', async () => {
      assert.ok(await pull({ auth: Buffer.from(ANN).toString('base64') }))
      assert.ok(authorizations(mirror.take()).includes(`Basic ${ANN}`))
    })

    it('goes to the registry with each part that a mirror refuses to somebody without credentials', async () => {
      upstream.rules = { image }
      assert.ok(await pull())
      assert.ok(mirror.take().every(({ status }) => status === 401))
      assert.ok(upstream.take().every(({ status }) => status === 200))
    })

    it('goes to the registry with the same password after a 404', async () => {
      mirror.rules = {}
      upstream.rules = CHALLENGE
      assert.ok(await pull(withPassword))
      assert.deepEqual([...new Set(authorizations(mirror.take()))], [undefined])
      assert.ok(authorizations(upstream.take()).includes(`Basic ${ANN}`))
    })

    it('asks once with a wrong password that is answered by 404, and several times if by 401', async () => {
      const wrong = { username: 'ann', password: 'wrong' }
      const tries = async () => {
        assert.equal(await pull(wrong), false)
        return authorizations(mirror.take()).filter((sent) => sent === 'Basic ann:wrong').length
      }
      assert.equal(await tries(), 1)
      mirror.rules = { ...CHALLENGE, wrong: 401 }
      // From 2.3 on the request before the challenge is one of the five.
      assert.equal(await tries(), ['2.3', '2.4'].includes(chosenVariant().version ?? '') ? 4 : 5)
    })

    it('withholds a password from a mirror whose address is not the one in `server_address`', async () => {
      for (const server_address of [REGISTRY, `https://${REGISTRY}`, upstream.url]) {
        assert.equal(await pull({ ...withPassword, server_address }), false)
        assert.deepEqual([...new Set(authorizations(mirror.take()))], [undefined])
      }
      assert.ok(await pull({ ...withPassword, server_address: mirror.url }))
    })

    it('cannot show an identity token or a registry token to a mirror that wants a password', async () => {
      upstream.rules = { image }
      for (const auth of [{ identity_token: 'identity' }, { registry_token: 'registry' }]) {
        assert.ok(await pull(auth))
        assert.deepEqual([...new Set(authorizations(mirror.take()))], [undefined])
        await cri.remove(IMAGE)
      }
    })

    it('is ctr, and sends what --user says after a challenge', async () => {
      const certs = ['--hosts-dir', join(directory, 'certs')]
      const fetched = await daemon.ctr('-n', 'other', 'content', 'fetch', ...certs, '--user', ANN, IMAGE)
      assert.equal(fetched.code, 0, fetched.stderr)
      assert.deepEqual(authorizations(mirror.take()).slice(0, 2), [undefined, `Basic ${ANN}`])
    })
  })

  describe('skopeo, which asks as Podman and CRI-O do', { skip: noSkopeo }, () => {
    let home: string
    let count = 0

    before(async () => {
      home = join(directory, 'home')
      await mkdir(join(home, '.config/containers'), { recursive: true })
      await writeRegistries(upstream.host, `${mirror.host}/${REGISTRY}`)
      const auths = { [mirror.host]: { auth: Buffer.from(ANN).toString('base64') } }
      await writeFile(join(home, 'auth.json'), JSON.stringify({ auths }))
    })

    async function writeRegistries(location: string, mirrorLocation: string): Promise<void> {
      const lines = ['[[registry]]', `prefix = "${REGISTRY}"`, `location = "${location}"`, 'insecure = true']
      lines.push('[[registry.mirror]]', `location = "${mirrorLocation}"`, 'insecure = true', '')
      await writeFile(join(home, '.config/containers/registries.conf'), lines.join('\n'))
    }

    async function copy(args: readonly string[], name = IMAGE): Promise<boolean> {
      const binDir = 'skip' in skopeo ? '' : skopeo.binDir
      const to = `dir:${join(home, `to${count++}`)}`
      const all = ['--insecure-policy', 'copy', ...args, `docker://${name}`, to]
      const env = { ...process.env, HOME: home, XDG_RUNTIME_DIR: home }
      return (await execute(join(binDir, 'skopeo'), all, { env, timeoutMs: 30_000 })).code === 0
    }

    it('asks for `/v2/` first, and only then whether a password is wanted; it names no registry', async () => {
      upstream.rules = { image }
      assert.ok(await copy(['--src-creds', ANN]))
      const seen = mirror.take()
      assert.deepEqual(
        seen.map(({ path, status, authorization, ns }) => ({ path, status, authorization, ns })),
        [
          { path: '/v2/', status: 200, authorization: undefined, ns: undefined },
          { path: `/v2/${REGISTRY}/org/app/manifests/1`, status: 401, authorization: undefined, ns: undefined },
        ],
      )
      // The registry then gives what the mirror refused.
      assert.ok(upstream.take().some(({ status }) => status === 200))
    })

    it('sends a mirror that challenges at `/v2/` an empty password, and not the one of the pull', async () => {
      mirror.rules = { image, basic: { user: ANN, challenge: 'everywhere' } }
      upstream.rules = { image }
      assert.ok(await copy(['--src-creds', ANN]))
      assert.deepEqual(
        mirror.take().map(({ authorization }) => authorization),
        [undefined, 'Basic :'],
      )
    })

    it('sends the password that its auth file has for the address of the mirror', async () => {
      mirror.rules = { image, basic: { user: ANN, challenge: 'everywhere' } }
      assert.ok(await copy(['--authfile', join(home, 'auth.json')]))
      assert.ok(mirror.take().every(({ path, authorization }) => path === '/v2/' || authorization === `Basic ${ANN}`))
      assert.equal(upstream.take().length, 0)
    })

    describe('with a Nabo', () => {
      let hub: Hub
      let daemon: TestDaemon

      before(async () => {
        hub = await createHub({
          users: [{ name: 'ann', password: 'secret', mayPull: ['org/hidden'] }],
          privateRepositories: ['org/hidden'],
        })
        for (const name of ['org/app', 'org/hidden']) await hub.publish(name, '1', image)
        daemon = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`])
        const [location, at] = [hub.registryUrl, daemon.mirror].map((url) => url.replace('http://', ''))
        await writeRegistries(location ?? '', `${at}/docker.io`)
      })
      after(async () => {
        await daemon.stop()
        await hub.close()
      })
      /** What the registry was asked for by skopeo itself. */
      const direct = async () => (await hub.requests()).filter(({ userAgent }) => userAgent?.startsWith('skopeo'))

      it('gets a public image from it, and nothing from the registry', async () => {
        assert.ok(await copy([]))
        assert.deepEqual(await direct(), [])
        assert.ok(daemon.requests().some(({ kind, status }) => kind === 'blob' && status === 200))
      })

      it('gets a private image from the registry, with the credentials of the pull', async () => {
        const hidden = `${REGISTRY}/org/hidden:1`
        assert.equal(await copy([], hidden), false)
        // The credentials are for the registry as it is named there.
        const auths = { [hub.registryUrl.replace('http://', '')]: { auth: Buffer.from(ANN).toString('base64') } }
        await writeFile(join(home, 'hub.json'), JSON.stringify({ auths }))
        assert.ok(await copy(['--authfile', join(home, 'hub.json')], hidden))
        assert.ok((await direct()).some(({ user, status }) => user === 'ann' && status === 200))
      })
    })
  })
})
