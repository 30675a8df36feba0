// What `dial_timeout` in the files of `nabo configure containerd` does in each containerd: no harm, and from 2.0.7 on what it is for.
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { Child } from '../../support/child.ts'
import { comparedVersions, type Containerd, findContainerd, startContainerd } from '../../support/containerd.ts'
import { CriClient } from '../../support/cri/cri-client.ts'
import { freePort } from '../../support/free-port.ts'
import { makeImage } from '../../support/image-maker.ts'
import { execute } from '../../support/netns/commands.ts'
import { eventually } from '../../support/poll.ts'
import { RecordingMirror } from '../../support/recording-mirror.ts'

const BIN = fileURLToPath(new URL('../../../bin/nabo', import.meta.url))
const LISTENER = `require('node:net').createServer().listen({ host: '127.0.0.1', port: Number(process.argv[1]), backlog: 1 }, () => console.log('listens'))`

/** An address whose kernel drops each new connection's first packet: a stopped process listens there, and its backlog is full. */
class HangingAddress implements AsyncDisposable {
  readonly #child: Child
  readonly #sockets: Socket[] = []
  /** The connections that the backlog holds. */
  held = 0

  private constructor(port: number) {
    this.#child = new Child(process.execPath, ['-e', LISTENER, String(port)])
  }

  static async at(port: number): Promise<HangingAddress> {
    const address = new HangingAddress(port)
    await eventually('the listener is there', () => address.#child.lines.includes('listens'))
    address.#child.signal('SIGSTOP')
    // A backlog of 1 holds two connections.
    for (let count = 0; count < 8; count++) {
      const socket = createConnection({ host: '127.0.0.1', port }).on('error', () => {})
      address.#sockets.push(socket.once('connect', () => address.held++))
    }
    await eventually('the backlog is full', () => address.held >= 2)
    return address
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await this.#child.kill()
  }
}

for (const version of comparedVersions()) {
  const found = await findContainerd({ version })
  describe(`dial_timeout in containerd ${version}`, { skip: 'skip' in found ? found.skip : false }, () => {
    let directory: string
    let certs: string
    let containerd: Containerd
    let cri: CriClient
    let registry: RecordingMirror

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'nabo-dial-'))
      certs = join(directory, 'certs.d')
      const binDir = 'binDir' in found ? found.binDir : ''
      containerd = await startContainerd({ root: join(directory, 'c'), binDir, parallelFetch: false, criCerts: certs })
      cri = new CriClient(containerd.socket)
      registry = await RecordingMirror.start()
    })
    after(async () => {
      cri[Symbol.dispose]()
      await containerd.stop()
      await registry[Symbol.asyncDispose]()
      await rm(directory, { recursive: true, force: true })
    })

    const configure = async (mirrorUrl: string) => {
      const flags = ['--config-dir', certs, '--registries', registry.host, '--mirror-url', mirrorUrl]
      const { code, stderr } = await execute(BIN, ['configure', 'containerd', ...flags])
      assert.equal(code, 0, stderr)
      const text = await readFile(join(certs, registry.host, 'hosts.toml'), 'utf8')
      assert.match(text, /^ {2}dial_timeout = "200ms"$/m)
    }
    const pull = async (name: string) => {
      const pulled = await cri.pull(`${registry.host}/org/${name}:1`)
      assert.ok('imageRef' in pulled, JSON.stringify(pulled))
    }
    const newImage = (seed: string) => makeImage({ layers: [{ size: 1000, seed }] })

    it('leaves the file in force: Nabo is asked first, and alone if it has the image', async () => {
      await using nabo = await RecordingMirror.start()
      await configure(nabo.url)
      nabo.rules = { image: newImage('alive') }
      await pull('alive')
      assert.ok(nabo.take().every(({ status }) => status === 200))
      assert.deepEqual(registry.take(), [])
    })

    if (version.startsWith('1.')) return
    it('lets a pull go on by the registry when no connection to Nabo comes about', async () => {
      const port = await freePort()
      await configure(`http://127.0.0.1:${port}`)
      await using hanging = await HangingAddress.at(port)
      registry.rules = { image: newImage('hanging') }
      // Without it each request waits 30 s, and the client of the CRI gives up before the second.
      await pull('hanging')
      assert.equal(hanging.held, 2)
      const paths = registry.take().map(({ method, path }) => `${method} ${path.split('/').slice(-2)[0]}`)
      const [head, ...gets] = paths
      assert.equal(head, 'HEAD manifests')
      assert.deepEqual(gets.toSorted(), ['GET blobs', 'GET blobs', 'GET manifests'])
    })
  })
}
