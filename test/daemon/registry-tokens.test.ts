// Registries that ask for tokens in their own way, and the connections to them, through whole daemons.
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { afterEach, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'

import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import type { Finding } from '../../src/doctor/check.ts'
import { examine } from '../support/doctor.ts'
import { makeImage } from '../support/image-maker.ts'
import { NamedRegistries } from '../support/named-registries.ts'
import { eventually } from '../support/poll.ts'
import { OddServer } from '../support/registry-clients.ts'

const REGISTRY = 'registry.example'
const ANN = `Basic ${Buffer.from('ann:secret').toString('base64')}`

describe('a daemon in front of a registry that wants tokens', () => {
  const image = makeImage({ layers: [{ size: 5000, seed: 'tokens' }] })
  let daemons: TestDaemon[] = []
  afterEach(async () => {
    for (const daemon of daemons) await daemon.stop()
    daemons = []
  })

  const run = async (url: string, ...flags: readonly string[]) => {
    const daemon = await runDaemon(['--fallback', 'all', '--upstream', `${REGISTRY}=${url}`, ...flags])
    daemons.push(daemon)
    return daemon
  }
  const get = async ({ mirror }: TestDaemon, path: string, headers: Record<string, string> = {}, method = 'GET') => {
    const accept = { accept: image.root.descriptor.mediaType, ...headers }
    const response = await fetch(`${mirror}/v2/${path}?ns=${REGISTRY}`, { method, headers: accept })
    return { status: response.status, text: await response.text() }
  }
  /** Answers for any name with the one image. */
  const show: OddServer['answer'] = ({ method, url = '' }, response) => {
    const kept = [image.root, ...image.blobs].find(({ descriptor }) => url.includes(descriptor.digest)) ?? image.root
    const { digest, mediaType } = kept.descriptor
    const headers = { 'content-type': mediaType, 'content-length': kept.bytes.length, 'docker-content-digest': digest }
    response.writeHead(200, headers).end(method === 'HEAD' ? undefined : kept.bytes)
  }
  const tokenRequests = ({ seen }: OddServer) => seen.filter((line) => line.includes('/token'))

  it('asks for the scope that its challenge names', async () => {
    const scope = 'repository:remote/org/app:pull'
    await using odd = await OddServer.start((request, response) => {
      const url = new URL(request.url ?? '', odd.url)
      if (url.pathname === '/token') response.end(JSON.stringify({ token: url.searchParams.getAll('scope').join('+') }))
      else if (request.headers.authorization === `Bearer ${scope}`) show(request, response)
      else
        response
          .writeHead(401, {
            'www-authenticate': `Bearer realm="${odd.url}/token",scope="${scope.replace('pull', 'pull,push')}"`,
          })
          .end()
    })
    const { status, text } = await get(await run(odd.url), 'org/app/manifests/1')
    assert.equal(status, 200, text)
    assert.equal(tokenRequests(odd).length, 1)
  })

  it('gets another token when one ends, though the registry does not say where', async () => {
    let valid = 1
    await using odd = await OddServer.start((request, response) => {
      if (request.url?.startsWith('/token') === true) return void response.end(JSON.stringify({ token: `t${valid}` }))
      const { authorization } = request.headers
      if (authorization === `Bearer t${valid}`) return show(request, response)
      const challenge = { 'www-authenticate': `Bearer realm="${odd.url}/token"` }
      response.writeHead(401, authorization === undefined ? challenge : {}).end()
    })
    const daemon = await run(odd.url)
    assert.equal((await get(daemon, 'org/app/manifests/1')).status, 200)
    valid = 2
    const { status, text } = await get(daemon, `org/app/blobs/${image.layers[0]?.descriptor.digest}`)
    assert.equal(status, 200, text)
    assert.equal(tokenRequests(odd).length, 2)
  })

  it('asks once more on a new connection when a kept one ends without an answer', async () => {
    const isUsed = new WeakSet<Socket>()
    let ended = 0
    await using odd = await OddServer.start((request, response) => {
      if (isUsed.has(request.socket)) {
        ended += 1
        return void request.socket.destroy()
      }
      isUsed.add(request.socket)
      show(request, response)
    })
    const daemon = await run(odd.url)
    assert.equal((await get(daemon, `org/app/manifests/${image.root.descriptor.digest}`)).status, 200)
    // The client takes a connection for idle some turns later.
    await pause(20)
    const { status, text } = await get(daemon, 'org/other/manifests/1', {}, 'HEAD')
    assert.equal(status, 200, text)
    assert.equal(ended, 1)
  })

  it('follows a registry to another one that wants a token, and calls the image public by the name that was asked', async () => {
    await using other = await OddServer.start((request, response) => {
      if (request.url?.startsWith('/token') === true) response.end(JSON.stringify({ token: 'for-anybody' }))
      else if (request.headers.authorization === 'Bearer for-anybody') show(request, response)
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="${other.url}/token",service="s"` }).end()
    }, '127.0.0.2')
    await using odd = await OddServer.start((request, response) =>
      response.writeHead(307, { location: `${other.url}${request.url}` }).end(),
    )
    const daemon = await run(odd.url)
    for (const path of ['manifests/1', ...image.blobs.map(({ descriptor }) => `blobs/${descriptor.digest}`)]) {
      const { status, text } = await get(daemon, `org/app/${path}`)
      assert.equal(status, 200, text)
    }
    assert.equal(tokenRequests(other).length, 1)
    const asked = odd.seen.length
    // From the store, to everybody, without another question.
    const kept = await get(daemon, `org/app/blobs/${image.layers[0]?.descriptor.digest}`)
    assert.equal(kept.status, 200)
    assert.equal(odd.seen.length, asked)
  })

  it('calls nothing private where the other registry refuses', async () => {
    await using other = await OddServer.start((request, response) => {
      if (request.url?.startsWith('/token') === true) response.end(JSON.stringify({ token: 'for-anybody' }))
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="${other.url}/token"` }).end()
    }, '127.0.0.2')
    await using odd = await OddServer.start((request, response) =>
      response.writeHead(307, { location: `${other.url}${request.url}` }).end(),
    )
    const daemon = await run(odd.url)
    const authorization = `Basic ${Buffer.from('ann:of-the-first').toString('base64')}`
    for (const headers of [{}, { authorization }]) {
      const { status, text } = await get(daemon, 'org/app/manifests/1', headers)
      assert.equal(status, 404, text)
      assert.match(text, /sends on to 127\.0\.0\.2:\d+, where Nabo sends no credentials/)
    }
    assert.ok(other.seen.every((line) => / (?:-|Bearer for-anybody)$/.test(line)))
  })

  it('sends credentials to a token server in another domain if --token-realm says so, and says so where it does not', async () => {
    await using auth = await OddServer.start((request, response) => {
      const isAnn = request.headers.authorization === ANN
      response.end(JSON.stringify({ token: isAnn ? 'of-ann' : 'of-nobody' }))
    }, '127.0.0.2')
    const challenge = `Bearer realm="${auth.url}/token",service="s",scope="repository:org/app:pull"`
    await using odd = await OddServer.start((request, response) => {
      if (request.headers.authorization === 'Bearer of-ann') show(request, response)
      else response.writeHead(401, { 'www-authenticate': challenge }).end()
    })
    const upstream = ['--fallback', REGISTRY, '--upstream', `${REGISTRY}=${odd.url}`]
    const realm = ['--token-realm', `${REGISTRY}=${new URL(auth.url).host}`]
    const flag = new RegExp(`--token-realm ${REGISTRY}=127\\.0\\.0\\.2:\\d+`)

    const daemon = await run(odd.url)
    for (let count = 0; count < 2; count += 1) {
      const { status, text } = await get(daemon, 'org/app/manifests/1', { authorization: ANN })
      assert.equal(status, 404, text)
      assert.match(text, flag)
    }
    assert.ok(auth.seen.every((line) => line.endsWith(' -')))
    const said = daemon.lines.filter(({ level, msg }) => level === 40 && flag.test(String(msg)))
    assert.equal(said.length, 1)
    const found = (await examine(upstream, { checks: ['upstream'] })).get('upstream')
    assert.equal(found?.level, 'warning')
    assert.match(found.says, /sends for tokens to 127\.0\.0\.2:\d+, which is in another domain/)
    assert.match(found.fix ?? '', flag)

    const { status, text } = await get(await run(odd.url, ...realm), 'org/app/manifests/1', { authorization: ANN })
    assert.equal(status, 200, text)
    assert.ok(auth.seen.some((line) => line.endsWith(ANN)))
    assert.equal((await examine([...upstream, ...realm], { checks: ['upstream'] })).get('upstream')?.level, 'ok')
  })

  it('and that only --registries names, has a token server in another domain: checks, /readyz and doctor say so', async () => {
    await using named = await NamedRegistries.start(['private.test', 'auth.other'])
    const { name: auth } = await named.add('auth.other')
    const challenge = `Bearer realm="https://${auth}/token",service="s"`
    const { name, registry } = await named.add('private.test', { challenge })
    registry.publish('org/app', '1', image)
    registry.allow('org/app', ['ann'])
    const flags = ['--registries', name, ...named.flags]
    const flag = `--token-realm ${name}=${auth}`
    const daemon = await runDaemon(flags)
    daemons.push(daemon)
    const answer = await fetch(`${daemon.mirror}/v2/org/app/manifests/1?ns=${name}`, {
      headers: { authorization: ANN },
    })
    const text = await answer.text()
    assert.equal(answer.status, 404, text)
    assert.ok(text.includes(flag), text)

    const found = await eventually('the daemon names it', async () => {
      const { findings } = (await (await fetch(`${daemon.admin}/api/v1/checks`)).json()) as { findings: Finding[] }
      return findings.find(({ id, level }) => id === 'credentials' && level === 'warning')
    })
    assert.equal(
      found.says,
      `${name} sends for tokens to ${auth}, which is in another domain: no credentials are sent there`,
    )
    assert.ok(found.fix?.includes(flag), JSON.stringify(found))
    const { warnings } = (await (await fetch(`${daemon.admin}/readyz`)).json()) as { warnings: string[] }
    assert.ok(warnings.includes(`credentials: ${found.says}`), warnings.join('; '))

    const seen = await examine([...flags, '--admin-addr', new URL(daemon.admin).host], {
      checks: ['upstream', 'credentials'],
    })
    for (const id of ['upstream', 'credentials']) {
      assert.equal(seen.get(id)?.level, 'warning', id)
      assert.match(seen.get(id)?.says ?? '', /private\.test:\d+ sends for tokens to auth\.other:\d+/)
      assert.ok(seen.get(id)?.fix?.includes(flag), JSON.stringify(seen.get(id)))
    }
    // Docker Hub, which the flags leave out, is not asked.
    assert.doesNotMatch(seen.get('upstream')?.says ?? '', /docker/)
  })
})
