/** Why a TLS connection failed, in Nabo's words: Node's name options of Node, which nobody can give to Nabo. */
export class TlsFailure extends Error {
  override readonly name = 'TlsFailure'
  readonly code: string
  /** What to change. */
  readonly fix: string

  constructor(code: string, message: string, fix: string) {
    super(`${message} (${code})`)
    this.code = code
    this.fix = fix
  }
}

const UNKNOWN_AUTHORITY = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_UNTRUSTED',
])
/** Errors of X.509 verification, of Node's check of names, and of OpenSSL: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const IS_TLS =
  /^(?:ERR_SSL_|ERR_TLS_|CERT_|CRL_|UNABLE_TO_(?:GET|DECRYPT|VERIFY|DECODE)_|(?:DEPTH_ZERO_)?SELF_SIGNED_CERT|ERROR_IN_C|INVALID_(?:CA|PURPOSE)|PATH_LENGTH_EXCEEDED|HOSTNAME_MISMATCH)/
const MAX_CAUSES = 5

/** Explains an error that comes from TLS; undefined for any other one. `host` is a URL's. */
export function tlsFailureOf(
  error: unknown,
  { registry, host }: { registry: string; host: string },
): TlsFailure | undefined {
  const code = tlsCode(error)
  if (code === undefined) return undefined
  const failure = (message: string, fix: string) => new TlsFailure(code, message, fix)
  if (UNKNOWN_AUTHORITY.has(code))
    return failure(
      'its certificate is signed by an authority that this node does not trust',
      `add the authority to this system's certificates and restart Nabo, or name it with --registry-ca ${registry}=<file> or as ca in the registry's hosts.toml`,
    )
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID')
    return failure('its certificate is not valid now', `renew the certificate of ${host}, or set this node's clock`)
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID' || code === 'HOSTNAME_MISMATCH')
    return failure(
      'its certificate is for other names',
      `name an address that is in the certificate: --upstream ${registry}=https://<name>`,
    )
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST/.test(code))
    return failure(
      'it does not answer with TLS',
      `if the registry speaks plain HTTP: --upstream ${registry}=http://${host}`,
    )
  if (/CERTIFICATE_REQUIRED|ALERT_(?:BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_\w+|HANDSHAKE_FAILURE)/.test(code))
    return failure(
      'it refuses the handshake, and may want a client certificate or another one',
      `name a client certificate with --registry-client-cert ${registry}=<cert>,<key> or as client in the registry's hosts.toml`,
    )
  return failure('the TLS handshake fails', `look at the certificate and the TLS settings of ${host}`)
}

function tlsCode(error: unknown): string | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < MAX_CAUSES; at = at.cause, depth += 1) {
    const { code } = at as NodeJS.ErrnoException
    if (code !== undefined && IS_TLS.test(code)) return code
  }
  return undefined
}
