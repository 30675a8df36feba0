import * as fc from 'fast-check'

import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { type Repository, canonicalName, canonicalRegistry } from '../../src/oci/reference.ts'

const alphanumeric = fc.string({
  unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz0123456789'.split('')),
  minLength: 1,
  maxLength: 8,
})
const component = fc
  .tuple(
    alphanumeric,
    fc.array(fc.tuple(fc.constantFrom('.', '_', '__', '-', '--', '---'), alphanumeric), { maxLength: 3 }),
  )
  .map(([first, rest]) => first + rest.map((pair) => pair.join('')).join(''))

/** Repository names of the distribution specification. */
export const repositoryNames = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))

/** Hosts of registries, with and without a port. */
export const registries = fc
  .tuple(
    fc.oneof(
      fc.constantFrom('docker.io', 'localhost', '127.0.0.1', '[::1]', 'ghcr.io', 'index.docker.io'),
      fc.domain().map((name) => name.toLowerCase()),
    ),
    fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined }),
  )
  .map(([host, port]) => (port === undefined ? host : `${host}:${port}`))

/** Repositories as Nabo writes them everywhere. */
export const repositories: fc.Arbitrary<Repository> = fc.tuple(registries, repositoryNames).map(([text, name]) => {
  const registry = canonicalRegistry(text)
  return { registry, name: canonicalName(registry, name) }
})

export const tags = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/)

export const digests: fc.Arbitrary<Digest> = fc
  .tuple(fc.uint8Array({ maxLength: 4 }), fc.constantFrom('sha256' as const, 'sha512' as const))
  .map(([bytes, algorithm]) => digestOf(bytes, algorithm))
