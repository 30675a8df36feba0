import { type HostPort, formatHostPort } from './host-port.ts'

/** An address cannot be listened on. The message is one sentence for the operator. */
export class ListenError extends Error {
  override readonly name = 'ListenError'
  /** The system's code, such as `EADDRINUSE`. */
  readonly code: string | undefined
  readonly address: HostPort

  /** `flag`: the flag that named the address. */
  constructor(cause: NodeJS.ErrnoException, address: HostPort, flag: string) {
    super(explain(cause.code, formatHostPort(address), flag), { cause })
    this.code = cause.code
    this.address = address
  }
}

function explain(code: string | undefined, where: string, flag: string): string {
  switch (code) {
    case 'EADDRINUSE':
      return `${where} is taken by another program: end it, or choose another address with ${flag}`
    case 'EACCES':
      return `${where} needs a right that this user does not have: choose a port above 1023 with ${flag}`
    case 'EADDRNOTAVAIL':
      return `${where} is no address of this machine: check ${flag}`
    default:
      return `${where} cannot be listened on (${code}): check ${flag}`
  }
}
