import { includesRegistry } from '../../delivery/access/registry-policy.ts'
import { type Check, ok, warning } from '../check.ts'

const MAX_SAID = 5

/** Which images --include and --exclude leave to Nabo, and whether --registries contradicts them. */
export const imagesCheck: Check = {
  id: 'images',
  title: 'images',
  async run({ settings }) {
    const { include, exclude, registries } = settings
    if (include.length === 0 && exclude.length === 0) return undefined
    const useless = include.filter(({ registry }) => registry !== undefined && !includesRegistry(registries, registry))
    const [first] = useless
    if (first !== undefined)
      return warning(
        `--include ${first.text} has no effect: --registries leaves ${first.registry} out`,
        `add ${first.registry} to --registries, or take the pattern out`,
      )
    const which = include.length === 0 ? 'all images' : `only ${listed(include)}`
    const but = exclude.length === 0 ? '' : `, without ${listed(exclude)}`
    return ok(`Nabo mirrors ${which}${but}; containerd pulls the others past it`)
  },
}

function listed(patterns: readonly { readonly text: string }[]): string {
  const more = patterns.length > MAX_SAID ? ` and ${patterns.length - MAX_SAID} more` : ''
  return `${patterns
    .slice(0, MAX_SAID)
    .map(({ text }) => text)
    .join(', ')}${more}`
}
