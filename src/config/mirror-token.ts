import { readFile } from 'node:fs/promises'

const MIN_TOKEN_LENGTH = 8

/** Reads the secret that the mirror's clients must send. Throws an Error with one sentence for the operator. */
export async function readMirrorToken(path: string): Promise<string> {
  let token: string
  try {
    token = (await readFile(path, 'utf8')).trim()
  } catch (cause) {
    throw new Error(`the mirror token file ${path} cannot be read: ${(cause as NodeJS.ErrnoException).code}`, { cause })
  }
  if (token.length < MIN_TOKEN_LENGTH)
    throw new Error(`the mirror token in ${path} must have at least ${MIN_TOKEN_LENGTH} characters`)
  return token
}
