import type { Kind, PortName, Surroundings } from './malformed-request.ts'
import { intBelow, malformedMessage, PEER_PATHS, pick, type Random, randomBytes } from './messages.ts'
import { clientHello, noise } from './raw-bytes.ts'

export const HTTP_KINDS: Readonly<Record<string, Kind>> = {
  method: (random, port, around) => {
    const odd = ['BREW', 'get', 'G E T', '', 'GET\t', 'M-SEARCH', 'PRI', 'A'.repeat(intBelow(random, 9_000)), '\0GET']
    const known = ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'PURGE', 'QUERY']
    const method = pick(random, [...odd, ...known])
    return { bytes: request(around, port, method, goodPath(random, port, around)) }
  },
  'percent encoding': (random, port, around) => {
    const piece = () =>
      pick(random, ['%', '%z', '%zz', '%ff', '%00', '%c0%ae', '%252e', '%2f', '%ed%a0%80', '%0d%0aX:%20y'])
    return {
      bytes: get(around, port, `/v2/${Array.from({ length: 1 + intBelow(random, 6) }, piece).join('/')}/manifests/1`),
    }
  },
  traversal: (random, port, around) => {
    const up = pick(random, ['../', '..%2f', '%2e%2e/', '..;/', '....//', '..\\', '/./'])
    const path = pick(random, ['/v2/', '/', '/api/v1/', '/nabo/v1/', around.blobPath])
    return { bytes: get(around, port, `${path}${up.repeat(1 + intBelow(random, 8))}etc/passwd`) }
  },
  'control bytes': (random, port, around) => {
    const raw = Array.from({ length: 1 + intBelow(random, 4) }, () =>
      String.fromCharCode(pick(random, [0, 1, 9, 11, 13, 127, 128, 255])),
    )
    return { bytes: get(around, port, `/v2/app${raw.join('x')}/manifests/1`) }
  },
  'long path': (random, port, around) => {
    const length = pick(random, [8_000, 15_000, 30_000, 33_000, 100_000])
    return {
      bytes: get(
        around,
        port,
        `/v2/${pick(random, ['a', 'a/', '%61', '?a=b&'])}`.padEnd(length, pick(random, ['a', 'a/', '%', '&='])),
      ),
    }
  },
  'large headers': (random, port, around) => {
    const headers = pick(random, [
      [`X: ${'a'.repeat(30_000 + intBelow(random, 40_000))}`],
      Array.from({ length: 100 + intBelow(random, 3_000) }, (_, i) => `x-${i}: y`),
      Array.from({ length: 100 + intBelow(random, 1_000) }, () => 'Range: bytes=0-1'),
      [`${'n'.repeat(intBelow(random, 20_000))}: x`],
      [`Cookie: ${'a=b; '.repeat(intBelow(random, 5_000))}`],
    ])
    return { bytes: get(around, port, goodPath(random, port, around), headers) }
  },
  'header syntax': (random, port, around) => {
    const line = pick(random, [
      'no colon',
      ': no name',
      'a b: c',
      'X: a\0b',
      'X: a\rb',
      ' X: folded',
      'X\x7f: y',
      'X: \xff\xfe',
      '__proto__: x',
      'constructor: x',
    ])
    return { bytes: get(around, port, goodPath(random, port, around), ['A: b', line, 'C: d']) }
  },
  'content length': (random, port, around) => {
    const headers = pick(random, [
      ['Content-Length: -1'],
      ['Content-Length: 1', 'Content-Length: 2'],
      ['Content-Length: 3', 'Transfer-Encoding: chunked'],
      ['Transfer-Encoding: gzip, chunked'],
      ['Transfer-Encoding: chunked, identity'],
      ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
      ['Transfer-Encoding : chunked'],
      ['Content-Length: 0x10'],
      ['Content-Length: +1'],
      ['Content-Length: 1, 1'],
      ['Content-Length: 99999999999999999999'],
    ])
    const body = pick(random, ['', 'abc', '0\r\n\r\n', '3\r\nabc\r\n0\r\n\r\n'])
    // No HEAD: a server that cannot parse a request answers with a body, since it does not know the method.
    return {
      bytes: request(around, port, pick(random, ['GET', 'POST']), messagePath(random, port, around), headers) + body,
      ending: pick(random, ['half-close', 'leave', 'reset']),
    }
  },
  chunks: (random, port, around) => {
    const chunk = pick(random, [
      'x\r\n',
      '-1\r\n',
      'ffffffffffffffff\r\n',
      '7fffffff\r\nabc',
      `1;${'e'.repeat(intBelow(random, 20_000))}=x\r\na\r\n0\r\n\r\n`,
      '1;a="\0"\r\na\r\n0\r\n\r\n',
      '3\r\nabcdef\r\n0\r\n\r\n',
      '3\nabc\n0\n\n',
      `0\r\n${'Trailer: x\r\n'.repeat(intBelow(random, 4_000))}\r\n`,
      '0\r\nno trailer\r\n\r\n',
      '1\r\na\r\n'.repeat(intBelow(random, 3_000)),
    ])
    return {
      bytes: [
        request(around, port, 'POST', messagePath(random, port, around), [
          'Transfer-Encoding: chunked',
          ...command(random),
        ]),
        chunk,
      ],
      ending: 'half-close',
    }
  },
  'cut short': (random, port, around) => {
    const whole = request(around, port, pick(random, ['GET', 'POST']), goodPath(random, port, around), [
      'Content-Length: 100',
    ])
    return {
      bytes: whole.slice(0, intBelow(random, whole.length)),
      ending: pick(random, ['half-close', 'leave', 'reset']),
    }
  },
  'body cut short': (random, port, around) => {
    const head = request(around, port, 'POST', messagePath(random, port, around), [
      'Content-Length: 100',
      ...command(random),
    ])
    return { bytes: [head, '{"a":'], ending: pick(random, ['half-close', 'leave', 'reset']) }
  },
  noise: (random) => noise(random),
  'TLS hello': (random) => ({ bytes: clientHello(random), ending: pick(random, ['read', 'half-close']) }),
  'HTTP/2': (random, port, around) => ({
    bytes: pick(random, [
      ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]), randomBytes(random, 50)],
      [
        get(around, port, goodPath(random, port, around), [
          'Connection: Upgrade, HTTP2-Settings, close',
          'Upgrade: h2c',
          'HTTP2-Settings: AAMAAABk',
        ]),
      ],
      ['GET / HTTP/9.9\r\n\r\n'],
      ['GET /v2/ HTTP/1.1 \r\n\r\n'],
      ['GET /v2/ HTTX/1.1\r\n\r\n'],
      ['GET  /v2/  HTTP/1.1\r\n\r\n'],
      ['GET /v2/\r\n\r\n'],
    ]),
    ending: 'half-close',
  }),
  'half-closed': (random, port, around) => {
    const isHead = random() < 0.3
    return {
      bytes: request(around, port, isHead ? 'HEAD' : 'GET', goodPath(random, port, around)),
      ending: 'half-close',
      isHead,
    }
  },
  pipelined: (random, port, around) => {
    const first = `GET ${pick(random, ['/v2/', '/v2/none', '/livez', around.blobPath])} HTTP/1.1\r\nHost: 127.0.0.1:${around.ports[port]}\r\n\r\n`
    const rubbish = pick(random, [
      randomBytes(random, 300),
      'HTTP/1.1 200 OK\r\n\r\n',
      '\r\n\r\n\r\n',
      'GET',
      get(around, port, '/v2/%'),
    ])
    return {
      bytes: [
        Buffer.concat([Buffer.from(first.repeat(1 + intBelow(random, 20))), Buffer.from(rubbish as string, 'latin1')]),
      ],
      ending: pick(random, ['read', 'half-close', 'reset']),
    }
  },
  'content headers': (random, port, around) => {
    const header = pick(random, [
      'Range: bytes=9-1',
      'Range: bytes=0-1,5-6',
      'Range: pages=1-2',
      'Range: bytes=-',
      `Range: bytes=${'9'.repeat(300)}-`,
      'Range: bytes=-0',
      `Range: ${',bytes=1-'.repeat(1_000)}`,
      `Accept: ${',;=/'.repeat(2_000)}`,
      'Accept: */*;q=nan',
      'Accept-Encoding: gzip, br, *;q=0',
      'Authorization: Basic',
      'Authorization: Basic %%%',
      `Authorization: Basic ${'A'.repeat(5_000)}`,
      `Authorization: Basic ${Buffer.from(`u${intBelow(random, 1e9)}:p`).toString('base64')}`,
      'Authorization: Bearer \xff',
      'Authorization: Nabo t=1,mac=00',
      `Authorization: Nabo v=2,from=a,to=b,session=${'0'.repeat(16)},incarnation=1,counter=1,body=${'0'.repeat(64)},mac=${'0'.repeat(64)},gate=${'0'.repeat(32)}`,
      `Authorization: Nabo v=2,from=${'a'.repeat(20_000)}`,
      `Nabo-Record: ${'A'.repeat(3_000)}`,
      'Nabo-Record: e30.AA',
      'If-None-Match: *',
      'If-Modified-Since: never',
      'Nabo-Path: a,b,,c',
      `Nabo-Path: ${'x,'.repeat(5_000)}`,
      'Nabo-Verified: 2',
      'Nabo-Token: x',
      'User-Agent: nabo',
      'User-Agent: skopeo/1',
      'Origin: http://evil.example',
      'Sec-Fetch-Site: cross-site',
    ])
    // In several packets the server cannot tell that a head that is too long is that of a HEAD.
    const isHead = header.length < 5_000 && random() < 0.2
    const target = goodPath(random, port, around)
    const proof =
      port === 'peer' && random() < 0.5
        ? [`Authorization: ${around.prove({ method: isHead ? 'HEAD' : 'GET', target, headers: headersOf(header) })}`]
        : []
    return { bytes: request(around, port, isHead ? 'HEAD' : 'GET', target, [...proof, header]), isHead }
  },
  host: (random, port, around) => {
    const host = pick(random, [
      '',
      'evil.example',
      '127.0.0.1',
      '[::1]:1',
      'a:b:c',
      'h'.repeat(5_000),
      '127.0.0.1:99999',
      'x\xff',
      '169.254.169.254',
    ])
    const headers = pick(random, [[`Host: ${host}`], ['Host: a', `Host: ${host}`], []])
    return {
      bytes: [`GET ${goodPath(random, port, around)} HTTP/1.1`, ...headers, 'Connection: close', '', ''].join('\r\n'),
    }
  },
  'invented registry': (random, port, around) => {
    const name = pick(random, [
      `r${intBelow(random, 1e9)}.example`,
      `localhost:${intBelow(random, 70_000)}`,
      `169.254.${intBelow(random, 256)}.1`,
      '%00',
      '..',
      `${'a.'.repeat(200)}b`,
      'docker.io%0d%0aX:y',
      '_',
      `[::1]:${intBelow(random, 70_000)}`,
      '',
    ])
    const content = pick(random, [
      `blobs/sha256:${intBelow(random, 1e15).toString(16).padStart(64, '0')}`,
      'manifests/1',
      `manifests/t${intBelow(random, 1e9)}`,
      'tags/list?n=-1',
    ])
    return {
      bytes: get(
        around,
        port,
        `/v2/library/r${intBelow(random, 1e9)}/${content}${content.includes('?') ? '&' : '?'}ns=${name}`,
      ),
    }
  },
  'invented content': (random, port, around) => {
    const digest = pick(random, [
      `sha256:${intBelow(random, 1e15).toString(16).padStart(64, '0')}`,
      'sha256:',
      'sha256:XYZ',
      `sha512:${'0'.repeat(64)}`,
      'md5:00',
      `sha256:${'0'.repeat(10_000)}`,
      `t${intBelow(random, 1e9)}`,
      '-',
      '.'.repeat(200),
    ])
    const path = `/v2/${pick(random, ['library/app', 'a//b', 'A/B', '-/-', 'x'.repeat(300), `n${intBelow(random, 1e9)}`])}/${pick(random, ['blobs', 'manifests', 'referrers', 'uploads', ''])}/${digest}`
    const proof = port === 'peer' ? [`Authorization: ${around.prove({ method: 'GET', target: path })}`] : []
    return { bytes: get(around, port, path, proof) }
  },
  upgrade: (random, port, around) => ({
    bytes: [
      get(around, port, goodPath(random, port, around), [
        'Connection: Upgrade, close',
        `Upgrade: ${pick(random, ['websocket', 'x', ''])}`,
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ]),
      randomBytes(random, 20),
    ],
  }),
  expect: (random, port, around) => ({
    bytes:
      request(around, port, pick(random, ['GET', 'POST']), messagePath(random, port, around), [
        `Expect: ${pick(random, ['100-continue', 'a miracle', '', '100-continue, x'])}`,
        'Content-Length: 5',
        ...command(random),
      ]) + pick(random, ['', '{"a":']),
    ending: 'half-close',
  }),
  connect: (random) => ({
    bytes: [
      `CONNECT ${pick(random, ['registry-1.docker.io:443', '127.0.0.1:22', '/', '*', ''])} HTTP/1.1\r\nHost: x\r\n\r\n`,
      pick(random, ['', clientHello(random)]),
    ],
  }),
  'absolute target': (random, port, around) => ({
    bytes: get(
      around,
      port,
      pick(random, [
        'http://evil.example/v2/',
        'http://[::1/',
        'https://u:p@x:1/v2/app/manifests/1',
        '*',
        'v2',
        '//',
        '?',
        '#',
        'http://',
        'ftp://x/v2/',
      ]),
    ),
  }),
  query: (random, port, around) => {
    const path = pick(random, ['/api/v1/find', '/api/v1/status', '/metrics', '/v2/', '/api/v1/peers'])
    const query = pick(random, [
      `reference=n${intBelow(random, 1e9)}`,
      'reference=%',
      'reference=../..',
      `reference=${'a'.repeat(5_000)}`,
      'reference=app&platform=%00',
      'a=1'.repeat(2_000),
      'reference[]=x',
      `reference=app@sha256:${'0'.repeat(63)}`,
      '__proto__[x]=1',
    ])
    return { bytes: get(around, port, `${path}?${query}`) }
  },
  message: (random, port, around) => {
    const target = messagePath(random, port, around)
    const body = malformedMessage(random, target)
    const wrong = pick(random, [
      [],
      [`Authorization: Nabo v=2,mac=${'0'.repeat(64)}`],
      [`Authorization: ${around.prove({ method: 'GET', target, body })}`],
    ])
    return { bytes: post(around, port, target, body, port === 'peer' ? wrong : []) }
  },
  'proven message': (random, port, around) => {
    const target = messagePath(random, port, around)
    const body = malformedMessage(random, target)
    const proof =
      port === 'peer' ? [`Authorization: ${around.prove({ method: 'POST', target, body })}`] : ['Nabo-Command: 1']
    return { bytes: post(around, port, target, body, proof) }
  },
}

