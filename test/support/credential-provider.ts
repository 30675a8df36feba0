import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A program of the kubelet's exec API in a directory. */
export interface TestProvider {
  /** The images that it was asked for, oldest first. */
  asked(): Promise<string[]>
  /** The lines of its environment that it saw the last time. */
  environment(): Promise<string>
}

export const PROVIDER_API = 'credentialprovider.kubelet.k8s.io/v1'

/** Writes a shell script that notes what it is asked and goes on with `script`; `$request` is the request. */
export async function writeProvider(directory: string, name: string, script: string): Promise<TestProvider> {
  const notes = join(directory, `${name}.notes`)
  const environment = join(directory, `${name}.environment`)
  const note = `request=$(/bin/cat)\necho "$request" >> '${notes}'\n/usr/bin/env > '${environment}'\n`
  await writeFile(join(directory, name), `#!/bin/sh\n${note}${script}\n`, { mode: 0o755 })
  const read = (file: string) => readFile(file, 'utf8').catch(() => '')
  return {
    asked: async () =>
      (await read(notes))
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => (JSON.parse(line) as { image: string }).image),
    environment: () => read(environment),
  }
}

/** The script of a provider that answers with this. */
export function replies(reply: object): string {
  return `echo '${JSON.stringify({ apiVersion: PROVIDER_API, kind: 'CredentialProviderResponse', ...reply })}'`
}

/** A `CredentialProviderConfig` with these providers. */
export function providerConfig(...providers: readonly object[]): string {
  const defaults = { apiVersion: PROVIDER_API, matchImages: ['*.example'], defaultCacheDuration: '1h' }
  return JSON.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1',
    kind: 'CredentialProviderConfig',
    providers: providers.map((provider) => ({ ...defaults, ...provider })),
  })
}
