import { loadIdentity } from '../../src/overlay/libp2p/identity.ts'
import { deriveKeys } from '../../src/authentication/cluster-secret.ts'
import { isOutOfStep } from '../../src/authentication/request-signer.ts'
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
    for (let attempt = 1; ; attempt++) {
      const signed = this.authentication.signer.sign(id, { method, target, headers, body: bytes })
      if (signed === undefined) throw new Error(`${id} is no id`)
      const sent = { target, headers: { ...signed.headers }, body: bytes as Uint8Array }
      tamper?.(sent)
      const response = await fetch(`${url}${sent.target}`, {
        method,
        headers: sent.headers,
        ...(method === 'POST' ? { body: Buffer.from(sent.body) } : {}),
      })
      const answer = { status: response.status, header: (name: string) => response.headers.get(name) ?? undefined }
      const isAuthentic = signed.accepts(answer)
      if (!isAuthentic || !isOutOfStep(answer) || attempt === 3) return Object.assign(response, { isAuthentic })
      await response.body?.cancel()
    }
  }
}
