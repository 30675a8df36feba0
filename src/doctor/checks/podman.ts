import { meaningOf, readConfs, remedyOf } from '../../runtimes/podman/podman-plans.ts'
import { FileError } from '../../runtimes/edited-file.ts'
import { mirrorUseIn } from '../../runtimes/podman/mirror-limits.ts'
import { TomlTextError } from '../../runtimes/toml/toml-text.ts'
import { type Check, ok, unknown, warning } from '../check.ts'
import { hostPortOf, leadsTo, mirrorAddresses } from '../mirror-addresses.ts'

/** As `nabo configure podman --config-dir` has it. */
const DIRECTORY = '/etc/containers'
const MAX_SAID = 3

/** Whether Podman and its relatives ask Nabo for tags and digests alike, where they have Nabo for a mirror. */
export const podmanCheck: Check = {
  id: 'podman',
  title: 'registries.conf',
  async run(node) {
    const directory = node.environment['NABO_PODMAN_CONFIG_DIR'] ?? DIRECTORY
    if (!(await node.isVisible(directory))) return undefined
    const mirrors = await mirrorAddresses(node)
    const isNabo = (location: string) => {
      const target = hostPortOf(`http://${location}`)
      return target !== undefined && leadsTo(target, mirrors)
    }
    try {
      const confs = await readConfs(directory)
      const { prefixes, limits } = mirrorUseIn(confs, isNabo)
      if (prefixes.length === 0) return undefined
      const [first] = limits
      if (first !== undefined) return warning(limits.slice(0, MAX_SAID).map(meaningOf).join('; '), remedyOf(first))
      return ok(`Podman, Buildah, Skopeo and CRI-O ask Nabo first for ${prefixes.join(', ')}`)
    } catch (error) {
      if (error instanceof TomlTextError)
        return unknown(`a file of ${directory} cannot be understood: ${error.message}`)
      if (error instanceof FileError) return unknown(error.message)
      throw error
    }
  },
}
