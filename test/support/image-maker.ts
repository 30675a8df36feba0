import { execFileSync } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { constants, gzipSync } from 'node:zlib'

import { z } from 'zod'

import { digestOf } from '../../src/oci/digest.ts'
import { type Descriptor, MEDIA_TYPES } from '../../src/oci/manifest.ts'
import { makeTar } from './tar.ts'

/** What {@link makeImage} makes an image from. The same recipe gives the same bytes, in any process. */
export interface ImageRecipe {
  readonly layers: readonly LayerRecipe[]
  /** `linux/amd64`; this machine's platform if absent. */
  readonly platform?: string
  /** Puts an index on top, with a small image for a second platform beside the one asked for. */
  readonly multiArch?: boolean
  /** Adds an attestation manifest to the index, as BuildKit does. Implies an index. */
  readonly attestations?: boolean
  /** Of the manifest. */
  readonly annotations?: Readonly<Record<string, string>>
  /** Makes the manifest a referrer of another one. */
  readonly subject?: Descriptor
  readonly mediaTypes?: 'oci' | 'docker'
  /** Programs of this machine, in a first layer of their own: such an image can run. */
  readonly programs?: readonly ProgramRecipe[]
  /** What a container of it runs; `/bin/true`, which is not in it, if absent. */
  readonly command?: readonly string[]
  readonly entrypoint?: readonly string[]
  /**
   * A file as `docker save` writes it: the image in it, with a last layer of `programs` and with `environment`. Of the recipe nothing else counts. Its
   * layers are compressed.
   */
  readonly archive?: string
  /** `NAME=value`, for an image of an archive. */
  readonly environment?: readonly string[]
}

export interface ProgramRecipe {
  /** On this machine. */
  readonly file: string
  /** In the image, without the slash in front. */
  readonly path: string
}

export interface LayerRecipe {
  /** Of the one file in the layer, in bytes. The layer itself is larger by the tar's headers. */
  readonly size: number
  /** Two layers of the same seed and size are the same blob. */
  readonly seed: string | number
  /** Text that gzip shrinks about a hundredfold, rather than noise. */
  readonly compressible?: boolean
  /** `gzip` if absent; noise is stored in it, since squeezing it would only take time. */
  readonly compression?: 'gzip' | 'none'
}

/** A descriptor and the bytes that it describes. */
export interface Content {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
}

export interface Image {
  readonly recipe: ImageRecipe
  /** What a tag names: the index if there is one, else the manifest. */
  readonly root: Content
  readonly index: Content | undefined
  /** Of the platform asked for, as are `config` and `layers`. */
  readonly manifest: Content
  readonly config: Content
  readonly layers: readonly Content[]
  /** All manifests and indexes, those of other platforms too. */
  readonly manifests: readonly Content[]
  /** All configs and layers, those of other platforms too, each digest once. */
  readonly blobs: readonly Content[]
}

interface PlatformImage {
  readonly manifest: Content
  readonly config: Content
  readonly layers: readonly Content[]
}

const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json'
const CREATED = '2024-01-01T00:00:00Z'

const archivedConfigSchema = z.looseObject({
  config: z.looseObject({ Env: z.array(z.string()) }),
  rootfs: z.looseObject({ diff_ids: z.array(z.string()) }),
  history: z.array(z.unknown()).default([]),
})
const archiveSchema = z.tuple([z.object({ Config: z.string(), Layers: z.array(z.string()) })])

/** Makes an image that containerd can pull, import and unpack; about a second for 200 MB. */
export function makeImage(recipe: ImageRecipe): Image {
  if (recipe.archive !== undefined) return fromArchive(recipe, recipe.archive)
  const platform = recipe.platform ?? hostPlatform()
  const main = makePlatformImage(recipe, platform, recipe.layers)
  const withIndex = recipe.multiArch === true || recipe.attestations === true
  const others: PlatformImage[] = []
  const entries: object[] = [{ ...main.manifest.descriptor, platform: platformObject(platform) }]
  if (recipe.multiArch === true) {
    const other = platform === 'linux/amd64' ? 'linux/arm64' : 'linux/amd64'
    const image = makePlatformImage(recipe, other, [{ size: 1024, seed: `${other} ${recipe.layers[0]?.seed ?? ''}` }])
    others.push(image)
    entries.push({ ...image.manifest.descriptor, platform: platformObject(other) })
  }
  if (recipe.attestations === true) {
    const attestation = makeAttestation(main.manifest.descriptor)
    others.push(attestation)
    entries.push({
      ...attestation.manifest.descriptor,
      annotations: {
        'vnd.docker.reference.digest': main.manifest.descriptor.digest,
        'vnd.docker.reference.type': 'attestation-manifest',
      },
      platform: platformObject('unknown/unknown'),
    })
  }
  const index = withIndex ? makeIndex(recipe, entries) : undefined
  const manifests = [main, ...others].map((image) => image.manifest)
  const blobs = [main, ...others].flatMap((image) => [image.config, ...image.layers])
  return {
    recipe,
    ...main,
    index,
    root: index ?? main.manifest,
    manifests: index === undefined ? manifests : [index, ...manifests],
    blobs: [...new Map(blobs.map((blob) => [blob.descriptor.digest, blob])).values()],
  }
}

