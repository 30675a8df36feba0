import type { Readable } from 'node:stream'

import { TooManyBytesError, readBounded } from '../../async/read-bounded.ts'
import { isLoopbackAddress } from '../../overlay/host-port.ts'
import { CommandError } from '../run-command.ts'

const MAX_BYTES = 16 * 1024

/**
 * Reads `user:password` to the end of a stream, without a line break at the end; the password may have others. Plain HTTP takes it to this
 * machine alone. Throws CommandError.
 */
export async function readCredential(input: Readable, mirrorUrl: string): Promise<string> {
  const { protocol, hostname } = new URL(mirrorUrl)
  if (protocol === 'http:' && !isLoopback(hostname))
    throw new CommandError('credentials go over plain HTTP only to this machine: the mirror is not on loopback')
  const bytes = await readBounded(input, MAX_BYTES).catch((cause: unknown) => {
    if (!(cause instanceof TooManyBytesError)) throw cause
    throw new CommandError('the credentials on standard input are too long', { cause })
  })
  const credential = bytes.toString('utf8').replace(/\r?\n$/, '')
  if (!credential.includes(':') || credential === ':')
    throw new CommandError('--creds-stdin expects user:password on standard input')
  return credential
}

function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '')
  return host === 'localhost' || isLoopbackAddress(host)
}
