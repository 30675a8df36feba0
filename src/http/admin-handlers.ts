import { QueueFullError, Semaphore } from '../async/semaphore.ts'
import type { AdminHandlers } from '../contracts/admin-api.ts'
import type { AdminHandler } from '../contracts/admin-contract.ts'
import type { FindAnswer, find } from '../contracts/admin/find.ts'
import type { QuotaAnswer } from '../contracts/admin/quota.ts'
import type { PeerAnswer } from '../contracts/admin/peers.ts'
import type { RefusedNodeAnswer } from '../contracts/admin/refused-node.ts'
import type { ChecksAnswer } from '../contracts/admin/checks.ts'
import type { SettingsAnswer } from '../contracts/admin/settings.ts'
import type { StatusAnswer } from '../contracts/admin/status.ts'
import type { NamedContent } from '../delivery/access/audience.ts'
import type { FindRequest, FoundImage } from '../delivery/images/image-finder.ts'
import { OciError } from '../oci/errors.ts'
import type { IsMirror, Repository } from '../oci/reference.ts'
import type { Peer } from '../overlay/overlay.ts'
import { second } from '../time/units.ts'
import { parseFindQuery } from './find-query.ts'

/** Whether this node can serve. `reasons` are sentences for its operator, empty if it is ready. */
export interface Readiness {
  readonly ready: boolean
  readonly reasons: readonly string[]
  /** Sentences about what is wrong with a node that can serve all the same. */
  readonly warnings: readonly string[]
}

type Finding = ChecksAnswer['findings'][number]

export interface AdminParts {
  /** `ignoreStopping`: that the node is stopping does not make it unready. */
  readiness(options?: { ignoreStopping: boolean }): Readiness
  metrics(): Promise<{ contentType: string; text: string }>
  /** `isOperator`: transfers of private repositories are listed too. */
  status(options: { isOperator: boolean }): StatusAnswer
  readonly settings: SettingsAnswer
  /** The quotas that count for this node. */
  quotas(): Promise<readonly QuotaAnswer[]>
  peers(): readonly Peer[]
  /** Asks each peer about itself. */
  members(options: { isOperator: boolean }): Promise<readonly PeerAnswer[]>
  /** Nodes that could not join in the last minutes. */
  refusedNodes(): readonly RefusedNodeAnswer[]
  /** Whether a registry name addresses the mirror itself. */
  readonly isMirror: IsMirror
  find(request: FindRequest, signal: AbortSignal): Promise<FoundImage>
  /** Whether the operator has named a registry, so that its answers prove something. */
  isNamedRegistry(registry: string): boolean
  /** Whether the registry shows content of a repository to everybody. */
  isPublic(repository: Repository, content: NamedContent, options: { signal: AbortSignal }): Promise<boolean>
  readonly warm: AdminHandlers['warm']
  /** The findings of checks that are at most ten seconds old. */
  checks(): Promise<ChecksAnswer>
  /** The warnings and errors of the last checks, the worst first. */
  lastProblems(): readonly Finding[]
}

const FIND_TIMEOUT = 25 * second
/** Each asks the registry about every content of its image. */
const MAX_PUBLIC_FINDS = 4
const MAX_WAITING_FINDS = 32

/** Connects each call of the admin API with the part of the daemon that answers it. */
export function adminHandlers(parts: AdminParts): AdminHandlers {
  // Clients that ask at the same time share one answer: each asks every node of the cluster.
  const asking = new Map<boolean, Promise<readonly PeerAnswer[]>>()
  const members = (isOperator: boolean) => {
    const answer = asking.get(isOperator) ?? parts.members({ isOperator }).finally(() => asking.delete(isOperator))
    asking.set(isOperator, answer)
    return answer
  }
  return {
    livez: () => ({ alive: true }),
    readyz: ({ query }) => {
      const { ready, reasons, warnings } = parts.readiness({ ignoreStopping: query.stopping === 'ok' })
      // A warning does not make a node unready: the cluster would only lose a node that works.
      return { ready, reasons, warnings: [...warnings, ...parts.lastProblems().map(sentence)] }
    },
    metrics: () => parts.metrics(),
    page: ({ isOperator }) => ({ contentType: 'text/plain; charset=utf-8', text: page(parts, isOperator) }),
    status: ({ isOperator }) => parts.status({ isOperator }),
    settings: () => parts.settings,
    quotas: async () => ({ quotas: await parts.quotas() }),
    peers: async ({ isOperator }) => ({ peers: await members(isOperator), refusedNodes: parts.refusedNodes() }),
    checks: () => parts.checks(),
    find: answerFind(parts),
    warm: parts.warm,
    openapi: async () => (await import('../contracts/openapi.ts')).openApiDocument(),
  }
}

