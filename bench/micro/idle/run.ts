import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

import { digestHex, digestOf } from '../../../src/oci/digest.ts'
import { type Containerd, findContainerd, startContainerd } from '../../../test/support/containerd.ts'
import { makeImage, toOciTar } from '../../../test/support/image-maker.ts'
import { makeBundle, makeImageProgram } from '../../../test/support/nabo-bundle.ts'
import { NaboProcess } from '../../../test/support/nabo-process.ts'
import { eventually } from '../../../test/support/poll.ts'
import { cpuSeconds, rssBytes } from '../support/cpu.ts'

const NODES = 3
/** Of loopback, the process's own: two of these benchmarks do not meet. */
const NETWORK = `127.${100 + (process.pid % 100)}.${(process.pid >> 7) % 256}`

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    blobs: { type: 'string' },
    seconds: { type: 'string' },
    store: { type: 'string', default: 'directory' },
    program: { type: 'string', default: 'source' },
    rounds: { type: 'string', default: '1' },
  },
})

const { quick, blobs = quick ? '500' : '0,5000', seconds = quick ? '1' : '30' } = values

type Program = readonly [string, ...string[]]

const workshop = await mkdtemp(join(tmpdir(), 'nb-'))
try {
  const programs = new Map<string, Program>()
  for (const name of values.program.split(',')) programs.set(name, await programOf(name))
  const rows: Record<string, string | number>[] = []
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const count of blobs.split(',').map(Number)) {
      for (const [name, program] of programs)
        rows.push({ program: name, ...(await measure(program, count, Number(seconds))) })
    }
  }
  console.table(rows)
} finally {
  await rm(workshop, { recursive: true })
}

/** The source as it is, or what is in the image: with `bundle` V8 compiles it, with `image` it has been compiled before. */
async function programOf(name: string): Promise<Program> {
  if (name === 'source') return [process.execPath, resolve(import.meta.dirname, '../../../src/main.ts')]
  if (name !== 'bundle' && name !== 'image') throw new Error(`--program ${name}: source, bundle or image is expected`)
  const dist = join(workshop, name)
  if (name === 'image') return (await makeImageProgram(dist)).program
  await makeBundle(dist)
  return [process.execPath, join(dist, 'main.js')]
}

async function measure(program: Program, blobs: number, seconds: number): Promise<Record<string, string | number>> {
  const directory = await mkdtemp(join(tmpdir(), 'nb-'))
  const nodes: NaboProcess[] = []
  let containerd: Containerd | undefined
  try {
    await writeFile(join(directory, 'secret'), 'a secret of a benchmark, long enough\n')
    if (values.store === 'containerd') containerd = await filledContainerd(join(directory, 'c'), blobs)
    else await fillDirectory(join(directory, 'cache-0'), blobs)
    for (let i = NODES - 1; i > 0; i -= 1) {
      const node = start(program, directory, i, undefined)
      nodes.push(node)
      await node.ready()
    }
    const began = performance.now()
    const node = start(program, directory, 0, containerd)
    nodes.push(node)
    await eventually('ready', async () => (await node.adminGet('/readyz')).status === 200, { everyMs: 5 })
    const readyMs = performance.now() - began
    const readyCpu = await cpuSeconds(node.pid)
    await eventually('all is announced', async () => {
      const heard = await Promise.all(
        nodes.filter((each) => each !== node).map((each) => each.metric('nabo_index_claims')),
      )
      const peers = await node.metric('nabo_peers')
      return peers === NODES - 1 && heard.every((claims) => claims >= blobs)
    })
    const announcedMs = performance.now() - began
    await new Promise((resolve) => setTimeout(resolve, quick ? 1_000 : 5_000))
    const before = await cpuSeconds(node.pid)
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    const cpu = (await cpuSeconds(node.pid)) - before
    return {
      store: values.store,
      blobs,
      'ready ms': Math.round(readyMs),
      'CPU ms until ready': Math.round(readyCpu * 1000),
      'all announced ms': Math.round(announcedMs),
      'RSS MB': Math.round((await rssBytes(node.pid)) / 1e6),
      'CPU ms/s': Number(((cpu / seconds) * 1000).toFixed(2)),
    }
  } finally {
    await Promise.all(nodes.map((node) => node.kill()))
    await containerd?.kill()
    await rm(directory, { recursive: true, force: true })
  }
}

function start(program: Program, directory: string, number: number, containerd: Containerd | undefined): NaboProcess {
  const host = `${NETWORK}.${10 + number}`
  const store =
    containerd === undefined
      ? ['--store', 'directory', '--cache-dir', join(directory, `cache-${number}`)]
      : ['--store', 'containerd', '--containerd-socket', containerd.socket]
  const flags = [
    ...[
      '--mirror-addr',
      `${host}:7950`,
      '--peer-addr',
      `${host}:7951`,
      '--router-addr',
      `${host}:7952`,
      '--admin-addr',
      `${host}:7953`,
    ],
    ...[
      '--advertise-addr',
      host,
      '--bootstrap',
      `static:${NETWORK}.11,${NETWORK}.12`,
      '--cluster-secret-file',
      join(directory, 'secret'),
      ...store,
    ],
  ]
  return new NaboProcess({ program, flags, fetch: fetchHere })
}

async function fetchHere(url: string) {
  const response = await fetch(url)
  return { status: response.status, headers: {}, body: new Uint8Array(await response.arrayBuffer()) }
}

async function fillDirectory(directory: string, blobs: number): Promise<void> {
  const folder = join(directory, 'blobs', 'sha256')
  await mkdir(folder, { recursive: true })
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  for (let i = 0; i < blobs; i += 1) {
    const bytes = randomBytes(32)
    await writeFile(join(folder, digestHex(digestOf(bytes))), bytes)
  }
}

async function filledContainerd(root: string, blobs: number): Promise<Containerd> {
  const tools = await findContainerd()
  if ('skip' in tools) throw new Error(tools.skip)
  const containerd = await startContainerd({ root, binDir: tools.binDir })
  if (blobs === 0) return containerd
  const image = makeImage({ layers: Array.from({ length: blobs - 2 }, (_, i) => ({ size: 16, seed: `idle ${i}` })) })
  await writeFile(join(root, 'image.tar'), toOciTar(image, 'docker.io/library/many:1'))
  const { code, stderr } = await containerd.ctr(
    '--namespace',
    'k8s.io',
    'images',
    'import',
    '--no-unpack',
    join(root, 'image.tar'),
  )
  if (code !== 0) throw new Error(stderr)
  return containerd
}
