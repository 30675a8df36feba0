import { join, resolve } from 'node:path'

/** sun_path of sockaddr_un holds 108 bytes with its terminating zero: unix(7). */
export const MAX_SOCKET_PATH_BYTES = 107

/**
 * Where the daemon of this user answers commands: `/run/nabo/admin.sock` for root, else `$XDG_RUNTIME_DIR/nabo/admin.sock`, else
 * `.nabo/admin.sock` of the working directory.
 */
export function defaultAdminSocket(
  environment: NodeJS.ProcessEnv = process.env,
  uid = process.getuid?.() ?? 0,
): string {
  if (uid === 0) return '/run/nabo/admin.sock'
  const runtime = environment['XDG_RUNTIME_DIR'] ?? ''
  return runtime.startsWith('/') ? join(runtime, 'nabo', 'admin.sock') : resolve('.nabo', 'admin.sock')
}
