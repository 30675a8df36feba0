import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { afterEach, describe, it } from 'node:test'

import { AddressBinder } from '../../src/daemon/address-binder.ts'
import { probeRouter } from '../../src/overlay/libp2p/router-listener.ts'
import { ListenError } from '../../src/overlay/listen-error.ts'
import { eventually } from '../support/poll.ts'

const ADDRESS = { host: '192.0.2.7', port: 7951 }
const LATE = { ...ADDRESS, mayComeLate: true } as const

const failure = (code: string) => new ListenError(Object.assign(new Error(code), { code }), ADDRESS, '--peer-addr')

/** An attempt that fails with these codes in turn, then succeeds. */
function attemptOf(...codes: string[]) {
  const attempt = async () => {
    attempt.tries += 1
    const code = codes.shift()
    if (code !== undefined) throw failure(code)
  }
  attempt.tries = 0
  return attempt
}

describe('the binding of addresses', () => {
  const lines: { level: string; fields: object; message: string }[] = []
  const note = (level: string) => (fields: object, message: string) => void lines.push({ level, fields, message })
  const log = { info: note('info'), warn: note('warn') }
  const binders: AddressBinder[] = []
  const binderOf = (options: { portWait?: number; signal?: AbortSignal } = {}) => {
    const binder = new AddressBinder({ log, ...options })
    binders.push(binder)
    return binder
  }
  afterEach(async () => {
    lines.length = 0
    await Promise.all(binders.splice(0).map((binder) => binder.stop()))
  })

  it('tries an advertised address that is not there again until it is, and says each once', async () => {
    const binder = binderOf()
    const attempt = attemptOf('EADDRNOTAVAIL', 'EADDRNOTAVAIL')
    assert.equal(await binder.bind('peer', LATE, attempt), false)
    assert.deepEqual(binder.missing, { peer: ['192.0.2.7:7951'], router: [], metrics: [] })
    assert.match(binder.reasons().join(), /^the peer listener waits for 192\.0\.2\.7:7951.*--advertise-addr/)
    await eventually('it is bound', () => binder.missing.peer.length === 0)
    assert.deepEqual([binder.reasons(), binder.warnings(), attempt.tries], [[], [], 3])
    assert.deepEqual(
      lines.map(({ level, fields }) => [level, fields]),
      [
        ['warn', { listener: 'peer', address: '192.0.2.7:7951' }],
        ['info', { listener: 'peer', address: '192.0.2.7:7951' }],
      ],
    )
  })

  it('keeps a node ready that has one of its addresses, and warns of the other', async () => {
    const binder = binderOf()
    const never = () => attemptOf(...Array<string>(99).fill('EADDRNOTAVAIL'))
    for (const listener of ['peer', 'router'] as const) {
      await binder.bind(listener, LATE, never())
      await binder.bind(listener, LATE, attemptOf())
    }
    assert.deepEqual(binder.reasons(), [])
    assert.equal(binder.warnings().length, 2)
    // Prometheus cannot reach such a node, but pulls work.
    const other = binderOf()
    await other.bind('metrics', LATE, never())
    assert.deepEqual([other.reasons().length, other.warnings().length], [0, 1])
  })

  it('fails for what no time heals', async () => {
    await assert.rejects(binderOf().bind('peer', ADDRESS, attemptOf('EADDRNOTAVAIL')), /is no address of this machine/)
    await assert.rejects(binderOf({ portWait: 60_000 }).bind('peer', LATE, attemptOf('EACCES')), /a port above 1023/)
    await assert.rejects(binderOf().bind('peer', LATE, attemptOf('EADDRINUSE')), /is taken by another program/)
  })

  it('waits for a port that becomes free, with one deadline for all, and until it is told to end', async () => {
    const attempt = attemptOf('EADDRINUSE', 'EADDRINUSE')
    assert.equal(await binderOf({ portWait: 60_000 }).bind('peer', ADDRESS, attempt), true)
    assert.equal(attempt.tries, 3)
    assert.equal(lines.length, 1)
    const used = () => Promise.reject(failure('EADDRINUSE'))
    const binder = binderOf({ portWait: 1 })
    await assert.rejects(binder.bind('peer', ADDRESS, used))
    await assert.rejects(binder.bind('router', ADDRESS, attemptOf('EADDRINUSE')))
    const ending = new AbortController()
    const waiting = binderOf({ portWait: 60_000, signal: ending.signal }).bind('peer', ADDRESS, used)
    ending.abort()
    await assert.rejects(waiting, { name: 'AbortError' })
  })

  it('goes on when the address comes while another program has its port, and says so once', async () => {
    const binder = binderOf()
    await binder.bind('router', LATE, attemptOf('EADDRNOTAVAIL', 'EADDRINUSE', 'EADDRINUSE'))
    await eventually('it is bound', () => binder.missing.router.length === 0)
    assert.equal(lines.filter(({ message }) => /cannot listen on an address that came late/.test(message)).length, 1)
  })

  it('says which: that the address is not there, or that it is there and its port is taken', async () => {
    const binder = binderOf()
    await binder.bind('peer', LATE, attemptOf('EADDRNOTAVAIL', ...Array<string>(99).fill('EADDRINUSE')))
    await binder.bind('peer', LATE, attemptOf(...Array<string>(99).fill('EADDRNOTAVAIL')))
    assert.equal(binder.reasons().length, 1)
    await eventually('the address has come', () => binder.reasons().length === 2)
    assert.match(
      binder.reasons()[0] ?? '',
      /^the peer listener waits for 192\.0\.2\.7:7951, which this machine does not/,
    )
    assert.match(
      binder.reasons()[1] ?? '',
      /^the peer listener waits: 192\.0\.2\.7:7951 is taken by another program: .*--peer-addr$/,
    )
    assert.equal(binder.missing.peer.length, 2)
  })

  it('tries nothing after its end', async () => {
    const binder = binderOf()
    const attempt = attemptOf(...Array<string>(9).fill('EADDRNOTAVAIL'))
    await binder.bind('peer', LATE, attempt)
    await binder.stop()
    const { tries } = attempt
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    assert.equal(attempt.tries, tries)
  })
})

describe('the probe of an address for the router', () => {
  it('finds a port that is taken, an address that is not there, and leaves a free port free', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    for (const host of ['127.0.0.1', '0.0.0.0', '::'])
      await assert.rejects(probeRouter({ host, port }), { code: 'EADDRINUSE' }, host)
    await assert.rejects(probeRouter({ host: '192.0.2.77', port }), { code: 'EADDRNOTAVAIL' })
    server.close()
    await once(server, 'close')
    for (const host of ['127.0.0.1', '::']) {
      await probeRouter({ host, port })
      await probeRouter({ host, port })
    }
  })
})
