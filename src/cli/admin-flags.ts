import { InvalidArgumentError, Option } from 'commander'

import { defaultAdminSocket } from '../config/admin-socket.ts'
import { AdminClient, AdminError, DEFAULT_ADMIN_URL } from './admin-client.ts'

/** The values of `--admin-socket` and `--admin-url`. */
export interface AdminFlags {
  readonly adminSocket?: string
  readonly adminUrl?: URL
}

/** `--admin-socket`, for every command that asks a running daemon. */
export function adminSocketOption(): Option {
  const about = `Unix socket of the daemon of this node (default: ${defaultAdminSocket()})`
  return new Option('--admin-socket <path>', about).env('NABO_ADMIN_SOCKET')
}

/** `--admin-url`, which replaces the socket of {@link adminSocketOption} if it is set. */
export function adminUrlOption(): Option {
  return new Option('--admin-url <url>', 'ask the admin listener instead, which answers about public content only')
    .env('NABO_ADMIN_URL')
    .argParser((text: string) => (text.trim() === '' ? undefined : parseHttpUrl(text, DEFAULT_ADMIN_URL)))
}

/** Runs `work` with a client of the daemon that the flags name. Throws AdminError, and what `work` throws. */
export async function withAdmin<T>(
  { adminSocket = '', adminUrl }: AdminFlags,
  work: (admin: AdminClient) => Promise<T>,
): Promise<T> {
  if (adminUrl === undefined && adminSocket === 'none')
    throw new AdminError('the daemon has no socket (NABO_ADMIN_SOCKET=none): say where it answers with --admin-url')
  const socket = adminSocket === '' ? defaultAdminSocket() : adminSocket
  const admin = new AdminClient(adminUrl === undefined ? { socket } : { url: adminUrl })
  try {
    return await work(admin)
  } finally {
    await admin.close()
  }
}

/** Parses `http://host:port`; an empty text, as charts set it, stands for `otherwise`. Throws InvalidArgumentError. */
export function parseHttpUrl(text: string, otherwise: string): URL {
  const url = URL.parse(text.trim() === '' ? otherwise : text.trim())
  const isPlain =
    url !== null && `${url.username}${url.password}${url.search}${url.hash}` === '' && url.pathname === '/'
  if (url === null || !isPlain || url.protocol !== 'http:' || url.hostname === '')
    throw new InvalidArgumentError(`a URL such as ${otherwise} or http://[::1]:7953 is expected.`)
  return url
}
