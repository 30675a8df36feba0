// What hostile registries, gateways, publishers and clients were found to get out of real daemons, each of which must stay closed.
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { hour } from '../../src/time/units.ts'
import type { TestDaemon } from '../support/daemon.ts'
import { makeImage } from '../support/image-maker.ts'
import { NamedRegistries } from '../support/named-registries.ts'
import { RightsLab } from '../support/rights-lab.ts'
import { SmallRegistry } from '../support/small-registry.ts'

const ANN = 'ann:pw'
const MALLORY = 'mallory:x'
const users = { ann: 'pw' }
const old = makeImage({ layers: [{ size: 5000, seed: 'was public' }] })
const secret = makeImage({ layers: [{ size: 60_000, seed: 'secret' }] })
const layer = secret.layers[0]?.descriptor.digest ?? assert.fail()
const manifest = secret.manifest.descriptor.digest
const CONTENTS = [
  ['manifests', manifest],
  ['blobs', layer],
] as const

describe('a private image', () => {
  let lab: RightsLab
  let hub: SmallRegistry

  beforeEach(async () => {
    lab = await RightsLab.create()
    hub = await SmallRegistry.start({ users })
  })
  afterEach(async () => {
    await lab[Symbol.asyncDispose]()
    await hub[Symbol.asyncDispose]()
  })

  async function pull(node: TestDaemon, login?: string, registry = 'docker.io'): Promise<void> {
    for (const [kind, reference] of CONTENTS)
      assert.equal((await lab.ask(node, { registry, name: 'org/app', kind, reference, login })).status, 200, kind)
  }
  async function isNotGiven(nodes: readonly TestDaemon[], names: readonly string[] = ['org/app']): Promise<void> {
    for (const [i, node] of nodes.entries()) {
      for (const name of names) {
        for (const login of [undefined, MALLORY]) {
          for (const [kind, reference] of CONTENTS) {
            const { status } = await lab.ask(node, { name, kind, reference, login })
            assert.ok([401, 404].includes(status), `node ${i} ${name} ${kind} ${login}: ${status}`)
          }
        }
      }
    }
  }
  const credentials = async () => {
    const file = `${lab.directory}/config.json`
    const auth = Buffer.from(ANN).toString('base64')
    await writeFile(file, JSON.stringify({ auths: { 'docker.io': { auth } } }))
    return ['--credentials-file', file]
  }

  for (const [what, type, answersHead] of [
    ['a login page', 'text/html', true],
    ['an error of a gateway', 'application/json', true],
    ['an error of a gateway that knows no HEAD', 'application/json', false],
  ] as const) {
    it(`is not made public by ${what} that comes with 200`, async () => {
      let isShown = false
      const page = (request: IncomingMessage, response: ServerResponse) => {
        if (request.method === 'HEAD' && !answersHead) return void response.writeHead(405).end()
        const body = '{"message":"please log in"}'
        response.writeHead(200, { 'content-type': type, 'content-length': body.length })
        response.end(request.method === 'HEAD' ? undefined : body)
      }
      await using front = await startFront((request, response) => {
        const isAnn = request.headers.authorization === `Basic ${Buffer.from(ANN).toString('base64')}`
        if (isShown && !isAnn) page(request, response)
        else void pass(hub, request, response)
      })
      hub.publish('org/app', '1', secret)
      hub.allow('org/app', ['ann'])
      const flags = ['--upstream', `docker.io=${front.url}`]
      const nodes = [await lab.start(flags), await lab.start(flags)] as const
      await lab.together()
      await pull(nodes[0], ANN)
      await lab.announced(nodes[0], 2)
      isShown = true
      for (const login of [undefined, MALLORY, undefined, MALLORY]) {
        for (const [kind, reference] of [...CONTENTS, ['blobs', digestOf(Buffer.from(`any ${login}`))]] as const)
          await lab.ask(nodes[1], { name: 'org/app', kind, reference, login })
      }
      await isNotGiven(nodes, ['org/app', 'library/other'])
      isShown = false
      await isNotGiven(nodes, ['org/app', 'library/other'])
    })
  }

  it('that was pushed after its repository was closed is not given because the repository was public before', async () => {
    hub.publish('org/app', '1', old)
    const flags = ['--upstream', `docker.io=${hub.url}`]
    const own = await credentials()
    const a = await lab.start([...flags, ...own], { directory: `${lab.directory}/a` })
    const b = await lab.start(flags)
    await lab.together()
    const before = { name: 'org/app', kind: 'manifests', reference: old.manifest.descriptor.digest } as const
    for (const node of [a, b]) assert.equal((await lab.ask(node, before)).status, 200)
    hub.publish('org/app', '2', secret)
    hub.allow('org/app', ['ann'])
    await pull(a)
    await lab.announced(a, 3)
    await isNotGiven([b], ['org/app', 'library/whatever'])
    // Nor by the first node, once its own credentials are gone, or it leaves alone what is not public.
    await lab.stop(a)
    for (const policy of ['verify', 'skip']) {
      const again = await lab.start([...flags, '--private-images', policy], { directory: `${lab.directory}/a` })
      await isNotGiven([again], ['org/app', 'library/whatever'])
      await lab.stop(again)
    }
    // Clients with the right password are served, though the repository was public when it was last asked about.
    await pull(b, ANN)
  })

  it('is not given because a node proved another content of its repository many hours ago', async () => {
    hub.publish('org/app', '1', old)
    hub.publish('org/app', '2', secret)
    hub.allow('org/app', ['ann'])
    await mkdir(`${lab.directory}/x`)
    const at = Date.now() - 10 * hour
    const contents = { [old.manifest.descriptor.digest]: at }
    const kept = { version: 1, repositories: [{ repository: 'docker.io/org/app', asOf: at, contents }] }
    await writeFile(`${lab.directory}/x/proofs.json`, JSON.stringify(kept))
    const flags = ['--upstream', `docker.io=${hub.url}`]
    const own = [...flags, ...(await credentials())]
    const [x, y, z] = [
      await lab.start([...own, '--data-dir', `${lab.directory}/x`]),
      await lab.start(own),
      await lab.start(flags),
    ]
    await lab.together()
    for (const node of [x, y]) {
      const tag = { name: 'org/app', kind: 'manifests', reference: '1', method: 'HEAD' } as const
      assert.equal((await lab.ask(node, tag)).status, 200)
    }
    await pull(y)
    await lab.announced(y, 2)
    await isNotGiven([z], ['org/app', 'library/other'])
    await isNotGiven([y], ['library/other'])
  })

  it('of a registry on this machine is not given for the word of another node’s registry of that name', async () => {
    await using other = await SmallRegistry.start()
    other.publish('org/app', '1', secret)
    hub.publish('org/app', '1', secret)
    hub.allow('org/app', ['ann'])
    const registry = 'localhost:5999'
    const flags = ['--fallback', `docker.io,${registry}`]
    const a = await lab.start([...flags, '--upstream', `${registry}=${other.url}`])
    const b = await lab.start([...flags, '--upstream', `${registry}=${hub.url}`])
    await lab.together()
    await pull(a, undefined, registry)
    await pull(b, ANN, registry)
    for (const [kind, reference] of CONTENTS) {
      const { status } = await lab.ask(b, { registry, name: 'org/app', kind, reference })
      assert.ok([401, 404].includes(status), `${kind}: ${status}`)
      const asPeer = await fetch(`${a.peer}/v2/org/app/${kind}/${reference}?ns=${registry}`)
      assert.ok([403, 404].includes(asPeer.status))
    }
  })

  it('is refused in the same words, whether some node holds it or not', async () => {
    await using names = await NamedRegistries.start(['priv.test'])
    const { name: registry, registry: server } = await names.add('priv.test', { users })
    server.publish('org/app', '1', secret)
    server.allow('org/app', ['ann'])
    const a = await lab.start([...names.flags, '--fallback', `docker.io,${registry}`])
    const b = await lab.start(names.flags)
    await lab.together()
    await pull(a, ANN, registry)
    await lab.announced(a, 2)
    for (const node of [a, b]) {
      for (const login of [undefined, MALLORY]) {
        const words = new Set<string>()
        for (const reference of [layer, digestOf(Buffer.from('nobody has it'))]) {
          const { status, bytes } = await lab.ask(node, { registry, name: 'org/app', reference, login })
          words.add(`${status} ${Buffer.from(bytes).toString().replaceAll(reference, 'it')}`)
        }
        assert.equal(words.size, 1, [...words].join('\n'))
      }
    }
  })
})

