import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { says, writeHelper } from '../support/credential-helper.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import type { HubFaults } from '../support/hub/faults.ts'
import type { Hub, HubOptions } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { OddServer } from '../support/registry-clients.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const accept = MANIFEST_ACCEPT.join(', ')
/** A later daemon may listen on the same port: a kept connection would be to this one. */
const ONCE = { connection: 'close' }
const base64 = (text: string) => Buffer.from(text).toString('base64')
/** With signs that every encoding writes in another way. */
const newSecret = () => `${randomBytes(9).toString('base64')}/+ü"&=?@: ${randomBytes(6).toString('hex')}`
/** What a header can carry. */
const newToken = () => `${randomBytes(12).toString('hex')}.+/=${randomBytes(6).toString('hex')}`

/** What a daemon has let out: its log, what its listeners answered. */
class Outlet {
  readonly #texts: { readonly from: string; readonly text: string }[] = []

  add(from: string, text: string): void {
    this.#texts.push({ from, text })
  }

  /** Fails if any of the secrets is in it, in any of the forms that such things take. */
  assertNone(secrets: readonly string[]): void {
    assert.ok(this.#texts.length > 20)
    for (const secret of new Set(secrets)) {
      for (const form of formsOf(secret)) {
        const found = this.#texts.find(({ text }) => text.includes(form))
        assert.equal(found, undefined, `${form} is in ${found?.from}: ${found?.text}`)
      }
    }
  }
}

function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const form = new URLSearchParams({ s: secret }).toString().slice(2)
  const quoted = JSON.stringify(secret).slice(1, -1)
  const basics = ['ann', '', '<token>'].map((user) => base64(`${user}:${secret}`))
  return [
    secret,
    quoted,
    JSON.stringify(quoted).slice(1, -1),
    encodeURIComponent(secret),
    encodeURI(secret),
    form,
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    ...basics,
  ]
}

const FAULTS: readonly ((secret: string) => Partial<HubFaults>)[] = [
  (secret) => ({ auth: { status: 500, text: `cannot log in with ${secret}` } }),
  (secret) => ({
    auth: { status: 401, text: JSON.stringify({ details: secret, authorization: base64(`ann:${secret}`) }) },
  }),
  (secret) => ({ auth: { status: 400, text: JSON.stringify({ error: 'invalid_grant', error_description: secret }) } }),
  (secret) => ({ auth: { status: 200, text: `{"token": "${encodeURIComponent(secret)}` } }),
  (secret) => ({ auth: { status: 200, text: JSON.stringify({ token: `${secret}\r\nx: y` }) } }),
  (secret) => ({
    auth: { redirectTo: `http://ann:${encodeURIComponent(secret)}@127.0.0.1:1/?s=${encodeURIComponent(secret)}` },
  }),
  (secret) => ({ registry: { status: 401, text: secret } }),
  (secret) => ({ registry: { status: 403, text: `${secret} may not` } }),
  (secret) => ({ registry: { status: 429, text: secret, setHeaders: { 'retry-after': encodeURIComponent(secret) } } }),
  (secret) => ({ registry: { status: 500, text: secret } }),
  (secret) => ({ registry: { status: 200, text: secret } }),
  (secret) => ({
    registry: { redirectTo: `http://ann:${encodeURIComponent(secret)}@127.0.0.1:1/?s=${encodeURIComponent(secret)}` },
  }),
  (secret) => ({
    registry: {
      status: 401,
      setHeaders: {
        'www-authenticate': `Bearer realm="http://ann:${encodeURIComponent(secret)}@127.0.0.1:1/t",service="x"`,
      },
    },
  }),
  (secret) => ({ cdn: { status: 403, text: secret } }),
  () => ({ expiredSignatures: 10 }),
  () => ({ cut: { afterBytes: 1000 } }),
  () => everywhere({ down: true }),
]

const SOME_FAULTS = FAULTS.filter((_, i) => i === 1 || i === 9)

