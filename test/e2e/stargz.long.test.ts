// The file system of stargz-snapshotter, by FUSE, with Nabo as its registry. Go builds it once (scripts/stargz.sh).
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Content, makeImage } from '../support/image-maker.ts'
import { execute } from '../support/netns/commands.ts'
import { eventually } from '../support/poll.ts'
import { makeTar } from '../support/tar.ts'

const FILE_BYTES = 400_000
const files = Array.from({ length: 40 }, (_, index) => ({ name: `file${index}`, bytes: randomBytes(FILE_BYTES) }))
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
/** The library itself prints what its caches complain of when they are closed. */
const hashesIn = (output: string) => output.split('\n').filter((line) => /^[0-9a-f]{64}$/.test(line))
const BUILD_SECONDS = 900

const program = await build()

describe('stargz-snapshotter', { skip: 'skip' in program ? program.skip : false }, () => {
  let directory: string
  let hub: Hub
  let nabo: TestDaemon
  let layer: Content
  let toc: string

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-stargz-'))
    const [archive, path] = [join(directory, 'layer.tar'), join(directory, 'layer')]
    await writeFile(archive, makeTar(files))
    toc = await stargz('build', archive, path)
    const bytes = await readFile(path)
    layer = {
      bytes,
      descriptor: { digest: digestOf(bytes), size: bytes.length, mediaType: 'application/octet-stream' },
    }
    const image = makeImage({ layers: [{ size: 100, seed: 'stargz' }] })
    hub = await createHub()
    await hub.publish('app', '1', { ...image, blobs: [...image.blobs, layer] })
    nabo = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`])
  })
  after(async () => {
    await nabo?.stop()
    await hub?.close()
    // Left behind only by a program that was killed.
    await execute('umount', ['-l', join(directory, 'mount')])
    await rm(directory, { recursive: true, force: true })
  })

  const stargz = async (...args: string[]) => {
    assert.ok('path' in program)
    const { code, stdout, stderr } = await execute(program.path, args, { timeoutMs: 90_000 })
    assert.equal(code, 0, stderr)
    return stdout.trim()
  }
  const at = () => [new URL(nabo.mirror).host, 'library/app', layer.descriptor.digest]
  const fetched = async () => (await hub.counters()).blobs[layer.descriptor.digest]?.bytes ?? 0
  const mount = async (...names: string[]) => {
    const mountPoint = join(directory, 'mount')
    await mkdir(mountPoint, { recursive: true })
    return hashesIn(await stargz('mount', ...at(), toc, mountPoint, ...names))
  }

  it('mounts a layer and reads some of its files, while Nabo fetches little more than these', async () => {
    const wanted = [files[3], files[20], files[4]].flatMap((file) => file ?? [])
    assert.deepEqual(
      await mount(...wanted.map(({ name }) => name)),
      wanted.map(({ bytes }) => sha256(bytes)),
    )
    const bytes = await fetched()
    assert.ok(
      bytes >= wanted.length * FILE_BYTES && bytes < layer.bytes.length / 4,
      `${bytes} of ${layer.bytes.length}`,
    )
    assert.equal((await nabo.status()).blobs, 0)
  })

  it('reads several ranges by one request', async () => {
    const before = nabo.requests().length
    const spans = [
      [3_000_000, 3_050_000],
      [2_900_000, 3_200_000],
    ] as const
    const read = await stargz('ranges', ...at(), ...spans.map((span) => span.join('-')))
    assert.deepEqual(
      hashesIn(read),
      spans.map((span) => sha256(layer.bytes.subarray(...span))),
    )
    // A look, the size, the first span, and the second one around it.
    await eventually('all is in the log', () => nabo.requests().length >= before + 4)
    assert.equal(nabo.requests().length, before + 4)
    assert.partialDeepStrictEqual(nabo.requests().at(-1), { status: 206, bytes: 250_000, outcome: 'done' })
  })

  it('reads from the cache after a pull', async () => {
    const response = await fetch(`${nabo.mirror}/v2/library/app/blobs/${layer.descriptor.digest}`)
    assert.equal(digestOf(await response.bytes()), layer.descriptor.digest)
    await eventually('the layer is in the cache', async () => (await nabo.status()).blobs === 1)
    await hub.reset()
    assert.deepEqual(
      await mount(...files.map(({ name }) => name)),
      files.map(({ bytes }) => sha256(bytes)),
    )
    assert.equal(await fetched(), 0)
  })
})

async function build(): Promise<{ readonly path: string } | { readonly skip: string }> {
  if (process.getuid?.() !== 0 || !existsSync('/dev/fuse')) return { skip: 'a mount needs root and /dev/fuse' }
  const script = join(import.meta.dirname, '../../scripts/stargz.sh')
  const { code, stdout, stderr } = await execute('sh', [script], { timeoutMs: BUILD_SECONDS * 1000 })
  if (code === 69) return { skip: stderr.trim() }
  assert.equal(code, 0, stderr)
  return { path: stdout.trim() }
}
