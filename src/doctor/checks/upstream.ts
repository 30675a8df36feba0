import { type Check, error, ok, warning } from '../check.ts'
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
      return error(`Nabo cannot start: ${cause.message}`, 'put that right where Nabo is started')
    }
    if (looks.length === 0) return undefined
    const bad = looks.filter(({ failure }) => failure !== undefined)
    const names = (all: readonly UpstreamLook[]) => [...new Set(all.map(({ host }) => host))].join(', ')
    if (bad.length === 0) return ok(`${names(looks)} can be reached`)
    const said = bad.slice(0, MAX_SAID).map(({ host, failure }) => `${host} cannot be used: ${failure}`)
    const more = bad.length > MAX_SAID ? [`nor can ${names(bad.slice(MAX_SAID))}`] : []
    return warning(
      [...said, ...more].join('; '),
      'check DNS, the firewall and HTTPS_PROXY of this node, and what the registry is set up to say, or name another address with --upstream',
    )
  },
}