describe('a secret', () => {
  let directory: string
  let image: Image
  let hidden: Image
  let hubs: Hub[]
  const path = process.env['PATH']
  const password = newSecret()
  const identityToken = newToken()

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-secrets-'))
    process.env['PATH'] = `${directory}:${path}`
    image = makeImage({ layers: [{ size: 20_000, seed: 'secrets' }] })
    hidden = makeImage({ layers: [{ size: 20_000, seed: 'hidden' }] })
    hubs = []
  })
  after(async () => {
    process.env['PATH'] = path
    for (const hub of hubs) await hub.close()
    await rm(directory, { recursive: true, force: true })
  })

  async function startHub(options: HubOptions = {}): Promise<Hub> {
    const hub = await createHub({
      users: [{ name: 'ann', password, identityToken, mayPull: ['org/hidden'] }],
      privateRepositories: ['org/hidden'],
      ...options,
    })
    hubs.push(hub)
    await hub.publish('app', '1', image)
    await hub.publish('org/hidden', '1', hidden)
    return hub
  }

  async function startNabo(hub: Hub, config: object): Promise<TestDaemon & AsyncDisposable> {
    const file = join(directory, 'config.json')
    await writeFile(file, JSON.stringify(config))
    const flags = ['--upstream', `docker.io=${hub.registryUrl}`, '--credentials-file', file, '--upstream-timeout', '2s']
    const nabo = await runDaemon(flags)
    let stopping: Promise<void> | undefined
    const stop = () => (stopping ??= nabo.stop())
    return { ...nabo, stop, [Symbol.asyncDispose]: stop }
  }

  /** Asks for all that there is; returns the statuses. */
  async function askAll(nabo: TestDaemon, outlet: Outlet, authorization?: string): Promise<number[]> {
    const statuses: number[] = []
    for (const repository of ['library/app', 'org/hidden', 'org/none']) {
      const { root, layers } = repository === 'library/app' ? image : hidden
      const layer = layers[0] ?? assert.fail()
      for (const [method, rest] of [
        ['HEAD', 'manifests/1'],
        ['GET', 'manifests/1'],
        ['GET', `manifests/${root.descriptor.digest}`],
        ['GET', `blobs/${layer.descriptor.digest}`],
        ['GET', 'tags/list'],
        ['GET', `referrers/${root.descriptor.digest}`],
      ] as const) {
        const headers = { accept, ...ONCE, ...(authorization === undefined ? {} : { authorization }) }
        try {
          const response = await fetch(`${nabo.mirror}/v2/${repository}/${rest}?ns=docker.io`, { method, headers })
          statuses.push(response.status)
          outlet.add(`the header of ${rest}`, JSON.stringify([...response.headers]))
          outlet.add(`the body of ${rest}`, await response.text())
        } catch (error) {
          // A body that broke off.
          outlet.add(`the error of ${rest}`, String(error))
        }
      }
    }
    for (const page of [
      '/metrics',
      '/',
      '/readyz',
      '/api/v1/status',
      '/api/v1/quota',
      '/api/v1/peers',
      '/api/v1/none',
    ]) {
      outlet.add(page, await (await fetch(`${nabo.admin}${page}`, { headers: ONCE })).text())
    }
    return statuses
  }

  const signaturesOf = async (hub: Hub) =>
    (await hub.requests()).flatMap(({ path: asked }) => /signature=([^&]+)/.exec(asked)?.[1] ?? [])

  interface Trial {
    readonly config: object
    readonly secrets: readonly string[]
    /** Whether the hidden repository is to be had; undefined: it does not matter. */
    readonly isGood?: boolean
    /** What the client sends. */
    readonly authorization?: string
    readonly faults?: typeof FAULTS
  }

  /** Runs daemons through success and failure, and looks for the secrets in all that they say. */
  async function prove(hub: Hub, trial: Trial): Promise<void> {
    const outlet = new Outlet()
    const [secret = ''] = trial.secrets
    const secrets = [...trial.secrets]
    for (const fault of [undefined, ...(trial.faults ?? SOME_FAULTS)]) {
      await hub.reset()
      await using nabo = await startNabo(hub, trial.config)
      if (fault === undefined) {
        const statuses = await askAll(nabo, outlet, trial.authorization)
        const isGood = statuses.slice(6, 12).includes(200)
        assert.equal(isGood, trial.isGood ?? isGood, `${statuses.join(' ')} ${JSON.stringify(nabo.lines.slice(-8))}`)
      } else {
        await fetch(`${nabo.mirror}/v2/library/app/manifests/1?ns=docker.io`, { method: 'HEAD', headers: ONCE })
        await hub.setFaults(fault(secret))
        await askAll(nabo, outlet, trial.authorization)
      }
      secrets.push(...(await signaturesOf(hub)), ...(await hub.issuedTokens()))
      await nabo.stop()
      for (const line of nabo.lines) outlet.add('the log', JSON.stringify(line))
    }
    assert.ok(secrets.length > trial.secrets.length || trial.isGood !== true)
    outlet.assertNone(secrets)
  }

  const login = (secret: string) => ({ auths: { 'https://index.docker.io/v1/': { auth: base64(`ann:${secret}`) } } })

  it('of a password in the file stays inside, whatever happens', async () => {
    const hub = await startHub()
    await prove(hub, { config: login(password), secrets: [password], isGood: true, faults: FAULTS })
  })

  it('of a wrong password', async () => {
    const wrong = newSecret()
    await prove(await startHub(), { config: login(wrong), secrets: [wrong], isGood: false })
    await prove(await startHub({ basic: true }), { config: login(wrong), secrets: [wrong], isGood: false })
  })

  it('of a password that a registry wants with every request', async () => {
    await prove(await startHub({ basic: true }), { config: login(password), secrets: [password], faults: FAULTS })
  })

  it('of an identity token, sent by POST or GET', async () => {
    const config = { auths: { 'docker.io': { auth: base64('ann:'), identitytoken: identityToken } } }
    await prove(await startHub(), { config, secrets: [identityToken], isGood: true, faults: FAULTS })
    await prove(await startHub({ oauth: false }), { config, secrets: [identityToken], isGood: true })
    const wrong = { auths: { 'docker.io': { identitytoken: `${identityToken}x` } } }
    await prove(await startHub(), { config: wrong, secrets: [`${identityToken}x`], isGood: false })
  })

  it('of a registry token', async () => {
    const hub = await startHub()
    const url = `${hub.authUrl}/token?service=registry.docker.io&scope=repository:org/hidden:pull`
    const answer = await fetch(url, { headers: { authorization: `Basic ${base64(`ann:${password}`)}` } })
    const { token } = (await answer.json()) as { token: string }
    await prove(hub, { config: { auths: { 'docker.io': { registrytoken: token } } }, secrets: [token], isGood: true })
  })

  it('of a helper, that works or fails', async () => {
    const hub = await startHub()
    await writeHelper(directory, 'good', says('ann', password))
    await writeHelper(directory, 'token', says('<token>', identityToken))
    await prove(hub, { config: { credsStore: 'good' }, secrets: [password], isGood: true })
    await prove(hub, { config: { credHelpers: { 'docker.io': 'token' } }, secrets: [identityToken], isGood: true })
    for (const [name, script] of [
      ['fails', `printf '%s' '${password}' >&2; printf '%s' '${password}'; exit 1`],
      ['lies', `printf '%s' '{"Username": "ann", "Secret": ${JSON.stringify(password)}'`],
      ['wrong', says('ann', `${password}x`)],
    ] as const) {
      await writeHelper(directory, name, script)
      await prove(hub, { config: { credsStore: name }, secrets: [password], isGood: false, faults: [] })
    }
  })

  it('of a pull', async () => {
    const hub = await startHub()
    const wrong = newSecret()
    for (const secret of [password, wrong]) {
      const authorization = `Basic ${base64(`ann:${secret}`)}`
      await prove(hub, {
        config: {},
        secrets: [secret],
        authorization,
        faults: secret === wrong ? SOME_FAULTS : FAULTS,
      })
    }
    await prove(hub, { config: {}, secrets: [wrong], authorization: `Bearer ${encodeURIComponent(wrong)}` })
    await prove(hub, { config: {}, secrets: [wrong], authorization: `Basic ${encodeURIComponent(wrong)}` })
  })

  it('in a file that breaks while the daemon runs', async () => {
    const hub = await startHub()
    const outlet = new Outlet()
    await using nabo = await startNabo(hub, login(password))
    for (const content of [
      JSON.stringify(login(password)).slice(0, -4),
      JSON.stringify({ auths: { 'docker.io': { auth: base64(password) } } }),
      JSON.stringify({ auths: { 'docker.io': { auth: [password] } } }),
      JSON.stringify({ credsStore: password }),
    ]) {
      await writeFile(join(directory, 'config.json'), content)
      const told = () => nabo.lines.filter(({ level }) => level === 40).length
      const before = told()
      await eventually('it is read', async () => {
        await askAll(nabo, outlet)
        return told() > before
      })
    }
    await nabo.stop()
    for (const line of nabo.lines) outlet.add('the log', JSON.stringify(line))
    outlet.assertNone([password])
  })

  it('of a proxy', async () => {
    const outlet = new Outlet()
    const secret = encodeURIComponent(password)
    await using strict = await OddServer.start((request, response) => {
      response.writeHead(407).end(request.headers['proxy-authorization'])
    })
    const refusal = `HTTP/1.1 407 ${base64(`ann:${password}`)}\r\nx: ${encodeURIComponent(password)}\r\n\r\n${password}`
    strict.onConnect((socket) => socket.end(refusal))
    const before = { ...process.env }
    try {
      for (const proxy of [`http://ann:${secret}@127.0.0.1:1`, `http://ann:${secret}@127.0.0.1:${strict.port}`]) {
        Object.assign(process.env, { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: '' })
        for (const scheme of ['http', 'https']) {
          const nabo = await runDaemon(['--upstream', `docker.io=${scheme}://registry.example`])
          await askAll(nabo, outlet)
          await nabo.stop()
          for (const line of nabo.lines) outlet.add('the log', JSON.stringify(line))
        }
      }
    } finally {
      for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
        if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
      }
    }
    outlet.assertNone([password])
  })

  it('of the cluster, and of the mirror', async () => {
    const outlet = new Outlet()
    const [cluster, token] = [`${newToken()} of all nodes`, newToken()]
    const [clusterFile, tokenFile] = [join(directory, 'cluster'), join(directory, 'token')]
    await writeFile(clusterFile, `${cluster}\n`)
    await writeFile(tokenFile, `${token}\n`)
    const hub = await startHub()
    const files = ['--cluster-secret-file', clusterFile, '--mirror-token-file', tokenFile]
    const nabo = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`, ...files])
    try {
      for (const sent of [token, `${token}x`, '']) {
        const headers = { 'nabo-token': sent, accept, ...ONCE }
        const response = await fetch(`${nabo.mirror}/v2/library/app/manifests/1`, { headers })
        assert.equal(response.status, sent === token ? 200 : 403)
        outlet.add('a manifest', `${JSON.stringify([...response.headers])} ${await response.text()}`)
        const stranger = await fetch(`${nabo.peer}/v2/library/app/manifests/1`, { headers: { authorization: cluster } })
        assert.ok(stranger.status >= 400)
        outlet.add('the peer listener', `${JSON.stringify([...stranger.headers])} ${await stranger.text()}`)
        await askAll(nabo, outlet)
      }
    } finally {
      await nabo.stop()
    }
    for (const line of nabo.lines) outlet.add('the log', JSON.stringify(line))
    outlet.assertNone([cluster, token])
  })

  it('that makes a start fail', async () => {
    const file = join(directory, 'short.json')
    await writeFile(file, JSON.stringify(login(password)).slice(0, -4))
    const secret = encodeURIComponent(password)
    for (const [flags, sentence] of [
      [['--credentials-file', file], /is not a Docker config\.json/],
      [['--upstream', `docker.io=http://ann:${secret}@127.0.0.1:1`], /<registry>=<http or https URL>/],
      [['--upstream', `docker.io=ann:${secret}@127.0.0.1:1`], /<registry>=<http or https URL>/],
      [['--upstream', `docker.io=http://ann:${password}@127.0.0.1:1`], /<registry>=<http or https URL>/],
    ] as const) {
      const asked = ['serve', '--mirror-addr', '127.0.0.1:0', ...flags]
      const byFlag = spawnSync(process.execPath, [main, ...asked], { encoding: 'utf8' })
      const env = { ...process.env, NABO_UPSTREAM: flags[1] }
      const byEnvironment = spawnSync(process.execPath, [main, ...asked.slice(0, 3)], { encoding: 'utf8', env })
      for (const { status, stdout, stderr } of flags[0] === '--upstream' ? [byFlag, byEnvironment] : [byFlag]) {
        assert.notEqual(status, 0)
        assert.match(stderr, sentence)
        for (const form of [...formsOf(password), ...formsOf(secret)])
          assert.ok(!`${stdout}${stderr}`.includes(form), stderr)
      }
    }
  })
})
