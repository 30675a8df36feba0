import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'

import { CommanderError } from 'commander'
import * as fc from 'fast-check'

import {
  parseAddress,
  parseDuration,
  parseListenAddress,
  parseRegistrySet,
  parseSize,
  parseUpstream,
} from '../../src/config/parse.ts'
import { parseServeFlags, readServeFlags } from '../support/daemon.ts'

const refusal = (flags: string[]): string => {
  try {
    parseServeFlags(flags)
  } catch (error) {
    assert.ok(error instanceof Error)
    return error.message
  }
  assert.fail(`${flags.join(' ')} was accepted`)
}

describe('the flags of serve', () => {
  afterEach(() => {
    for (const name of Object.keys(process.env)) if (name.startsWith('NABO_')) delete process.env[name]
  })

  it('have the defaults of the design', () => {
    assert.deepEqual(readServeFlags([]), {
      mirrorAddr: [{ host: '127.0.0.1', port: 7950 }],
      mirrorFrom: [],
      peerAddr: [{ host: '127.0.0.1', port: 7951 }],
      routerAddr: [{ host: '127.0.0.1', port: 7952 }],
      insecureWithoutSecret: false,
      adminAddr: [{ host: '127.0.0.1', port: 7953 }],
      metricsAddr: [],
      allowedHost: [],
      advertiseAddr: [],
      bootstrap: { type: 'none' },
      store: 'auto',
      containerdSocket: '/run/containerd/containerd.sock',
      containerdNamespace: [],
      containerdConfig: '/etc/containerd/config.toml',
      configDir: '/etc/containerd/certs.d',
      cacheDir: './.nabo/cache',
      cacheSize: 20 * 1024 ** 3,
      registries: 'all',
      include: [],
      exclude: [],
      fallback: new Set(['docker.io']),
      upstream: new Map(),
      registryCa: new Map(),
      registryClientCert: new Map(),
      tokenRealm: [],
      privateImages: 'verify',
      tagPolicy: 'fresh',
      indexReplicas: 3,
      treeChildren: 3,
      peerMaxTransfers: 32,
      stallTimeout: 3000,
      upstreamTimeout: 20_000,
      maxConnections: 300,
      shutdownGrace: 20_000,
      logLevel: 'info',
    })
  })

  it('listen for other nodes on all addresses with a secret or when that is allowed, else on loopback', () => {
    const hostsOf = (...flags: string[]) => {
      const { peerAddr, routerAddr } = parseServeFlags(flags)
      return [...peerAddr, ...routerAddr].map(({ host, port }) => `${host} ${port}`)
    }
    const open = [':: 7951', ':: 7952']
    const closed = ['127.0.0.1 7951', '127.0.0.1 7952']
    assert.deepEqual(hostsOf(), closed)
    assert.deepEqual(hostsOf('--cluster-secret-file', 'secret'), open)
    assert.deepEqual(hostsOf('--insecure-without-secret'), open)
    assert.deepEqual(hostsOf('--insecure-without-secret', 'true'), open)
    assert.deepEqual(hostsOf('--insecure-without-secret', 'false'), closed)
    assert.deepEqual(hostsOf('--insecure-without-secret', '--peer-addr', '127.0.0.1:1'), ['127.0.0.1 1', ':: 7952'])
    for (const [value, expected] of [
      ['true', open],
      ['false', closed],
      ['', closed],
    ] as const) {
      process.env['NABO_INSECURE_WITHOUT_SECRET'] = value
      assert.deepEqual(hostsOf(), expected, value)
    }
  })

  it('take the addresses of a dual-stack node as Kubernetes writes them', () => {
    process.env['NABO_ADVERTISE_ADDR'] = '10.0.0.7,fd00::7'
    assert.deepEqual(parseServeFlags([]).advertiseAddr, ['10.0.0.7', 'fd00::7'])
  })

  it('may come from the environment, and flags win', () => {
    process.env['NABO_STORE'] = 'directory'
    process.env['NABO_CACHE_SIZE'] = '1MB'
    process.env['NABO_PEER_ADDR'] = '10.0.0.1 [fd00::1]:99'
    process.env['NABO_UPSTREAM'] = 'docker.io=http://127.0.0.1:5000 ghcr.io=https://ghcr.io'
    process.env['NABO_MIRROR_ADDR'] = '127.0.0.1:1'
    const config = parseServeFlags(['--mirror-addr', '127.0.0.1:2', '--cache-size', '2MB'])
    assert.equal(config.store, 'directory')
    assert.equal(config.cacheSize, 2_000_000)
    assert.deepEqual(config.peerAddr, [
      { host: '10.0.0.1', port: 7951 },
      { host: 'fd00::1', port: 99 },
    ])
    assert.deepEqual([...config.upstream.keys()], ['docker.io', 'ghcr.io'])
    assert.deepEqual(config.mirrorAddr, [{ host: '127.0.0.1', port: 2 }])
  })

  it('that are empty in the environment are as good as absent', () => {
    const unset = parseServeFlags([])
    for (const name of [
      'PEER_ADDR',
      'METRICS_ADDR',
      'DATA_DIR',
      'CLUSTER_SECRET_FILE',
      'CACHE_SIZE',
      'STORE',
      'UPSTREAM',
      'PEER_TLS',
    ]) {
      process.env[`NABO_${name}`] = ''
    }
    assert.deepEqual(parseServeFlags([]), unset)
  })

  it('may be repeated where that makes sense', () => {
    const config = parseServeFlags([
      ...['--mirror-addr', '127.0.0.1:1', '--mirror-addr', '[::1]:2'],
      ...['--containerd-namespace', 'k8s.io', '--containerd-namespace', 'moby'],
      ...[
        '--upstream',
        'docker.io=https://a.example,http://b.example:5000/prefix',
        '--upstream',
        'GHCR.io=https://c.example',
      ],
      ...['--registry-client-cert', 'a.example=/both.pem', '--registry-client-cert', 'b.example=/c.pem,/k.pem'],
      ...['--registry-ca', 'r.example:5000=/ca.pem', '--advertise-addr', '10.0.0.7', '--advertise-addr', 'fd00::7'],
    ])
    assert.equal(config.mirrorAddr.length, 2)
    assert.deepEqual(config.containerdNamespace, ['k8s.io', 'moby'])
    assert.deepEqual(
      [...config.upstream].map(([registry, urls]) => [registry, urls.map(String)]),
      [
        ['docker.io', ['https://a.example/', 'http://b.example:5000/prefix']],
        ['ghcr.io', ['https://c.example/']],
      ],
    )
    assert.deepEqual([...config.registryCa], [['r.example:5000', '/ca.pem']])
    assert.deepEqual(
      [...config.registryClientCert],
      [
        ['a.example', { cert: '/both.pem', key: '/both.pem' }],
        ['b.example', { cert: '/c.pem', key: '/k.pem' }],
      ],
    )
    assert.deepEqual(config.advertiseAddr, ['10.0.0.7', 'fd00::7'])
  })

  it('limit bandwidth in bytes a second', () => {
    const config = parseServeFlags(['--peer-bandwidth', '10MiB', '--upstream-bandwidth', '1GiB'])
    assert.equal(config.peerBandwidth, 10 * 1024 ** 2)
    assert.equal(config.upstreamBandwidth, 1024 ** 3)
  })

  it('do not remember what was given the last time', () => {
    parseServeFlags(['--peer-addr', '127.0.0.1:1'])
    assert.deepEqual(parseServeFlags([]).peerAddr, [{ host: '127.0.0.1', port: 7951 }])
  })

  it('that are wrong are refused in a sentence which says what is expected', () => {
    for (const [flag, value, sentence] of [
      ['--mirror-addr', '127.0.0.1:99999', /an address such as/],
      ['--mirror-addr', 'a b:c', /an address such as/],
      ['--advertise-addr', 'host', /an IP address is expected/],
      ['--bootstrap', 'static:', /not an IP address/],
      ['--bootstrap', 'magic', /bootstrap must be none/],
      ['--bootstrap-dns', 'name', /must be an IP address/],
      ['--store', 'memory', /Allowed choices are auto, containerd, directory/],
      ['--cache-size', 'much', /a size such as 20GiB/],
      ['--cache-size', '0', /a size such as 20GiB/],
      ['--cache-size', '-1', /a size such as 20GiB/],
      ['--cache-size', '99999999TiB', /a size such as 20GiB/],
      ['--registries', ',', /a list of registries is expected/],
      ['--registries', 'docker.io,all', /'all' cannot be part of a list/],
      ['--include', 'nginx', /needs a registry and a name/],
      ['--exclude', 'docker.io/a,library/b', /write docker\.io\/library\/b/],
      ['--fallback', 'none,docker.io', /'none' cannot be part of a list/],
      ['--fallback', 'docker.io/library', /is not a registry such as/],
      ['--upstream', 'docker.io', /is expected, such as docker\.io=/],
      ['--upstream', 'docker.io=', /is expected, such as docker\.io=/],
      ['--upstream', 'docker.io=ftp://x', /is expected, such as docker\.io=/],
      ['--upstream', 'docker.io=https://u:hunter2@x', /--credentials-file\. .*is expected, such as docker\.io=/],
      ['--upstream', 'docker.io=https://x?y', /a query .* leave it out/],
      ['--upstream', 'docker.io=https://x#y', /a query .* leave it out/],
      ['--upstream', 'docker.io=https://x/v2/../y', /its path has the part/],
      ['--upstream', 'docker.io=https://x,https://x/v2/', /x is named twice/],
      ['--registry-ca', 'docker.io', /<registry>=<file> is expected/],
      ['--registry-ca', 'a b=c', /<registry>=<file> is expected/],
      ['--registry-client-cert', 'docker.io', /<certificate file>\[,<key file>\] is expected/],
      ['--registry-client-cert', 'docker.io=a,b,c', /<certificate file>\[,<key file>\] is expected/],
      ['--token-realm', 'gitlab.example.org', /<registry>=<host>\[:<port>\] is expected, without https/],
      [
        '--token-realm',
        'r.example=https://gitlab.example.org',
        /<registry>=<host>\[:<port>\] is expected, without https/,
      ],
      ['--token-realm', 'r.example=', /<registry>=<host>/],
      ['--token-realm', 'r.example=*.example.org', /<registry>=<host>/],
      ['--token-realm', '_=gitlab.example.org', /is not a registry/],
      ['--private-images', 'yes', /Allowed choices are verify, share, skip/],
      ['--tag-policy', 'stale', /Allowed choices are fresh, peers, own/],
      ['--insecure-without-secret', 'yes', /true or false is expected/],
      ['--index-replicas', '0', /a whole number from 1 to 20/],
      ['--tree-children', '1.5', /a whole number from 1 to 100/],
      ['--peer-max-transfers', 'all', /a whole number/],
      ['--stall-timeout', '3', /a time such as 3s/],
      ['--upstream-timeout', '25h', /a time such as 3s/],
      ['--shutdown-grace', '-1s', /a time such as 3s/],
      ['--log-level', 'loud', /Allowed choices are/],
      ['--peer-bandwidth', 'fast', /a size such as/],
      ['--peer-bandwidth', '10', /bytes a second are expected, such as 10MiB, at least 16KiB/],
      ['--upstream-bandwidth', '0', /a size such as/],
    ] as const) {
      const message = refusal([flag, value])
      assert.match(message, sentence, `${flag} ${value}`)
      assert.match(message, new RegExp(`option '${flag}`))
      assert.ok(!message.includes('\n'), message)
    }
    assert.match(refusal(['--peer-tls']), /does not support it yet/)
    assert.match(refusal(['--no-such-flag']), /unknown option '--no-such-flag'/)
  })
})

