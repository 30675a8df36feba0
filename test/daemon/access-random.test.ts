// Random registries, rights, images, nodes and requests, on real daemons. The registries are the ground truth: no caller may receive
// content that no registry would have given to it, and what a registry gives must come through a node that fetches from it.
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { Lab, needsContainerd } from '../store/containerd/support.ts'
import type { TestDaemon } from '../support/daemon.ts'
import { type Image, indexOf, makeImage } from '../support/image-maker.ts'
import { type NamedRegistry, NamedRegistries } from '../support/named-registries.ts'
import { eventually } from '../support/poll.ts'
import { RightsLab } from '../support/rights-lab.ts'
import { SmallRegistry } from '../support/small-registry.ts'

const ROUNDS = 600
const USERS = { ann: 'secret-of-ann', bob: 'secret-of-bob' }
const LOGINS = [undefined, 'ann:secret-of-ann', 'bob:secret-of-bob', 'ann:guessed', 'mallory:anything']
const READERS = ['everybody', 'everybody', ['ann'], ['bob'], ['ann', 'bob'], []] as const

/** Mulberry32: the same seed gives the same run. */
function randomOf(seed: number) {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T
  return { next, pick, chance: (share: number) => next() < share }
}

interface Place {
  /** As clients name it. */
  readonly registry: string
  readonly server: SmallRegistry
  readonly name: string
  readonly image: Image
}

interface Node {
  readonly label: string
  daemon: TestDaemon
  readonly start: () => Promise<TestDaemon>
  /** Registries that it fetches from. */
  readonly fetches: ReadonlySet<string>
  /** The user whose credentials the node has itself for Docker Hub. */
  readonly own?: string
}

