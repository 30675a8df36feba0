import { type Check, type Outcome, error, ok, warning } from '../check.ts'
import { SettingsError, type UpstreamLook } from '../node.ts'

const MAX_SAID = 3

/** Whether the registries that this node falls back on can be reached, and answer as registries do. */
export const upstreamCheck: Check = {
  id: 'upstream',
  title: 'registries',
  async run(node) {
    let looks: readonly UpstreamLook[]
    try {
      looks = await node.upstreams()
    } catch (cause) {
      if (!(cause instanceof SettingsError)) throw cause
      // The check of the credentials names the file that a running daemon cannot read any more.
      const daemon = await node.daemon()
      if (daemon.state === 'running' && daemon.credentialTroubles.some(({ type }) => type === 'file')) return undefined
      return error(`Nabo cannot start: ${cause.message}`, 'put that right where Nabo is started')
    }
    if (looks.length === 0) return undefined
    const names = [...new Set(looks.map(({ host }) => host))].join(', ')
    const bad = [unusable(looks), withheldFrom(looks)].filter((outcome) => outcome !== undefined)
    if (bad.length === 0) return ok(`${names} can be reached`)
    return warning(bad.map(({ says }) => says).join('; '), bad.map(({ fix }) => fix).join('; '))
  },
}

function unusable(looks: readonly UpstreamLook[]): Outcome | undefined {
  const bad = looks.filter(({ failure }) => failure !== undefined)
  if (bad.length === 0) return undefined
  const said = bad.slice(0, MAX_SAID).map(({ host, failure }) => `${host} cannot be used: ${failure}`)
  const others = [...new Set(bad.slice(MAX_SAID).map(({ host }) => host))]
  const more = others.length > 0 ? [`nor can ${others.join(', ')}`] : []
  return warning(
    [...said, ...more].join('; '),
    'check DNS, the firewall and HTTPS_PROXY of this node, and what the registry is set up to say, or name another address with --upstream',
  )
}

/** Private images of such a registry come from the registry alone: nobody's right to them can be checked. */
function withheldFrom(looks: readonly UpstreamLook[]): Outcome | undefined {
  const all = looks.flatMap(({ host, withheld }) => (withheld === undefined ? [] : [{ host, ...withheld }]))
  if (all.length === 0) return undefined
  const said = all.slice(0, MAX_SAID).map(({ host, tokenServer }) => `${host} sends for tokens to ${tokenServer}`)
  const flags = [...new Set(all.map(({ flag }) => flag))].slice(0, MAX_SAID)
  return warning(
    `${said.join('; ')}, which is in another domain: no credentials are sent there, and private images do not go through Nabo`,
    `if that host may have the credentials of the registry, start Nabo with ${flags.join(' ')}`,
  )
}
