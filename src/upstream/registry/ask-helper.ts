import { z } from 'zod'

import type { Credential } from './credential.ts'
import { CredentialProgramError, exitError, runProgram } from './run-program.ts'

/** The user of an identity token. */
const TOKEN_USER = '<token>'

const answerSchema = z.object({ Username: z.string(), Secret: z.string() })

/**
 * Runs `docker-credential-<helper> get` for a server. `PATH` of `env` says where the helper is. undefined if it has nothing for it. Throws
 * CredentialProgramError, or the signal's reason. https://github.com/docker/docker-credential-helpers#development
 */
export async function askHelper(
  helper: string,
  server: string,
  options: { env: NodeJS.ProcessEnv; signal: AbortSignal },
): Promise<Credential | undefined> {
  const name = `docker-credential-${helper}`
  const program = { command: name, args: ['get'], input: server, env: options.env, name, place: 'on the PATH' }
  const { code, output } = await runProgram(program, options)
  if (code === 0) return credentialOf(output, name)
  if (/credentials not found/i.test(output)) return undefined
  throw exitError(program, code)
}

function credentialOf(output: string, program: string): Credential | undefined {
  let answer: z.infer<typeof answerSchema>
  try {
    answer = answerSchema.parse(JSON.parse(output))
  } catch {
    // Without a cause: it would quote the answer.
    throw new CredentialProgramError(`${program} wrote what is no answer`)
  }
  if (answer.Secret === '') return undefined
  if (answer.Username === TOKEN_USER) return { identityToken: answer.Secret, username: '' }
  return { username: answer.Username, password: answer.Secret }
}