/** A header line as a proof covers it. */
function headersOf(line: string): Record<string, string> {
  const colon = line.indexOf(':')
  return { [line.slice(0, colon).toLowerCase()]: line.slice(colon + 1).trim() }
}

/** A path that the port knows. */
function goodPath(random: Random, port: PortName, { blobPath }: Surroundings): string {
  switch (port) {
    case 'mirror':
      return pick(random, ['/v2/', blobPath, '/v2/library/app/manifests/1', '/v2/library/app/tags/list'])
    case 'peer':
      return pick(random, ['/v2/', blobPath, '/v2/library/app/manifests/1', '/nabo/v1/about'])
    default:
      return pick(random, ['/', '/livez', '/readyz', '/metrics', '/api/v1/status', '/api/v1/quota'])
  }
}

function messagePath(random: Random, port: PortName, around: Surroundings): string {
  if (port === 'admin') return '/api/v1/warm'
  return port === 'peer' ? pick(random, PEER_PATHS) : goodPath(random, port, around)
}

function command(random: Random): string[] {
  return random() < 0.5 ? ['Nabo-Command: 1'] : []
}

export function get(around: Surroundings, port: PortName, path: string, headers: readonly string[] = []): string {
  return request(around, port, 'GET', path, headers)
}

function request(
  around: Surroundings,
  port: PortName,
  method: string,
  path: string,
  headers: readonly string[] = [],
): string {
  const host = `Host: 127.0.0.1:${around.ports[port]}`
  return [`${method} ${path} HTTP/1.1`, host, 'Connection: close', ...headers, '', ''].join('\r\n')
}

function post(around: Surroundings, port: PortName, path: string, body: Buffer, headers: readonly string[]): Buffer[] {
  const all = ['Content-Type: application/json', `Content-Length: ${body.length}`, ...headers]
  return [Buffer.from(request(around, port, 'POST', path, all), 'latin1'), body]
}
