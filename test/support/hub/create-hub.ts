import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

import type { AccessParts } from './access.ts'
import { Catalog, libraryName } from './catalog.ts'
import { Links, answerCdn, signedPath } from './cdn.ts'
import { FaultState, type OriginFault, playFault } from './faults.ts'
import type { Hub, HubOptions, HubUser } from './hub.ts'
import { type HubRequest, Ledger } from './ledger.ts'
import { Origin, type OriginHandler } from './origin.ts'
import { Pacer } from './pacer.ts'
import { Quota, clientOf } from './quota.ts'
import { answerRegistry } from './registry.ts'
import { Tokens } from './tokens.ts'

type OriginName = HubRequest['origin']

/** Starts a hub in this process. */
export async function createHub(options: HubOptions = {}): Promise<Hub> {
  const catalog = new Catalog()
  const faults = new FaultState()
  const ledger = new Ledger()
  const quota = new Quota(options)
  const pacer = options.bytesPerSecond === undefined ? undefined : new Pacer(options.bytesPerSecond)
  const key = randomBytes(32)
  const links = new Links()
  const blobParts = { faults, ledger, pacer }
  const listed = (options.users ?? []).map((user) => ({ ...user, mayPull: (user.mayPull ?? []).map(libraryName) }))
  const hidden = (options.privateRepositories ?? []).map(libraryName)
  const mayPull = (user: HubUser | undefined, name: string) =>
    catalog.has(name) && (!hidden.includes(name) || user?.mayPull?.includes(name) === true)
  const { tokenSeconds = 300, oauth = true } = options
  const tokens = new Tokens({ users: listed, mayPull, tokenSeconds, oauth }, ledger)

  const users = new WeakMap<IncomingMessage, string>()
  const watched = (name: OriginName, answer: OriginHandler): OriginHandler => {
    return async (req, res) => {
      res.once('close', () => ledger.record(describe(name, req, res, users.get(req))))
      res.setHeader('date', new Date(Date.now() + faults.now.dateOffsetMs).toUTCString())
      if (options.latencyMs !== undefined) await sleep(options.latencyMs)
      res.fault = faults.takeFault(name, req)
      if (!(await playFault(req, res))) await answer(req, res)
    }
  }
  const cdn = new Origin(
    options.cdn ?? {},
    watched('cdn', (req, res) => answerCdn({ ...blobParts, catalog, links, key }, req, res)),
    options.tls,
  )
  const auth = new Origin(
    options.auth ?? {},
    watched('auth', (req, res) => tokens.answer(req, res)),
    options.tls,
  )
  const access: AccessParts = {
    ledger,
    users: listed,
    mayPull,
    realm: () => options.realm ?? `${auth.url}/token`,
    by: options.basic === true ? 'basic' : options.tokens === false ? 'nothing' : tokens,
    refusal: options.refusal ?? 401,
  }
  const cdnUrl = (digest: string) => `${cdn.url}${signedPath(key, digest, faults.takeExpiredSignature())}`
  const signedUrl = options.directBlobs === true ? undefined : cdnUrl
  const onUser = (req: IncomingMessage, user: string | undefined) => {
    if (user !== undefined) users.set(req, user)
  }
  const registry = new Origin(
    options.registry ?? {},
    watched('registry', (req, res) =>
      answerRegistry({ ...blobParts, catalog, quota, access, signedUrl, onUser }, req, res),
    ),
    options.tls,
  )

  const origins: Record<OriginName, Origin> = { cdn, auth, registry }
  const applyDown = async () => {
    for (const name of ['cdn', 'auth', 'registry'] as const) {
      await (faults.now[name].down === true ? origins[name].close() : origins[name].listen())
    }
  }
  const close = async () => {
    for (const origin of Object.values(origins)) await origin.close()
  }
  await applyDown()
  return {
    registryUrl: registry.url,
    authUrl: auth.url,
    cdnUrl: cdn.url,
    publish: async (repository, tag, image) => catalog.publish(repository, tag, image),
    retag: async (repository, tag, digest) => catalog.retag(repository, tag, digest),
    remove: async (repository) => catalog.remove(repository),
    setFaults: async (change) => {
      faults.set(change)
      await applyDown()
    },
    revokeTokens: async () => tokens.revokeAll(),
    issuedTokens: async () => tokens.issued(),
    counters: async () => ledger.counters(),
    requests: async () => ledger.requests(),
    transfers: async () => ledger.transfers(),
    reset: async () => {
      faults.clear()
      ledger.reset()
      quota.reset()
      await applyDown()
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** What faults of all three origins at once look like: `setFaults(everywhere({ down: true }))`. */
export function everywhere(fault: OriginFault): Record<OriginName, OriginFault> {
  return { registry: fault, auth: fault, cdn: fault }
}

function describe(origin: OriginName, req: IncomingMessage, res: ServerResponse, user: string | undefined): HubRequest {
  return {
    origin,
    method: req.method ?? '',
    path: req.url ?? '',
    status: res.headersSent ? res.statusCode : 0,
    range: req.headers.range,
    accept: req.headers.accept,
    userAgent: req.headers['user-agent'],
    client: clientOf(req),
    authorization: req.headers.authorization?.split(' ')[0],
    user,
  }
}
