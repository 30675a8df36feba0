import { compileGlob } from '../../oci/glob.ts'
import { canonicalRegistry, type Repository } from '../../oci/reference.ts'

/**
 * Matches registries as the kubelet does: the same number of labels and the same port, where `*` within a label stands for any characters.
 * So `*.example.com` is `a.example.com`, and neither `example.com`, `a.b.example.com` nor `a.example.com:5000`.
 * https://kubernetes.io/docs/concepts/containers/images/#config-json
 */
export function matchesHost(pattern: string, registry: string): boolean {
  if (!isHostPattern(pattern)) return canonicalRegistry(pattern) === registry
  const [labels, port] = split(pattern.toLowerCase())
  const [actual, actualPort] = split(registry)
  return (
    port === actualPort &&
    labels.length === actual.length &&
    labels.every((label, index) => compileGlob(label)(actual[index] ?? ''))
  )
}

/** True for a host with `*` in it. */
export function isHostPattern(host: string): boolean {
  return host.includes('*')
}

function split(host: string): readonly [readonly string[], string] {
  const [, name = host, port = ''] = /^(.*):0*(\d+)$/.exec(host) ?? []
  // Names of registries are without it, see canonicalRegistry.
  return [name.split('.'), port === '443' ? '' : port]
}

/** Matches a repository as the kubelet matches `matchImages`: the host by {@link matchesHost}, and the rest by the beginning of its text. */
export function matchesImage(pattern: string, { registry, name }: Repository): boolean {
  const [host = ''] = pattern.split('/', 1)
  return matchesHost(host, registry) && `/${name}`.startsWith(pattern.slice(host.length))
}