/** An index of images that exist already. */
export function indexOf(manifests: readonly Content[]): Content {
  const entries = manifests.map(({ descriptor }) => ({ ...descriptor, platform: platformObject(hostPlatform()) }))
  return makeIndex({ layers: [] }, entries)
}

/** An OCI image layout in a tar, for `ctr images import`. `name` is the image's full name, as `docker.io/library/app:1`. */
export function toOciTar(image: Image, name: string): Buffer {
  const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': tagOf(name) }
  const index = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [{ ...image.root.descriptor, annotations }],
  }
  const contents = [...image.manifests, ...image.blobs]
  return makeTar([
    { name: 'oci-layout', bytes: Buffer.from('{"imageLayoutVersion":"1.0.0"}') },
    { name: 'index.json', bytes: Buffer.from(JSON.stringify(index)) },
    { name: 'blobs/', type: 'directory' },
    { name: 'blobs/sha256/', type: 'directory' },
    ...contents.map(({ descriptor, bytes }) => ({ name: `blobs/${descriptor.digest.replace(':', '/')}`, bytes })),
  ])
}

/** `size` bytes of noise that depend on the seed alone. */
export function noise(seed: string | number, size: number): Buffer {
  const key = createHash('sha256').update(`nabo ${seed}`).digest()
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  const step = 16 * 1024 * 1024
  const zeros = Buffer.alloc(Math.min(step, size))
  const bytes = Buffer.allocUnsafe(size)
  for (let offset = 0; offset < size; offset += step) {
    bytes.set(cipher.update(zeros.subarray(0, Math.min(step, size - offset))), offset)
  }
  return bytes
}

function makePlatformImage(recipe: ImageRecipe, platform: string, recipes: readonly LayerRecipe[]): PlatformImage {
  const docker = recipe.mediaTypes === 'docker'
  const { programs = [], command = ['/bin/true'], entrypoint } = recipe
  const first = programs.length === 0 ? [] : [makeProgramLayer(programs, docker)]
  const layers = [...first, ...recipes.map((layer) => makeLayer(layer, docker))]
  const config = content(docker ? DOCKER_CONFIG : OCI_CONFIG, {
    created: CREATED,
    ...platformObject(platform),
    config: { Cmd: command, ...(entrypoint === undefined ? {} : { Entrypoint: entrypoint }) },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map(() => ({ created: CREATED, created_by: 'image-maker' })),
  })
  const manifest = content(docker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest, {
    schemaVersion: 2,
    mediaType: docker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest,
    config: config.descriptor,
    layers: layers.map((layer) => layer.descriptor),
    ...(recipe.subject === undefined ? {} : { subject: recipe.subject }),
    ...(recipe.annotations === undefined ? {} : { annotations: recipe.annotations }),
  })
  return { manifest, config, layers: layers.map(({ descriptor, bytes }) => ({ descriptor, bytes })) }
}

function makeLayer(recipe: LayerRecipe, docker: boolean): Content & { diffId: string } {
  const file = recipe.compressible === true ? text(recipe) : noise(recipe.seed, recipe.size)
  const directory = createHash('sha256').update(`${recipe.seed}`).digest('hex').slice(0, 12)
  const tar = makeTar([
    { name: `${directory}/`, type: 'directory' },
    { name: `${directory}/data`, bytes: file },
  ])
  const level = recipe.compressible === true ? constants.Z_BEST_SPEED : constants.Z_NO_COMPRESSION
  return layerOf(tar, { docker, level: recipe.compression === 'none' ? undefined : level })
}