describe('the parsers of flags', () => {
  /** What a parser gives, undefined if it refuses; any other error is a defect. */
  const attempt = <T>(parse: (text: string) => T, text: string): T | undefined => {
    try {
      return parse(text)
    } catch (error) {
      assert.ok(error instanceof CommanderError)
      return undefined
    }
  }

  it('take times and sizes in their units', () => {
    for (const [text, ms] of [
      ['250ms', 250],
      ['3s', 3000],
      ['1.5m', 90_000],
      ['24h', 86_400_000],
      [' 1s ', 1000],
    ] as const) {
      assert.equal(parseDuration(text), ms)
    }
    for (const [text, bytes] of [
      ['1', 1],
      ['5B', 5],
      ['2KB', 2000],
      ['1.5 KiB', 1536],
      ['1TB', 1e12],
    ] as const) {
      assert.equal(parseSize(text), bytes)
    }
  })

  it('take the networks of clients, and refuse what is none', () => {
    const { mirrorFrom } = parseServeFlags(['--mirror-from', 'gateway, 10.0.0.7 10.0.0.0/8,fd00::/64'])
    assert.deepEqual(mirrorFrom, [
      'gateway',
      { address: '10.0.0.7', prefix: 32 },
      { address: '10.0.0.0', prefix: 8 },
      { address: 'fd00::', prefix: 64 },
    ])
    for (const text of [
      'node',
      '10.0.0.0/33',
      '10.0.0.0/',
      '10.0.0.0/8/8',
      'fd00::/129',
      'fe80::1%eth0',
      '10.0.0.0/-1',
    ])
      assert.match(refusal(['--mirror-from', text]), /gateway, an IP address, or a network/, text)
  })

  it('listen on every advertised address where they say advertise, each with the port that is said', () => {
    const advertised = ['--advertise-addr', '10.0.0.7,fd00::7']
    const flags = [...advertised, '--peer-addr', 'advertise:7000', '--router-addr', 'advertise']
    const { peerAddr, routerAddr, metricsAddr } = parseServeFlags([...flags, '--metrics-addr', 'advertise'])
    const at = (port: number) => ['10.0.0.7', 'fd00::7'].map((host) => ({ host, port, mayComeLate: true }))
    assert.deepEqual([peerAddr, routerAddr, metricsAddr], [at(7000), at(7952), at(7954)])
  })

  it('listen once on an address that they name twice', () => {
    const repeated = ['--peer-addr', '10.0.0.7:7951', '--peer-addr', 'advertise', '--peer-addr', '127.0.0.1:7951']
    const { peerAddr } = parseServeFlags(['--advertise-addr', '10.0.0.7', '--advertise-addr', '10.0.0.7', ...repeated])
    assert.deepEqual(peerAddr, [
      { host: '10.0.0.7', port: 7951 },
      { host: '127.0.0.1', port: 7951 },
    ])
    const free = parseServeFlags(['--peer-addr', '127.0.0.1:0', '--peer-addr', '127.0.0.1:0'])
    assert.equal(free.peerAddr.length, 2)
  })

  it('refuse advertise with a port that peers cannot be told, and for listeners of this node alone', () => {
    for (const text of ['advertise:0', 'advertise:70000'])
      assert.match(refusal(['--peer-addr', text]), /a port from 1 to 65535 is expected after advertise/)
    const parse = parseListenAddress(7951)
    assert.deepEqual(parse('advertise'), { advertisedPort: 7951 })
    assert.deepEqual(parse('advertise.example:1'), { host: 'advertise.example', port: 1 })
    assert.deepEqual(parseServeFlags(['--mirror-addr', 'advertise:1']).mirrorAddr, [{ host: 'advertise', port: 1 }])
  })

  it('take port 0 for a free one', () => {
    const parse = parseAddress(7950)
    assert.deepEqual(parse('127.0.0.1:0'), { host: '127.0.0.1', port: 0 })
    assert.deepEqual(parse('[::]:0'), { host: '::', port: 0 })
    assert.deepEqual(parse('::0'), { host: '::0', port: 7950 })
  })

  it('give what is well formed or refuse', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom(...'0159.:[]smhKMGiB=,/ae+- '.split('')), maxLength: 20 }),
    )
    fc.assert(
      fc.property(text, (text) => {
        const duration = attempt(parseDuration, text)
        assert.ok(duration === undefined || (Number.isInteger(duration) && duration >= 1 && duration <= 86_400_000))
        const size = attempt(parseSize, text)
        assert.ok(size === undefined || (Number.isSafeInteger(size) && size >= 1))
        const address = attempt(parseAddress(1), text)
        assert.ok(address === undefined || (address.host !== '' && address.port >= 0 && address.port <= 65_535))
        const set = attempt(parseRegistrySet, text)
        assert.ok(set === undefined || typeof set === 'string' || set.size > 0)
        const upstream = attempt(parseUpstream, text)
        assert.ok(upstream === undefined || upstream[1].length > 0)
      }),
      { numRuns: 1000 },
    )
  })
})