function answerFind(parts: AdminParts): AdminHandler<typeof find> {
  const publicFinds = new Semaphore(MAX_PUBLIC_FINDS, { maxWaiting: MAX_WAITING_FINDS })
  return async ({ query, isOperator, signal: client }) => {
    const request = parseFindQuery(query, parts.isMirror)
    const signal = AbortSignal.any([client, AbortSignal.timeout(FIND_TIMEOUT)])
    try {
      if (isOperator) return await parts.find(request, signal)
      return await publicFinds.run(() => findPublic(parts, request, signal), { signal })
    } catch (cause) {
      if (cause instanceof QueueFullError)
        throw new OciError('UNAVAILABLE', { message: 'too many images are being looked for', cause })
      if (client.aborted || !signal.aborted) throw cause
      throw new OciError('UNAVAILABLE', { message: `nothing was found within ${FIND_TIMEOUT / second} seconds`, cause })
    }
  }
}

const SOCKET_ONLY = 'only the Unix socket of this node answers that (--admin-socket)'

/**
 * The contents that the registry shows to everybody. Any program of this machine can send such a request, so it may not spend a quota, nor
 * look for content by its digest alone. A registry that the operator has not named proves nothing: anybody can run one that shows a digest.
 * The refusal is the same whether a private image exists.
 */
async function findPublic(parts: AdminParts, request: FindRequest, signal: AbortSignal): Promise<FindAnswer> {
  const { image, upstream } = request
  if (upstream) throw new OciError('DENIED', { message: `upstream=true spends a quota; ${SOCKET_ONLY}` })
  if (typeof image === 'string')
    throw new OciError('DENIED', { message: `the digest may belong to a private image; ${SOCKET_ONLY}` })
  const refusal = new OciError('DENIED', {
    message: `the image is private or does not exist, or its registry cannot be asked; ${SOCKET_ONLY}`,
  })
  if (!parts.isNamedRegistry(image.registry)) throw refusal
  const isShown = (content: NamedContent) => parts.isPublic(image, content, { signal })
  try {
    return await parts.find({ ...request, isShown }, signal)
  } catch (error) {
    signal.throwIfAborted()
    throw error instanceof OciError ? refusal : error
  }
}

function sentence({ title, says }: Finding): string {
  return `${title}: ${says}`
}

function page(parts: AdminParts, isOperator: boolean): string {
  const { ready, reasons, warnings } = parts.readiness()
  const peers = parts.peers()
  return [
    `Nabo is ${ready ? 'ready' : `not ready: ${reasons.join('; ')}`}.`,
    ...warnings.flatMap((warning) => ['', `warning: ${warning}`]),
    ...parts
      .lastProblems()
      .flatMap((finding) => [
        '',
        `${finding.level}: ${sentence(finding)}`,
        ...(finding.fix === undefined ? [] : [`  fix: ${finding.fix}`]),
      ]),
    '',
    JSON.stringify(parts.status({ isOperator }), undefined, 2),
    '',
    peers.length === 0
      ? 'No other node is known.'
      : `Other nodes:\n${peers.map((peer) => `  ${peer.address}  ${peer.id}`).join('\n')}`,
    '',
    'The API is described at /api/v1/openapi.json.',
    '',
  ].join('\n')
}
