import { loadIdentity } from '../../src/overlay/libp2p/identity.ts'
import { deriveKeys } from '../../src/authentication/cluster-secret.ts'
import { askInStep } from '../../src/authentication/ask-in-step.ts'
import { type Authentication, createAuthentication } from '../../src/daemon/create-authentication.ts'

export const TEST_SECRET = 'a secret that all nodes of a test share'

export interface MemberRequest {
  readonly method?: string
  readonly body?: string | Uint8Array
  readonly headers?: Record<string, string>
  /** Changes what goes on the wire after the proof was made. */
  readonly tamper?: (sent: { target: string; headers: Record<string, string>; body: Uint8Array }) => void
}

/** A member of a cluster that a test speaks for: its proofs are genuine. */
export class TestMember {
  readonly authentication: Authentication

  private constructor(authentication: Authentication) {
    this.authentication = authentication
  }

  /** `secrets`: of the cluster, the current one first; none in a cluster without a secret. */
  static async create(
    secrets: readonly string[] = [TEST_SECRET],
    {
      address = '127.0.0.1:9',
      identity,
    }: { address?: string; identity?: Awaited<ReturnType<typeof loadIdentity>> } = {},
  ): Promise<TestMember> {
    const keys = secrets.length === 0 ? undefined : secrets.map(deriveKeys)
    const about = { addresses: [address], version: 'test' } as const
    return new TestMember(
      createAuthentication(identity ?? (await loadIdentity(undefined)), keys, about, { warn: () => {} }),
    )
  }

  get id(): string {
    return this.authentication.local.id
  }

  /** Asks the node `id` at `http://host:port`, until it is in step. The answer may be a refusal; `isAuthentic` says whether its proof holds. */
  async ask(
    { id, url }: { readonly id: string; readonly url: string },
    target: string,
    { method = 'GET', body = '', headers = {}, tamper }: MemberRequest = {},
  ): Promise<Response & { readonly isAuthentic: boolean }> {
    const bytes = Buffer.from(body as string)
    const request = { method, target, headers, body: bytes }
    const proved = await askInStep(
      this.authentication.signer,
      id,
      request,
      async (headers) => {
        const sent = { target, headers: { ...headers }, body: bytes as Uint8Array }
        tamper?.(sent)
        const response = await fetch(`${url}${sent.target}`, {
          method,
          headers: sent.headers,
          ...(method === 'POST' ? { body: Buffer.from(sent.body) } : {}),
        })
        return { response, status: response.status, header: (name) => response.headers.get(name) ?? undefined }
      },
      ({ response }) => void response.body?.cancel(),
    )
    if (proved === undefined) throw new Error(`${id} is no id`)
    return Object.assign(proved.answer.response, { isAuthentic: proved.isAuthentic })
  }
}
