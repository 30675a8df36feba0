import { get } from './http-kinds.ts'
import type { Kind } from './malformed-request.ts'
import { intBelow, pick, randomBytes } from './messages.ts'
import { clientHello, noise } from './raw-bytes.ts'

const MULTISTREAM = '\x13/multistream/1.0.0\n'
export const ROUTER_KINDS: Readonly<Record<string, Kind>> = {
  noise: (random) => noise(random),
  silence: () => ({ bytes: '', ending: 'leave' }),
  'HTTP request': (_random, port, around) => ({ bytes: get(around, port, '/v2/'), ending: 'leave' }),
  'TLS hello': (random) => ({ bytes: clientHello(random), ending: 'leave' }),
  'multistream length': (random) => ({
    bytes: Buffer.concat([
      Buffer.from(pick(random, [[0], [0xff, 0xff, 0xff, 0xff, 0x7f], Array<number>(20).fill(0x80)])),
      randomBytes(random, 100),
    ]),
    ending: pick(random, ['half-close', 'leave', 'reset']),
  }),
  'unknown protocol': (random) => ({
    bytes: [MULTISTREAM, pick(random, ['\x07/plain\n', '\x03ls\n', '\x01\n', `\x05/${'\0'.repeat(3)}\n`])],
    ending: pick(random, ['half-close', 'leave', 'reset']),
  }),
  'noise handshake': (random) => ({
    bytes: [
      MULTISTREAM,
      '\x07/noise\n',
      Buffer.concat([
        Buffer.from([intBelow(random, 256), intBelow(random, 256)]),
        randomBytes(random, intBelow(random, 300)),
      ]),
    ],
    ending: pick(random, ['half-close', 'leave', 'reset']),
  }),
  'many selections': (random) => ({
    bytes: [MULTISTREAM, '\x04/no\n'.repeat(intBelow(random, 2_000))],
    ending: 'leave',
  }),
}