function makeProgramLayer(programs: readonly ProgramRecipe[], docker: boolean): Content & { diffId: string } {
  const directories = new Set(programs.map(({ path }) => path.slice(0, path.lastIndexOf('/') + 1)))
  directories.delete('')
  const tar = makeTar([
    ...[...directories].map((name) => ({ name, type: 'directory' as const })),
    ...programs.map(({ file, path }) => ({ name: path, bytes: readFileSync(file), executable: true })),
  ])
  return layerOf(tar, { docker, level: constants.Z_BEST_SPEED })
}

/** `level`: of gzip; undefined for a plain tar. */
function layerOf(
  tar: Buffer,
  { docker, level }: { docker: boolean; level: number | undefined },
): Content & { diffId: string } {
  const gzip = level !== undefined
  const bytes = gzip ? gzipSync(tar, { level, chunkSize: 4 * 1024 * 1024 }) : tar
  const base = docker ? 'application/vnd.docker.image.rootfs.diff.tar' : 'application/vnd.oci.image.layer.v1.tar'
  const mediaType = gzip ? `${base}${docker ? '.gzip' : '+gzip'}` : base
  const digest = digestOf(bytes)
  const diffId = gzip ? digestOf(tar) : digest
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes, diffId }
}

// https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format
function fromArchive(recipe: ImageRecipe, file: string): Image {
  const read = (name: string) =>
    execFileSync('tar', ['--extract', '--to-stdout', '--file', file, name], { maxBuffer: 2 ** 31 - 1 })
  const [entry] = archiveSchema.parse(JSON.parse(read('manifest.json').toString('utf8')))
  const layers = entry.Layers.map((name) => layerOf(read(name), { docker: true, level: constants.Z_BEST_SPEED }))
  const original = archivedConfigSchema.parse(JSON.parse(read(entry.Config).toString('utf8')))
  const { programs = [], environment = [] } = recipe
  if (programs.length > 0) {
    const last = makeProgramLayer(programs, true)
    layers.push(last)
    original.rootfs.diff_ids.push(last.diffId)
    original.history.push({ created: CREATED, created_by: 'image-maker' })
  }
  original.config.Env.push(...environment)
  const bytes = Buffer.from(JSON.stringify(original))
  const config = { descriptor: { mediaType: DOCKER_CONFIG, digest: digestOf(bytes), size: bytes.length }, bytes }
  const manifest = content(MEDIA_TYPES.dockerManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.dockerManifest,
    config: config.descriptor,
    layers: layers.map((layer) => layer.descriptor),
  })
  const blobs = [config, ...layers]
  return { recipe, root: manifest, index: undefined, manifest, config, layers, manifests: [manifest], blobs }
}

function text(recipe: LayerRecipe): Buffer {
  return Buffer.alloc(recipe.size, `What a neighbour has need not come from far away (${recipe.seed}).\n`)
}

// https://docs.docker.com/build/metadata/attestations/attestation-storage/
function makeAttestation(subject: Descriptor): PlatformImage {
  const statement = content('application/vnd.in-toto+json', {
    _type: 'https://in-toto.io/Statement/v0.1',
    predicateType: 'https://slsa.dev/provenance/v0.2',
    subject: [{ name: 'app', digest: { sha256: subject.digest.slice('sha256:'.length) } }],
    predicate: {},
  })
  const config = content(OCI_CONFIG, {
    architecture: 'unknown',
    os: 'unknown',
    config: {},
    rootfs: { type: 'layers', diff_ids: [statement.descriptor.digest] },
  })
  const manifest = content(MEDIA_TYPES.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: config.descriptor,
    layers: [statement.descriptor],
  })
  return { manifest, config, layers: [statement] }
}

function makeIndex(recipe: ImageRecipe, manifests: readonly object[]): Content {
  const mediaType = recipe.mediaTypes === 'docker' ? MEDIA_TYPES.dockerIndex : MEDIA_TYPES.ociIndex
  return content(mediaType, { schemaVersion: 2, mediaType, manifests })
}

function content(mediaType: string, document: object): Content {
  const bytes = Buffer.from(JSON.stringify(document))
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes }
}

function platformObject(platform: string): { os: string; architecture: string } {
  const [os = 'linux', architecture = 'amd64'] = platform.split('/')
  return { os, architecture }
}

function hostPlatform(): string {
  return `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`
}

function tagOf(name: string): string {
  const colon = name.lastIndexOf(':')
  return colon > name.lastIndexOf('/') ? name.slice(colon + 1) : 'latest'
}