describe('random requests of random callers', needsContainerd, () => {
  const seed = Number(process.env['NABO_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  const random = randomOf(seed)
  let names: NamedRegistries
  let hub: SmallRegistry
  let named: NamedRegistry
  let unnamed: NamedRegistry
  let lab: RightsLab
  let containerd: Lab
  const places: Place[] = []
  const nodes: Node[] = []
  let fakes: string[]

  before(async () => {
    names = await NamedRegistries.start(['named.test', 'unnamed.test', 'evil.test'])
    hub = await SmallRegistry.start({ users: USERS })
    named = await names.add('named.test', { users: USERS })
    unnamed = await names.add('unnamed.test', { users: USERS })
    const evil = await names.add('evil.test', { vouchesForAll: true })
    fakes = [evil.name, 'evil.test', `127.0.0.1:${evil.registry.port}`, `localhost:${hub.port}`]
    publishAll()
    lab = await RightsLab.create()
    containerd = await (await Lab.create()).start()
    await fetchPastNabo()
    await startNodes()
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await containerd[Symbol.asyncDispose]()
    await hub[Symbol.asyncDispose]()
    await names[Symbol.asyncDispose]()
  })

  /** Images that share layers, in repositories of random readers, some of which lack what their manifests list. */
  function publishAll(): void {
    const layers = Array.from({ length: 8 }, (_, i) => ({ size: 3000 + i * 500, seed: `layer ${i} of ${seed}` }))
    const servers = [
      ['docker.io', hub],
      [named.name, named.registry],
      [unnamed.name, unnamed.registry],
    ] as const
    for (let i = 0; i < 18; i += 1) {
      const [registry, server] = servers[i % 3] ?? assert.fail()
      const name = `team/app${i}`
      const image = makeImage({ layers: [random.pick(layers), random.pick(layers), { size: 500 + i, seed: i }] })
      // The first one is whole, so that containerd has something to keep.
      const without = image.blobs.map(({ descriptor }) => descriptor.digest).filter(() => i > 0 && random.chance(0.15))
      server.publish(name, '1', image, { without })
      // Every registry has a public repository, a private one, and others.
      server.allow(name, i < 3 ? 'everybody' : i < 6 ? ['ann'] : random.pick(READERS))
      places.push({ registry, server, name, image })
    }
    // Whoever may publish may list what it does not have.
    const all = places.map(({ image }) => image.manifest)
    for (const [registry, server] of servers) {
      const index = indexOf([random.pick(all), random.pick(all), random.pick(all)])
      server.putManifest('bait/index', index, '1')
      const image: Image = { ...random.pick(places).image, root: index, index, manifests: [index] }
      places.push({ registry, server, name: 'bait/index', image })
    }
  }

  /** What a containerd has that pulled for several pods, past Nabo: with the labels that come of it. */
  async function fetchPastNabo(): Promise<void> {
    const hosts = join(containerd.root, 'certs.d')
    await mkdir(join(hosts, 'docker.io'), { recursive: true })
    const section = `[host."${hub.url}"]\n  capabilities = ["pull", "resolve"]\n`
    await writeFile(join(hosts, 'docker.io', 'hosts.toml'), `server = "${hub.url}"\n${section}`)
    for (const { registry, name } of places) {
      if (registry !== 'docker.io') continue
      for (const login of LOGINS.slice(0, 3)) {
        if (name !== 'team/app0' && random.chance(0.5)) continue
        const user = login === undefined ? [] : ['--user', login]
        const args = ['content', 'fetch', '--hosts-dir', hosts, ...user, `docker.io/${name}:1`]
        // Many may not, or find that a layer is missing: what was fetched by then stays.
        await containerd.containerd.ctr('--namespace', 'k8s.io', ...args)
      }
    }
  }

  async function startNodes(): Promise<void> {
    const credentials = join(lab.directory, 'config.json')
    await writeFile(credentials, JSON.stringify({ auths: { 'docker.io': { username: 'bob', password: USERS.bob } } }))
    const common = ['--upstream', `docker.io=${hub.url}`, ...names.flags]
    const containerdStore = ['--store', 'containerd', '--containerd-socket', containerd.socket]
    const add = async (
      label: string,
      flags: string[],
      fetches: string[],
      options: { own?: string; keeps?: boolean } = {},
    ) => {
      const { keeps = true, ...own } = options
      const data = ['--data-dir', join(lab.directory, `data-${label}`)]
      const directory = keeps ? { directory: join(lab.directory, `cache-${label}`) } : {}
      const fallback = ['--fallback', fetches.join(',')]
      const start = () => lab.start([...common, ...fallback, ...data, ...flags], directory)
      nodes.push({ label, daemon: await start(), start, fetches: new Set(fetches), ...own })
    }
    await add('all', [], ['docker.io', named.name, unnamed.name])
    await add('plain', [], ['docker.io'])
    await add('skip', ['--private-images', 'skip'], ['docker.io', named.name])
    await add('own', ['--credentials-file', credentials], ['docker.io', named.name], { own: 'bob' })
    await add('containerd', containerdStore, ['docker.io'], { keeps: false })
    await lab.together()
    await eventually('the content of containerd is listed', async () => {
      const { blobs } = await (nodes.at(-1) ?? assert.fail()).daemon.status()
      return blobs > 0
    })
  }

  const userOf = (login: string | undefined) =>
    login !== undefined && LOGINS.slice(0, 3).includes(login) ? login.split(':')[0] : undefined
  /** Whether any registry gives a content to a caller of a node, under any name. */
  function isAllowed(digest: Digest, node: Node, login: string | undefined): boolean {
    return places.some(
      ({ registry, server, name }) =>
        server.gives(name, digest, userOf(login)) ||
        server.gives(name, digest, undefined) ||
        (node.own !== undefined && registry === 'docker.io' && server.gives(name, digest, node.own)),
    )
  }

  it('get what their registries give them, and nothing else', async (context) => {
    context.diagnostic(`NABO_TEST_SEED=${seed}`)
    const contents = new Map<Digest, 'manifests' | 'blobs'>()
    for (const { image } of places) {
      for (const { descriptor } of image.manifests) contents.set(descriptor.digest, 'manifests')
      for (const { descriptor } of image.blobs) contents.set(descriptor.digest, 'blobs')
    }
    let [given, refused] = [0, 0]
    const once = async () => {
      const node = random.pick(nodes)
      const place = random.pick(places)
      const login = random.pick(LOGINS)
      // Most ask for what is of the place, some under a name that it is not of, or of a registry that nobody trusts.
      const own = [...place.image.manifests, ...place.image.blobs].map(({ descriptor }) => descriptor.digest)
      const digest = random.chance(0.6) ? random.pick(own) : random.pick([...contents.keys()])
      const registry = random.chance(0.15) ? random.pick(fakes) : place.registry
      const kind = contents.get(digest) ?? assert.fail()
      const range = kind === 'blobs' && random.chance(0.2) ? { range: 'bytes=0-' } : {}
      const asked = { registry, name: place.name, kind, reference: digest, login, ...range }
      const { status, bytes } = await lab.ask(node.daemon, asked)
      const what = `seed ${seed}: ${node.label} ${registry}/${place.name} ${kind} ${digest} ${login}`
      if (status !== 200 && status !== 206) {
        assert.ok([0, 401, 403, 404].includes(status), `${what}: ${status}`)
        refused += 1
        return
      }
      assert.equal(digestOf(bytes), digest, what)
      assert.ok(isAllowed(digest, node, login), `${what} was given`)
      given += 1
    }
    for (let round = 0; round < ROUNDS; round += 1) {
      // Side by side, so that fetches under way are asked for by others.
      await Promise.all(Array.from({ length: 1 + Math.floor(random.next() * 4) }, once))
      const server = random.pick([hub, named.registry, unnamed.registry])
      if (random.chance(0.02)) server.isDown = !server.isDown
      if (random.chance(0.01)) {
        const node = random.pick(nodes.slice(1))
        await lab.stop(node.daemon)
        node.daemon = await node.start()
      }
    }
    context.diagnostic(`${given} answers with content, ${refused} without`)
    assert.ok(given > ROUNDS / 4 && refused > ROUNDS / 4, `${given} and ${refused}`)
    for (const server of [hub, named.registry, unnamed.registry]) server.isDown = false
  })

  it('get all that their registries give them, from nodes that fetch from these', async () => {
    // A registry that was down is left alone for a moment, and so is one that refused a caller.
    for (const node of nodes) {
      await lab.stop(node.daemon)
      node.daemon = await node.start()
    }
    for (const node of nodes) {
      for (const { registry, server, name, image } of places) {
        if (!node.fetches.has(registry)) continue
        for (const login of LOGINS.slice(0, 3)) {
          for (const [kind, list] of [
            ['manifests', image.manifests],
            ['blobs', image.blobs],
          ] as const) {
            for (const { descriptor } of list) {
              const { digest } = descriptor
              if (!server.gives(name, digest, node.label === 'skip' ? undefined : userOf(login))) continue
              const { status, bytes } = await lab.ask(node.daemon, { registry, name, kind, reference: digest, login })
              const what = `seed ${seed}: ${node.label} ${registry}/${name} ${kind} ${digest} ${login}`
              assert.equal(status, 200, what)
              assert.equal(digestOf(bytes), digest, what)
            }
          }
        }
      }
    }
  })
})
