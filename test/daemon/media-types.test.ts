// The media type of a manifest is what its registry calls it, wherever a client gets the manifest from, and also where the bytes do not tell it.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/manifest.ts'
import { Lab, needsContainerd } from '../store/containerd/support.ts'
import type { TestDaemon } from '../support/daemon.ts'
import { type Content, type Image, indexOf, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { RightsLab } from '../support/rights-lab.ts'
import { SmallRegistry } from '../support/small-registry.ts'

const ARTIFACT = 'application/vnd.oci.artifact.manifest.v1+json'
/** What Skopeo and Podman accept: every kind of manifest, and not everything. */
const STRICT = [...Object.values(MEDIA_TYPES), ARTIFACT].join(', ')
const image = makeImage({ layers: [{ size: 1000, seed: 'media types' }] })

type Document = Record<string, unknown> & { config: object; layers: readonly object[] }
const document = JSON.parse(Buffer.from(image.manifest.bytes).toString('utf8')) as Document
const { mediaType: _type, ...unstated } = document

function contentOf(value: unknown, mediaType: string): Content {
  const bytes = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  return { bytes, descriptor: { digest: digestOf(bytes), size: bytes.length, mediaType } }
}

/** By repository. */
const ODD: Readonly<Record<string, Content>> = {
  'odd/null-layers': contentOf({ ...document, layers: null }, MEDIA_TYPES.ociManifest),
  'odd/negative-size': contentOf(
    { ...document, layers: [{ ...document.layers[0], size: -1 }] },
    MEDIA_TYPES.ociManifest,
  ),
  'odd/no-size': contentOf({ ...document, config: { ...document.config, size: undefined } }, MEDIA_TYPES.ociManifest),
  'odd/white-space': contentOf(`\n${JSON.stringify(document)}`, MEDIA_TYPES.ociManifest),
  'odd/schema-1': contentOf({ schemaVersion: 1, name: 'x/y', fsLayers: [] }, MEDIA_TYPES.dockerSchema1Signed),
  'odd/artifact': contentOf({ mediaType: ARTIFACT, artifactType: 'x/y', blobs: document.layers }, ARTIFACT),
  // Neither has a mediaType, and the second one looks like a manifest of the OCI.
  'odd/docker-unstated': contentOf(unstated, MEDIA_TYPES.dockerManifest),
  'odd/index-unstated': contentOf(
    { schemaVersion: 2, manifests: [image.manifest.descriptor] },
    MEDIA_TYPES.dockerIndex,
  ),
  'odd/another-type': contentOf({ ...document, note: 'another' }, 'application/vnd.test.manifest+json'),
}

describe('the media type that a registry gives a manifest', () => {
  let registry: SmallRegistry
  let lab: RightsLab
  let a: TestDaemon
  const flags = () => ['--upstream', `docker.io=${registry.url}`]

  before(async () => {
    registry = await SmallRegistry.start()
    for (const [name, content] of Object.entries(ODD)) registry.putManifest(name, content, '1')
    lab = await RightsLab.create()
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await registry[Symbol.asyncDispose]()
  })

  async function typeOf({ mirror }: TestDaemon, name: string, reference: string): Promise<string | null> {
    const accept = ODD[name]?.descriptor.mediaType.includes('test') === true ? `${STRICT}, application/*` : STRICT
    const response = await fetch(`${mirror}/v2/${name}/manifests/${reference}`, { headers: { accept } })
    const bytes = await response.bytes()
    assert.equal(response.status, 200, `${name}: ${Buffer.from(bytes).toString()}`)
    assert.deepEqual(Buffer.from(bytes), ODD[name]?.bytes)
    return response.headers.get('content-type')
  }
  async function requireTypes(daemon: TestDaemon, by: 'tag' | 'digest', odd = ODD): Promise<void> {
    for (const [name, { descriptor }] of Object.entries(odd))
      assert.equal(await typeOf(daemon, name, by === 'tag' ? '1' : descriptor.digest), descriptor.mediaType, name)
  }

  it('is in its answers, the first and later ones', async () => {
    a = await lab.start(flags(), { directory: `${lab.directory}/a` })
    for (const by of ['tag', 'tag', 'digest'] as const) await requireTypes(a, by)
  })

  it('is kept with the manifest, over a restart and while the registry is down', async () => {
    await lab.stop(a)
    a = await lab.start(flags(), { directory: `${lab.directory}/a` })
    registry.isDown = true
    await requireTypes(a, 'digest')
    await requireTypes(a, 'tag')
  })

  it('is told to neighbours, who tell it in turn', async () => {
    registry.isDown = false
    const before = registry.requests('GET', 'manifests').length
    const b = await lab.start(flags())
    await lab.together()
    await lab.announced(a, Object.keys(ODD).length)
    // No peer contradicts what a manifest says about itself.
    const { 'odd/another-type': contradicted, ...told } = ODD
    assert.ok(contradicted)
    const stated = () => typeOf(b, 'odd/another-type', contradicted.descriptor.digest)
    await requireTypes(b, 'digest', told)
    assert.equal(await stated(), MEDIA_TYPES.ociManifest)
    await requireTypes(b, 'tag', told)
    await lab.stop(a)
    await requireTypes(b, 'digest', told)
    assert.equal(await stated(), MEDIA_TYPES.ociManifest)
    assert.equal(registry.requests('GET', 'manifests').length, before)
  })

  it(
    'comes with containerd from the image, whatever the bytes are: containerd imports all of these',
    needsContainerd,
    async () => {
      await using containerd = await (await Lab.create()).start()
      for (const [name, content] of Object.entries(ODD)) {
        const isIndex = content.descriptor.mediaType === MEDIA_TYPES.dockerIndex
        const manifests = isIndex ? [content, image.manifest] : [content]
        const odd: Image = { ...image, root: content, index: isIndex ? content : undefined, manifests }
        // containerd removes a layer that it does not find in the manifest, so only the manifest has a source label.
        await containerd.pull('k8s.io', odd, { registry: 'docker.io', name, tag: '1' }, [content])
      }
      const before = registry.requests('GET', 'manifests').length
      const node = await lab.start([...flags(), '--store', 'containerd', '--containerd-socket', containerd.socket])
      const held = new Set(Object.values(ODD).map(({ descriptor }) => descriptor.digest))
      await eventually('all are listed', async () => (await node.status()).blobs >= held.size)
      await requireTypes(node, 'digest')
      await requireTypes(node, 'tag')
      assert.equal(registry.requests('GET', 'manifests').length, before)
    },
  )

  it('comes with containerd from its image, else from the index above it', needsContainerd, async () => {
    const child = contentOf(unstated, MEDIA_TYPES.dockerManifest)
    const root = indexOf([child])
    const odd: Image = { ...image, root, index: root, manifest: child, manifests: [root, child] }
    const plain: Image = { ...image, root: child, index: undefined, manifest: child, manifests: [child] }
    await using containerd = await (await Lab.create()).start()
    await containerd.pull('k8s.io', odd, { registry: 'docker.io', name: 'odd/below-an-index', tag: '1' })
    registry.publish('odd/below-an-index', '1', odd)
    registry.publish('odd/docker-unstated', '1', plain)
    const node = await lab.start([...flags(), '--store', 'containerd', '--containerd-socket', containerd.socket])
    await eventually('its content is listed', async () => (await node.status()).blobs === 4)
    const ask = async (name: string) => {
      const response = await fetch(`${node.mirror}/v2/${name}/manifests/${child.descriptor.digest}`)
      await response.arrayBuffer()
      return [response.headers.get('nabo-source'), response.headers.get('content-type')]
    }
    assert.deepEqual(await ask('odd/below-an-index'), ['store', MEDIA_TYPES.dockerManifest])
    const before = registry.requests('GET', 'manifests').length
    await containerd.pull('k8s.io', plain, { registry: 'docker.io', name: 'odd/docker-unstated', tag: '1' })
    await eventually('its registry names it', async () => (await ask('odd/docker-unstated'))[0] === 'store')
    assert.deepEqual(await ask('odd/docker-unstated'), ['store', MEDIA_TYPES.dockerManifest])
    assert.equal(registry.requests('GET', 'manifests').length, before)
  })
})
