import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { formatHostPort } from '../../src/overlay/host-port.ts'
import { parseServeFlags, runDaemon } from '../support/daemon.ts'
import { freePort } from '../support/free-port.ts'

const LISTENERS = ['mirror', 'peer', 'router', 'admin', 'metrics'] as const

describe('the addresses of a listener', () => {
  for (const [listed, kept] of [
    [['[::]:80', '10.0.0.7:80', '[fd00::7]:80', '0.0.0.0:80'], ['[::]:80']],
    [['10.0.0.7:80', '[0:0::0]:80'], ['[0:0::0]:80']],
    [
      ['0.0.0.0:80', '10.0.0.7:80', '[fd00::7]:80'],
      ['0.0.0.0:80', '[fd00::7]:80'],
    ],
    [
      ['[::]:80', '10.0.0.7:81', 'mirror.example:80'],
      ['[::]:80', '10.0.0.7:81', 'mirror.example:80'],
    ],
    [
      ['[::]:0', '127.0.0.1:0'],
      ['[::]:0', '127.0.0.1:0'],
    ],
  ] as const) {
    it(`${listed.join(' and ')} are ${kept.join(' and ')}`, () => {
      const flags = LISTENERS.flatMap((name) => listed.flatMap((address) => [`--${name}-addr`, address]))
      const { mirrorAddr, peerAddr, routerAddr, adminAddr, metricsAddr } = parseServeFlags(flags)
      for (const addresses of [mirrorAddr, peerAddr, routerAddr, adminAddr, metricsAddr])
        assert.deepEqual(addresses.map(formatHostPort), kept)
    })
  }

  it('may name an advertised address beside the wildcard', async () => {
    const [peer, router] = [await freePort(), await freePort()]
    const daemon = await runDaemon([
      ...['--advertise-addr', '127.0.0.1'],
      ...['--peer-addr', `[::]:${peer}`, '--peer-addr', `advertise:${peer}`],
      ...['--router-addr', `[::]:${router}`, '--router-addr', `advertise:${router}`],
    ])
    try {
      // It answers, whatever it says to a stranger.
      await (await fetch(`http://127.0.0.1:${peer}/v2/`)).arrayBuffer()
    } finally {
      await daemon.stop()
    }
  })
})
