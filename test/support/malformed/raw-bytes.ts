import type { Draft } from './malformed-request.ts'
import { intBelow, pick, type Random, randomBytes } from './messages.ts'

/** Random bytes. */
export function noise(random: Random): Draft {
  const length = pick(random, [1, 10, 100, 1_000, 4_000])
  return {
    bytes: randomBytes(random, 1 + intBelow(random, length)),
    ending: pick(random, ['half-close', 'leave', 'reset']),
  }
}

/** The beginning of a TLS 1.2 handshake, with wrong lengths now and then. */
export function clientHello(random: Random): Buffer {
  const body = randomBytes(random, 34 + intBelow(random, 300))
  const length = random() < 0.7 ? body.length : intBelow(random, 65_536)
  const hello = Buffer.concat([Buffer.from([1, 0, length >> 8, length & 255, 3, 3]), body])
  return Buffer.concat([Buffer.from([22, 3, 1, (length + 4) >> 8, (length + 4) & 255]), hello])
}
