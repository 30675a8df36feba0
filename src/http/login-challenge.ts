import type { IncomingHttpHeaders } from 'node:http'

import { CHALLENGE } from '../delivery/access/client-access.ts'
import { OciError } from '../oci/errors.ts'

/**
 * The libraries of Podman, Skopeo, Buildah and CRI-O, and of crane: they send credentials only to who asked for them at `/v2/`, and go on
 * without where they have none. Others are never asked there: dockerd gives up if it has none, and public images are for everybody.
 */
const ASKED_AT_BASE = /(?:^|[\s(])(?:skopeo|libpod|podman|buildah|cri-o|containers|crane|go-containerregistry)\//i

/** Throws a challenge for a request of `/v2/` by a client that would not send its credentials otherwise, and has not sent any. */
export function askForLogin(headers: IncomingHttpHeaders): void {
  if (headers.authorization !== undefined || !ASKED_AT_BASE.test(headers['user-agent'] ?? '')) return
  throw new OciError('UNAUTHORIZED', {
    message: 'what is not public wants the credentials of its registry; for what is public, go on without',
    headers: CHALLENGE,
  })
}
