import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { parseDigest } from '../../src/oci/digest.ts'
import { MAX_MANIFEST_BYTES, MEDIA_TYPES, parseManifest } from '../../src/oci/manifest.ts'
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
      bytesOf({ schemaVersion: 2, layers: [{ digest: child('1').digest, size: -1 }] }),
      bytesOf({ schemaVersion: 2, layers: [{ digest: child('1').digest, size: 1e300 }] }),
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
          assert.ok(Number.isSafeInteger(size) && size >= 0)
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

function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? ''
  } catch {
    return ''
  }
}
