import { type Content, type Image, type LayerRecipe, makeImage } from '../../test/support/image-maker.ts'

/** An image of some size in some layers, and an update of it. */
export interface ImageCase {
  readonly megabytes: number
  readonly layers: 1 | 4
}

/** One version of an image, as the hub has it. */
export interface Version {
  /** Without a registry, `bench/app:1`: what results call it. */
  readonly name: string
  readonly repository: string
  readonly tag: string
  /** Its bytes are left out: the hub makes them itself. */
  readonly image: Image
  /** Config and layers, of this machine's platform. */
  readonly bytes: number
  /** Of these: what who has the version before has already. */
  readonly heldBytes: number
  readonly words: string
}

/** Of the whole. The first two are half of it: they are what an update of four layers shares. */
const PARTS = { 1: [1], 4: [0.4, 0.1, 0.3, 0.2] } as const
const SHARED_LAYERS = { 1: 0, 4: 2 } as const

/** Whether an update shares layers with the version before: who has only one changes all of it. */
export function sharesLayers({ layers }: ImageCase): boolean {
  return SHARED_LAYERS[layers] > 0
}

/** `100x4` is 100 MB in 4 layers. Throws a sentence if it is something else. */
export function parseImageCase(text: string): ImageCase {
  const [, megabytes = '', layers] = /^(\d{1,5})x([14])$/.exec(text) ?? []
  if (Number(megabytes) < 1) throw new Error(`an image is megabytes x 1 or 4 layers, as 100x4, not ${text}`)
  return { megabytes: Number(megabytes), layers: layers === '1' ? 1 : 4 }
}

/** Makes the first version and the update. `number` tells images of the same case apart: they share nothing. */
export function makeVersions({ megabytes, layers }: ImageCase, number = 0): { first: Version; update: Version } {
  const repository = `bench/app-${number}`
  const words = `${megabytes} MB, ${layers} ${layers === 1 ? 'layer' : 'layers'}`
  const recipes = (version: number): LayerRecipe[] =>
    PARTS[layers].map((part, i) => {
      const shared = version === 1 || i < SHARED_LAYERS[layers]
      return { size: part * megabytes * 1e6, seed: `${number} ${layers} ${i} ${shared ? 1 : version}` }
    })
  const make = (version: 1 | 2): Version => {
    // Several platforms, as most images on Docker Hub have: a pull costs two manifests.
    const image = withoutBytes(makeImage({ layers: recipes(version), multiArch: true }))
    const sizes = image.layers.map(({ descriptor }) => descriptor.size)
    const held = version === 1 ? 0 : SHARED_LAYERS[layers]
    return {
      name: `${repository}:${version}`,
      repository,
      tag: String(version),
      image,
      bytes: sum([image.config.descriptor.size, ...sizes]),
      heldBytes: sum(sizes.slice(0, held)),
      words: `${words}, ${version === 1 ? 'first version' : 'update'}`,
    }
  }
  return { first: make(1), update: make(2) }
}

function withoutBytes(image: Image): Image {
  const emptied = ({ descriptor }: Content): Content => ({ descriptor, bytes: new Uint8Array() })
  return {
    ...image,
    root: emptied(image.root),
    index: image.index && emptied(image.index),
    manifest: emptied(image.manifest),
    config: emptied(image.config),
    layers: image.layers.map(emptied),
    manifests: image.manifests.map(emptied),
    blobs: image.blobs.map(emptied),
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
