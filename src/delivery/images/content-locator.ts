import type { NodeCaller } from '../../contracts/node-caller.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Peer } from '../../overlay/overlay.ts'
import { type AnsweredAbout, askAboutAll } from '../../peers/ask-about.ts'
import { keyOfDigest } from '../../providers/index-key.ts'
import type { Survey } from '../../providers/remote-lookup.ts'
import type { ContentStore } from '../../store/content-store.ts'
import { second } from '../../time/units.ts'
import type { Transfers } from '../blobs/transfers.ts'

export interface ContentLocatorOptions {
  readonly self: Peer
  readonly store: Pick<ContentStore, 'open'>
  readonly index: { survey(key: ReturnType<typeof keyOfDigest>, options: { signal: AbortSignal }): Promise<Survey> }
  readonly nodes: NodeCaller
  readonly transfers: Pick<Transfers, 'list'>
  readonly overlay: { peers(): readonly Peer[] }
}

/** Where each of some contents is. */
export interface LocatedContents {
  readonly contents: readonly FoundContent[]
  /** Of all contents, in bytes, as far as their sizes are known. */
  readonly bytes: number
  /** Nodes that did not answer which blobs they fetch: of an older version, unreachable, or beyond the cap. */
  readonly silent: number
}

export interface FoundContent {
  readonly kind: 'index' | 'manifest' | 'config' | 'layer' | 'blob'
  readonly digest: Digest
  /** In bytes. */
  readonly size?: number
  readonly mediaType?: string
  /** Whether this node holds it; undefined if its store cannot be read. */
  readonly here?: boolean
  /** Other nodes that hold it, as far as they have said so. */
  readonly holders: readonly Peer[]
  /** False if a node that could know another holder did not answer. */
  readonly complete: boolean
  readonly arriving: readonly Arriving[]
}

/** A node that is just getting it. */
export interface Arriving {
  readonly address: string
  /** This node. */
  readonly self: boolean
  readonly position: number
  readonly size?: number
  readonly from?: string
}

/** What a manifest says of a content. */
export type NamedContent = Pick<FoundContent, 'kind' | 'digest' | 'size' | 'mediaType'>

const ABOUT_TIMEOUT = 2 * second
const MAX_NODES_ASKED = 200
/** No image has more; a manifest with more is made to keep other nodes busy. */
const MAX_CONTENTS = 256
const MAX_TRANSFERS = 256

/** Finds out which nodes hold contents, and which are just getting them. */
export class ContentLocator {
  readonly #options: ContentLocatorOptions

  constructor(options: ContentLocatorOptions) {
    this.#options = options
  }

  /** Rejects with the signal only. */
  async locate(named: readonly NamedContent[], signal: AbortSignal): Promise<LocatedContents> {
    const distinct = [...new Map(named.map((one) => [one.digest, one])).values()].slice(0, MAX_CONTENTS)
    const digests = distinct.map(({ digest }) => digest)
    const [abouts, ...contents] = await Promise.all([
      this.#askAll(digests, signal),
      ...distinct.map((one) => this.#locateOne(one, signal)),
    ])
    const own = this.#options.transfers.list(MAX_TRANSFERS, digests)
    const arrivingOf = (digest: Digest): Arriving[] => [
      ...own
        .filter((view) => view.digest === digest)
        .map(({ size, position, source }) => ({
          address: this.#options.self.address,
          self: true,
          position,
          ...(size === undefined ? {} : { size }),
          ...(source === undefined ? {} : { from: source.name }),
        })),
      ...abouts.answers.flatMap(([address, about]) =>
        about.transfers
          .filter((transfer) => transfer.digest === digest)
          .map(({ position, size, from }) => ({
            address,
            self: false,
            position,
            ...(size === undefined ? {} : { size }),
            ...(from === undefined ? {} : { from }),
          })),
      ),
    ]
    return {
      contents: contents.map((content) => ({ ...content, arriving: arrivingOf(content.digest) })),
      bytes: contents.reduce((sum, { size }) => sum + (size ?? 0), 0),
      silent: abouts.silent,
    }
  }

  async #locateOne(named: NamedContent, signal: AbortSignal): Promise<Omit<FoundContent, 'arriving'>> {
    const { store, index } = this.#options
    const opening = store.open(named.digest, { signal }).then(
      async (blob) => {
        await blob?.close()
        return { here: blob !== undefined, ...(blob === undefined ? {} : { size: blob.size }) }
      },
      () => ({}),
    )
    const [own, survey] = await Promise.all([opening, index.survey(keyOfDigest(named.digest), { signal })])
    signal.throwIfAborted()
    return { ...own, ...named, holders: survey.holders, complete: survey.isComplete }
  }

  async #askAll(
    digests: readonly Digest[],
    signal: AbortSignal,
  ): Promise<{ answers: (readonly [string, AnsweredAbout])[]; silent: number }> {
    const peers = this.#options.overlay.peers()
    const asked = peers.slice(0, MAX_NODES_ASKED)
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ABOUT_TIMEOUT)])
    const said = await askAboutAll(this.#options.nodes, asked, digests, { signal: limit })
    const answers = asked.flatMap(({ id, address }) => {
      const about = said.get(id)
      return about === undefined || about instanceof Error ? [] : [[address, about] as const]
    })
    return { answers, silent: peers.length - answers.length }
  }
}
