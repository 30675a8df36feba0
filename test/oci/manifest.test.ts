import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { parseDigest } from '../../src/oci/digest.ts'
import {
  MAX_MANIFEST_BYTES,
  MEDIA_TYPES,
  type ToldMediaType,
  UNKNOWN_MEDIA_TYPE,
  manifestMediaType,
  parseManifest,
  parseManifestType,
  tellsMediaType,
} from '../../src/oci/manifest.ts'
import { makeImage } from '../support/image-maker.ts'

const bytesOf = (document: unknown) => Buffer.from(JSON.stringify(document))
const child = (digit: string) => ({ mediaType: 'a/b', digest: `sha256:${digit.repeat(64)}`, size: 1 })

describe('a manifest', () => {
  it('names its config and layers in this order', () => {
    const image = makeImage({
      layers: [
        { size: 10, seed: 1 },
        { size: 10, seed: 2 },
      ],
    })
    const manifest = parseManifest(image.manifest.bytes)
    assert.equal(manifest?.kind, 'image')
    assert.equal(manifest.mediaType, MEDIA_TYPES.ociManifest)
    assert.deepEqual(
      manifest.children.map((descriptor) => descriptor.digest),
      [image.config, ...image.layers].map((content) => content.descriptor.digest),
    )
  })

  it('may be an index, of Docker too', () => {
    for (const mediaTypes of ['oci', 'docker'] as const) {
      const image = makeImage({ layers: [{ size: 10, seed: 1 }], multiArch: true, attestations: true, mediaTypes })
      const index = parseManifest(image.root.bytes)
      assert.equal(index?.kind, 'index')
      assert.equal(index.mediaType, mediaTypes === 'oci' ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.dockerIndex)
      assert.equal(index.children.length, 3)
    }
  })

  it('has the media type of its kind if it names none that could be one', () => {
    const typeOf = (document: object) => parseManifest(bytesOf({ schemaVersion: 2, ...document }))?.mediaType
    assert.equal(typeOf({ manifests: [] }), MEDIA_TYPES.ociIndex)
    assert.equal(typeOf({ layers: [] }), MEDIA_TYPES.ociManifest)
    assert.equal(typeOf({ layers: [], mediaType: 'application/x+json' }), 'application/x+json')
    for (const mediaType of ['', 'x', 'text/html\r\nx-evil: 1', 'a/b; c=d', 'ä/b', `a/${'b'.repeat(300)}`]) {
      assert.equal(typeOf({ layers: [], mediaType }), MEDIA_TYPES.ociManifest, mediaType)
    }
  })

  it('leaves out children that no store could hold', () => {
    const other = { mediaType: 'a/b', digest: 'blake3:00', size: 1 }
    const manifest = parseManifest(bytesOf({ schemaVersion: 2, layers: [child('1'), other, child('2')] }))
    assert.deepEqual(
      manifest?.children.map((descriptor) => descriptor.digest),
      [child('1').digest, child('2').digest],
    )
  })

  it('is read though it is a little odd: null for a list, a size that is none, white space in front, no schema version', () => {
    const digests = (bytes: Uint8Array) =>
      parseManifest(bytes)?.children.map(({ digest, size }) => [digest[7], size] as const)
    const { size: _, ...unsized } = child('1')
    for (const [document, expected] of [
      [{ schemaVersion: 2, config: child('1'), layers: null }, [['1', 1]]],
      [{ schemaVersion: 2, layers: null }, []],
      [{ schemaVersion: 2, config: null, layers: [child('1')] }, [['1', 1]]],
      [{ schemaVersion: 2, layers: [{ ...unsized, size: -1 }, child('2')] }, [['1', undefined], ['2', 1]]], // prettier-ignore
      [{ schemaVersion: 2, layers: [unsized, null, 'x', {}] }, [['1', undefined]]],
      [{ schemaVersion: 2, layers: [{ ...unsized, size: 1e300 }] }, [['1', undefined]]],
      [{ mediaType: 'application/vnd.oci.artifact.manifest.v1+json', blobs: [child('1')] }, [['1', 1]]],
    ] as const) {
      assert.deepEqual(digests(bytesOf(document)), expected, JSON.stringify(document))
      assert.deepEqual(digests(Buffer.concat([Buffer.from(' \r\n\t'), bytesOf(document)])), expected)
    }
  })

  it('is nothing else', () => {
    const image = makeImage({ layers: [{ size: 10, seed: 1 }] })
    for (const bytes of [
      Buffer.from(''),
      Buffer.from('{'),
      Buffer.from('null'),
      Buffer.from('[]'),
      Buffer.from('{}'),
      bytesOf({ schemaVersion: 1, layers: [] }),
      bytesOf({ schemaVersion: 2 }),
      bytesOf({ layers: [child('1')] }),
      bytesOf({ schemaVersion: 2, layers: 'x' }),
      image.config.bytes,
      image.layers[0]?.bytes ?? new Uint8Array(),
      Buffer.concat([bytesOf({ schemaVersion: 2, layers: [] }), Buffer.alloc(MAX_MANIFEST_BYTES, ' ')]),
    ]) {
      assert.equal(parseManifest(bytes), undefined, Buffer.from(bytes).subarray(0, 60).toString('latin1'))
    }
  })

  it('is read or not, but never throws', () => {
    const descriptor = fc.record(
      {
        mediaType: fc.anything(),
        digest: fc.oneof(fc.constant(child('3').digest), fc.anything()),
        size: fc.oneof(fc.integer(), fc.anything()),
      },
      { requiredKeys: [] },
    )
    const field = fc.oneof(fc.array(fc.oneof(descriptor, fc.anything())), fc.anything())
    const document = fc.record(
      {
        schemaVersion: fc.oneof(fc.constant(2), fc.anything()),
        mediaType: fc.oneof(fc.string(), fc.anything()),
        manifests: field,
        config: fc.oneof(descriptor, fc.anything()),
        layers: field,
        blobs: field,
        ['__proto__']: fc.anything(),
      },
      { requiredKeys: ['schemaVersion'] },
    )
    const json = fc.oneof(document, fc.jsonValue()).map((value) => Buffer.from(safeJson(value)))
    fc.assert(
      fc.property(fc.oneof(json, fc.uint8Array()), (bytes) => {
        for (const { digest, size } of parseManifest(bytes)?.children ?? []) {
          assert.equal(parseDigest(digest), digest)
          assert.ok(size === undefined || (Number.isSafeInteger(size) && size >= 0))
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('may be nested as deep as its size allows', () => {
    const depth = 500_000
    assert.equal(parseManifest(Buffer.from(`{"x":${'['.repeat(depth)}${']'.repeat(depth)}}`)), undefined)
    assert.equal(parseManifest(Buffer.from('{"a":'.repeat(depth))), undefined)
  })
})

describe('the media type of a manifest', () => {
  const docker = { mediaType: 'application/vnd.docker.container.image.v1+json', digest: child('1').digest, size: 1 }
  const unstated = { schemaVersion: 2, config: child('1'), layers: [] }
  const registrys = (mediaType: string) => ({ mediaType, isRegistrys: true })
  const hint = (mediaType: string) => ({ mediaType, isRegistrys: false })
  const typeOf = (document: unknown, told?: ToldMediaType) => manifestMediaType(bytesOf(document), told)

  it("is the registry's word, whatever the document says", () => {
    const document = { ...unstated, mediaType: MEDIA_TYPES.ociManifest }
    assert.equal(typeOf(document, registrys(MEDIA_TYPES.dockerManifest)), MEDIA_TYPES.dockerManifest)
    assert.equal(typeOf(unstated, registrys('application/x+json')), 'application/x+json')
    assert.equal(manifestMediaType(Buffer.from('no JSON'), registrys('a/b')), 'a/b')
  })

  it('is what the document states, before the word of others', () => {
    for (const told of [undefined, hint(MEDIA_TYPES.dockerManifest), registrys(UNKNOWN_MEDIA_TYPE)])
      assert.equal(typeOf({ ...unstated, mediaType: MEDIA_TYPES.ociManifest }, told), MEDIA_TYPES.ociManifest)
  })

  it('is a hint only if that is no other kind of document', () => {
    assert.equal(typeOf(unstated, hint(MEDIA_TYPES.dockerManifest)), MEDIA_TYPES.dockerManifest)
    assert.equal(typeOf(unstated, hint(MEDIA_TYPES.dockerIndex)), MEDIA_TYPES.ociManifest)
    assert.equal(typeOf({ schemaVersion: 2, manifests: [] }, hint(MEDIA_TYPES.dockerManifest)), MEDIA_TYPES.ociIndex)
    assert.equal(typeOf({ schemaVersion: 2, manifests: [] }, hint(MEDIA_TYPES.dockerIndex)), MEDIA_TYPES.dockerIndex)
    assert.equal(typeOf({ anything: 1 }, hint('a/b')), 'a/b')
  })

  it('is no hint that is anything but the name of the parsed kind by the OCI or Docker', () => {
    const index = { schemaVersion: 2, manifests: [] }
    for (const [document, type] of [
      [unstated, MEDIA_TYPES.ociManifest],
      [index, MEDIA_TYPES.ociIndex],
      [{ ...unstated, config: docker }, MEDIA_TYPES.dockerManifest],
    ] as const)
      for (const text of ['application/x-foo', MEDIA_TYPES.dockerSchema1Signed])
        assert.equal(typeOf(document, hint(text)), type, text)
    assert.equal(typeOf(unstated, hint('application/vnd.oci.image.index.v1+JSON')), MEDIA_TYPES.ociManifest)
    assert.equal(typeOf(index, hint(MEDIA_TYPES.dockerManifest.toUpperCase())), MEDIA_TYPES.ociIndex)
    assert.equal(typeOf(unstated, hint(MEDIA_TYPES.dockerManifest.toUpperCase())), MEDIA_TYPES.dockerManifest)
    assert.equal(typeOf({ ...unstated, config: docker }, hint(MEDIA_TYPES.ociManifest)), MEDIA_TYPES.ociManifest)
  })

  it('is told by the bytes, but for schema 1 and what cannot be read', () => {
    const told = [unstated, { schemaVersion: 2, manifests: [] }, { mediaType: 'application/x+json', blobs: [] }]
    for (const document of told) assert.equal(tellsMediaType(bytesOf(document)), true)
    const silent = [{ schemaVersion: 1, fsLayers: [] }, { blobs: [] }, { anything: 1 }]
    for (const document of silent) assert.equal(tellsMediaType(bytesOf(document)), false)
    assert.equal(tellsMediaType(Buffer.from('no JSON')), false)
  })

  it('is never what no manifest has', () => {
    for (const text of [
      '',
      'x',
      'text/html',
      'TEXT/plain; charset=utf-8',
      'a/b\r\nx: y',
      'ä/b',
      `a/${'b'.repeat(300)}`,
    ])
      for (const told of [registrys(text), hint(text)])
        assert.equal(typeOf(unstated, told), MEDIA_TYPES.ociManifest, text)
    assert.equal(parseManifestType(`${MEDIA_TYPES.ociIndex}; charset=utf-8`), MEDIA_TYPES.ociIndex)
  })

  it('is told by the document where nobody tells it', () => {
    assert.equal(typeOf({ ...unstated, config: docker }), MEDIA_TYPES.dockerManifest)
    const inner = { ...child('1'), mediaType: MEDIA_TYPES.dockerManifest }
    assert.equal(typeOf({ schemaVersion: 2, manifests: [inner] }), MEDIA_TYPES.dockerIndex)
    assert.equal(typeOf({ schemaVersion: 2, manifests: [inner, child('2')] }), MEDIA_TYPES.ociIndex)
    assert.equal(typeOf({ schemaVersion: 1, fsLayers: [] }), MEDIA_TYPES.dockerSchema1)
    assert.equal(typeOf({ schemaVersion: 1, fsLayers: [], signatures: [{}] }), MEDIA_TYPES.dockerSchema1Signed)
    assert.equal(typeOf({ mediaType: 'application/x+json' }), 'application/x+json')
    assert.equal(typeOf({}), UNKNOWN_MEDIA_TYPE)
    assert.equal(manifestMediaType(Buffer.from('')), UNKNOWN_MEDIA_TYPE)
  })
})

function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? ''
  } catch {
    return ''
  }
}
