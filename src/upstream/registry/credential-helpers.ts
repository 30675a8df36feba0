import { askHelper } from './ask-helper.ts'
import type { Credential } from './credential.ts'
import { CredentialPrograms, type CredentialProgramsOptions } from './credential-programs.ts'

/** Docker's credential helpers, the programs `docker-credential-<name>`. */
export class CredentialHelpers {
  readonly #programs: CredentialPrograms<Credential>

  constructor(options: CredentialProgramsOptions) {
    this.#programs = new CredentialPrograms(options)
  }

  /** undefined if the helper has none or gives no answer in time. Rejects with the signal's reason alone. */
  get(helper: string, server: string, options: { signal: AbortSignal }): Promise<Credential | undefined> {
    const key = `${helper} ${server}`
    const question = {
      key,
      group: key,
      program: `docker-credential-${helper}`,
      kind: 'a credential helper',
      about: { helper, server },
      ask: async (how: { env: NodeJS.ProcessEnv; signal: AbortSignal }) => ({
        value: await askHelper(helper, server, how),
      }),
    }
    return this.#programs.get(question, options)
  }

  /** A registry did not accept it: the helper may have a new one. */
  refused(credential: Credential): void {
    this.#programs.refused((given) => given === credential)
  }

  /** Asks everything anew from now on. */
  forget(): void {
    this.#programs.forget()
  }

  /** Ends the helpers that run, and starts no more. */
  stop(): void {
    this.#programs.stop()
  }
}