describe('a public image', () => {
  it('is given though a manifest of another repository lies about the size of its layer', async () => {
    await using lab = await RightsLab.create()
    await using hub = await SmallRegistry.start()
    hub.publish('library/app', '1', secret)
    const layers = Array.from({ length: 10_001 }, (_, i) => ({
      mediaType: 'a/b',
      digest: digestOf(Buffer.from(`${i}`)),
      size: 1,
    }))
    const lie = {
      schemaVersion: 2,
      config: layers[0],
      layers: [...layers, { mediaType: 'a/b', digest: layer, size: 1 }],
    }
    const bytes = Buffer.from(JSON.stringify(lie))
    const mediaType = 'application/vnd.oci.image.manifest.v1+json'
    hub.putManifest('mallory/x', { bytes, descriptor: { digest: digestOf(bytes), size: bytes.length, mediaType } }, '1')
    const node = await lab.start(['--upstream', `docker.io=${hub.url}`])
    const ask = (name: string, kind: 'manifests' | 'blobs', reference: Digest) =>
      lab.ask(node, { name, kind, reference })
    assert.equal((await ask('library/app', 'manifests', manifest)).status, 200)
    assert.equal((await ask('mallory/x', 'manifests', digestOf(bytes))).status, 200)
    const given = await ask('library/app', 'blobs', layer)
    assert.equal(given.status, 200, Buffer.from(given.bytes).toString().slice(0, 300))
  })
})

/** A server in front of a registry. */
async function startFront(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function pass(registry: SmallRegistry, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { authorization } = request.headers
  const answer = await fetch(`${registry.url}${request.url}`, {
    method: request.method ?? 'GET',
    headers: authorization === undefined ? {} : { authorization },
  })
  const names = ['content-type', 'content-length', 'docker-content-digest', 'www-authenticate']
  const headers = names.flatMap((name) => {
    const value = answer.headers.get(name)
    return value === null ? [] : [[name, value] as const]
  })
  response.writeHead(answer.status, Object.fromEntries(headers))
  response.end(Buffer.from(await answer.arrayBuffer()))
}
