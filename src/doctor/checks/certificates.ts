import type { CertificatesView, TlsView } from '../../upstream/registry/tls/registry-tls.ts'
import { type Check, type Outcome, ok, warning } from '../check.ts'
import { SettingsError } from '../node.ts'

const MAX_SAID = 3

/** Which certificates count for registries: those that are trusted, and those that this node shows. */
export const certificatesCheck: Check = {
  id: 'certificates',
  title: 'certificates',
  async run(node) {
    let view: CertificatesView
    try {
      view = await node.certificates()
    } catch (cause) {
      // The check of the registries reports it.
      if (cause instanceof SettingsError) return undefined
      throw cause
    }
    return outcomeOf(view)
  },
}

function outcomeOf({ system, registries }: CertificatesView): Outcome | undefined {
  const problems = [...(system?.problems ?? []), ...registries.flatMap((view) => view.problems)]
  if (problems.length > 0)
    return warning(
      some(problems),
      'put a PEM file there that the user of Nabo can read; in a container, mount it at the same path, or name a path relative to hosts.toml',
    )
  const unverified = new Map(registries.flatMap((view) => view.unverified).map(({ host, from }) => [host, from]))
  if (unverified.size > 0)
    return warning(
      some([...unverified].map(([host, from]) => `the certificate of ${host} is not checked: skip_verify in ${from}`)),
      'name its authority there (ca = "<file>") in the place of skip_verify = true',
    )
  const own = registries.flatMap(described)
  if (system === undefined && own.length === 0) return undefined
  return ok(['Nabo trusts the authorities of Node', ...systemText(system), ...own].join('; '))
}

function systemText(system: CertificatesView['system']): readonly string[] {
  if (system === undefined) return []
  const { sources, added } = system
  return sources.length === 0 ? ['the system has none'] : [`${added} more of the system, from ${sources.join(', ')}`]
}

function described({ registry, ca, client }: TlsView): readonly string[] {
  const parts = [
    ...(ca.length === 0 ? [] : [`the authority ${ca.join(', ')}`]),
    ...(client[0] === undefined ? [] : [`the client certificate ${client[0]}`]),
  ]
  return parts.length === 0 ? [] : [`for ${registry}, ${parts.join(' and ')}`]
}

function some(sentences: readonly string[]): string {
  const more = sentences.length - MAX_SAID
  return [...sentences.slice(0, MAX_SAID), ...(more > 0 ? [`and ${more} more`] : [])].join('; ')
}
