import { z } from 'zod'

import { type TestDaemon, runDaemon } from './daemon.ts'
import { createHub } from './hub/create-hub.ts'
import type { Hub } from './hub/hub.ts'

export const REPOSITORY = 'library/conformance'

/** The pull half of the distribution API as clients reach it: a daemon in front of a registry. */
export interface PullEndpoint extends AsyncDisposable {
  readonly hub: Hub
  /** Asks for a path below `/v2/<repository>/`. */
  ask(path: string, options?: RequestInit & { repository?: string }): Promise<Response>
  /** A path and query of the mirror. */
  get(path: string, options?: RequestInit): Promise<Response>
  status(): ReturnType<TestDaemon['status']>
}

export async function startPullEndpoint(): Promise<PullEndpoint> {
  // A registry that lets everybody pull: Docker Hub calls what does not exist private.
  const hub = await createHub({ tokens: false, directBlobs: true })
  const daemon = await runDaemon(['--upstream', `docker.io=${hub.registryUrl}`])
  const get = (path: string, options?: RequestInit) => fetch(`${daemon.mirror}${path}`, options)
  return {
    hub,
    get,
    ask: (path, { repository = REPOSITORY, ...options } = {}) => get(`/v2/${repository}/${path}`, options),
    status: () => daemon.status(),
    [Symbol.asyncDispose]: async () => {
      await daemon.stop()
      await hub.close()
    },
  }
}

/** https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes */
const errorSchema = z.strictObject({
  errors: z
    .array(z.object({ code: z.string().regex(/^[A-Z_]+$/), message: z.string(), detail: z.unknown().optional() }))
    .min(1),
})

/** The first code of an error's body, which must be as the specification wants it. */
export async function errorCodeOf(response: Response): Promise<string | undefined> {
  return errorSchema.parse(await response.json()).errors[0]?.code
}
