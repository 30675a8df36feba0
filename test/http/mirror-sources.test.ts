import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { defaultGateways } from '../../src/daemon/default-gateways.ts'
import { MirrorSources } from '../../src/http/mirror-sources.ts'

const log = { warn: () => {} }

describe('the addresses that the mirror accepts', () => {
  it('are those of its networks, loopback, and its own, in any spelling', () => {
    const networks = [
      { address: '10.244.1.1', prefix: 32 },
      { address: '10.1.0.0', prefix: 16 },
      { address: 'fd00::', prefix: 64 },
    ]
    const sources = new MirrorSources(networks, log)
    const accepts = (remoteAddress: string | undefined, localAddress = '::ffff:10.244.1.7') =>
      sources.accepts({ remoteAddress, localAddress })
    for (const address of ['10.244.1.1', '::ffff:10.244.1.1', '10.1.2.3', 'fd00::7', 'fd00::7%eth0'])
      assert.ok(accepts(address), address)
    for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1', '10.244.1.7']) assert.ok(accepts(address), address)
    for (const address of ['10.244.1.8', '10.244.1.10', '10.2.0.1', 'fd00:0:0:1::7', 'fe80::1%eth0', '', undefined])
      assert.ok(!accepts(address), address ?? 'none')
  })

  it('are all without a list, and only its own with an empty one', () => {
    const from = { remoteAddress: '192.0.2.1', localAddress: '10.0.0.1' }
    assert.ok(new MirrorSources(undefined, log).accepts(from))
    assert.ok(!new MirrorSources([], log).accepts(from))
  })
})

describe('the default gateways', () => {
  it('are read from the tables of routes', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-routes-'))
    try {
      const paths = { ipv4: join(directory, 'route'), ipv6: join(directory, 'ipv6_route') }
      assert.deepEqual(await defaultGateways(paths), [])
      await writeFile(
        paths.ipv4,
        `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0001F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t0000F40A\t0201F40A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0
eth1\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
`,
      )
      const [zeros, link] = ['0'.repeat(32), 'fe80'.padEnd(31, '0') + '1']
      await writeFile(
        paths.ipv6,
        `${zeros} 00 ${zeros} 00 ${link} 00000400 00000001 00000000 00000003     eth0
${zeros} 00 ${zeros} 00 ${zeros} ffffffff 00000001 00000000 00200200       lo
${link} 80 ${zeros} 00 ${link} 00000000 00000002 00000000 80200001     eth0
`,
      )
      assert.deepEqual(await defaultGateways(paths), ['10.244.1.1', 'fe80::1'])
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
