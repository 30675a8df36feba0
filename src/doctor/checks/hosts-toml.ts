import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { type Check, error, ok, type Outcome, unknown, warning, worst } from '../check.ts'
import { type HostsFile, readHostsFile } from '../hosts-toml.ts'
import type { HostPort } from '../../overlay/host-port.ts'
import { hostPortOf, leadsTo, mirrorAddresses, mirrorUrl } from '../mirror-addresses.ts'
import { DEFAULT_REGISTRY, directoryNames } from '../../runtimes/containerd/host-directories.ts'
import { readMirrorToken } from '../../config/mirror-token.ts'
import { errorText } from '../../telemetry/log.ts'
import { hasContainerd, type Node } from '../node.ts'

/** More directories than that are not looked into: the first ones say enough. */
const MAX_DIRECTORIES = 200
const MAX_SAID = 3

interface Asked {
  readonly node: Node
  readonly mirrors: readonly HostPort[]
  readonly configure: string
  readonly isOld: boolean
  readonly isNew: boolean
  readonly token: string | undefined
}

/** Whether containerd is sent to Nabo, for each registry that is mirrored. */
export const hostsTomlCheck: Check = {
  id: 'hosts-toml',
  title: 'hosts.toml',
  isDecisive: true,
  async run(node) {
    const { configDir, registries } = node.settings
    if (registries === 'none' || !(await hasContainerd(node))) return undefined
    const mirrors = await mirrorAddresses(node)
    const look = await node.containerd()
    const configure = `nabo configure containerd --config-dir ${configDir} --mirror-url ${mirrorUrl(mirrors)}`
    const { mirrorTokenFile } = node.settings
    let token: string | undefined
    try {
      if (mirrorTokenFile !== undefined) token = await readMirrorToken(mirrorTokenFile)
    } catch (cause) {
      return error(errorText(cause), `write a token into ${mirrorTokenFile}, readable by the user that runs Nabo`)
    }
    const asked = {
      node,
      mirrors,
      configure,
      token,
      isOld: look.state === 'answers' && look.major === 1 && look.minor <= 6,
      isNew: look.state === 'answers' && look.major >= 2,
    }
    const names = await directories(configDir)
    if (names === 'denied') return unknown(`${configDir} cannot be read by this user`)
    if (names === 'missing')
      return !(await node.isVisible(configDir))
        ? unknown(`${configDir} is not visible from here`, 'mount it into the container, at the same path')
        : error(`there is no ${configDir}: nothing sends containerd to Nabo`, configure)
    return registries === 'all' ? allOf(asked, names) : namedOf(asked, names, [...registries])
  },
}

/** Everything that is there counts; a directory of its own keeps a registry from the default. */
async function allOf(asked: Asked, names: readonly string[]): Promise<Outcome> {
  const found = await Promise.all(names.map(async (name) => ({ name, outcome: await judge(asked, name, name) })))
  const good = found.filter(({ outcome }) => outcome.level === 'ok')
  const isDefault = found.some(({ name, outcome }) => name === DEFAULT_REGISTRY && outcome.leads)
  const leads = found.some(({ outcome }) => outcome.leads)
  const { configDir } = asked.node.settings
  const bad = found.filter(({ outcome }) => outcome.level !== 'ok' && (outcome.isBroken || outcome.leads || isDefault))
  if (!leads && !bad.some(({ outcome }) => outcome.level === 'error'))
    return error(`no hosts.toml in ${configDir} sends containerd to Nabo`, asked.configure)
  if (bad.length > 0) return together(bad.map(({ outcome }) => outcome))
  const others = good.filter(({ name }) => name !== DEFAULT_REGISTRY).map(({ name }) => name)
  return ok(
    `containerd asks Nabo first for ${isDefault ? 'every registry' : others.slice(0, MAX_DIRECTORIES).join(', ')}`,
  )
}

async function namedOf(asked: Asked, names: readonly string[], registries: readonly string[]): Promise<Outcome> {
  const outcomes = await Promise.all(
    registries.map(async (registry): Promise<Judged> => {
      const candidates = [...directoryNames(registry), DEFAULT_REGISTRY]
      const name = candidates.find((candidate) => names.includes(candidate))
      if (name !== undefined) return judge(asked, name, registry)
      return past(
        `nothing in ${asked.node.settings.configDir} sends containerd to Nabo for ${registry}`,
        asked.configure,
      )
    }),
  )
  const bad = outcomes.filter(({ level }) => level !== 'ok')
  if (bad.length === 0) return ok(`containerd asks Nabo first for ${registries.join(', ')}`)
  const { level, says, fix } = together(bad)
  // If nothing leads here at all, this node's containerd does without Nabo.
  return outcomes.some(({ leads }) => leads) || level === 'unknown'
    ? { level, says, ...(fix && { fix }) }
    : error(says, fix ?? '')
}

interface Judged extends Outcome {
  /** It sends containerd to Nabo, well or badly. */
  readonly leads: boolean
  /** containerd takes nothing of the file. */
  readonly isBroken: boolean
}

async function judge(asked: Asked, directory: string, registry: string): Promise<Judged> {
  const path = join(asked.node.settings.configDir, directory, 'hosts.toml')
  const file = await readHostsFile(path)
  const what = registry === DEFAULT_REGISTRY ? 'other registries' : registry
  switch (file.state) {
    case 'missing':
      return past(`${directory} has no hosts.toml: ${what} goes past Nabo`, asked.configure)
    case 'denied':
      return { ...unknown(`${path} cannot be read by this user`), leads: false, isBroken: false }
    case 'invalid':
      return ignored(asked, path, file.says)
    case 'read':
      return asked.isNew && file.unknownTo2 !== undefined
        ? ignored(asked, path, file.unknownTo2)
        : judgeHosts(asked, path, file, what)
  }
}

function judgeHosts(asked: Asked, path: string, file: Extract<HostsFile, { state: 'read' }>, what: string): Judged {
  const { mirrors, configure, isOld, token } = asked
  if (isOld && file.hosts.length === 0) return broken(`containerd 1.6 refuses ${path}, which has no [host]`, configure)
  const at = file.hosts.findIndex(({ url }) => {
    const target = hostPortOf(url.startsWith('http') ? url : `https://${url}`)
    return target !== undefined && leadsTo(target, mirrors)
  })
  const own = file.hosts[at]
  if (own === undefined) return past(`${path} does not name Nabo: ${what} goes past it`, configure)
  if (!own.url.startsWith('http://'))
    return wrong(
      `${path} names Nabo as ${own.url}, but it speaks plain HTTP`,
      `write [host."${mirrorUrl(mirrors)}"] in ${path}`,
    )
  if (!own.capabilities.includes('pull') || own.capabilities.includes('push'))
    return (own.capabilities.includes('pull') ? wrong : past)(
      `${path} gives Nabo the capabilities ${own.capabilities.join(', ') || 'none'}`,
      `write capabilities = ["pull", "resolve"] below [host."${own.url}"] in ${path}`,
    )
  if (own.overridesPath && new URL(own.url).pathname === '/')
    return wrong(`${path} leaves /v2 out of Nabo's paths`, `take override_path out of [host."${own.url}"] in ${path}`)
  if (token !== undefined && own.token !== token)
    return past(
      `${path} sends Nabo ${own.token === undefined ? 'no' : 'another'} token than it wants: ${what} goes past it`,
      `${configure} --mirror-token-file ${asked.node.settings.mirrorTokenFile}`,
    )
  if (at > 0)
    return wrong(
      `${path} has ${file.hosts[0]?.url} asked before Nabo`,
      `move [host."${own.url}"] to the front in ${path}, if Nabo is to save those requests`,
    )
  if (file.isOpen) return wrong(`every user of this node can change ${path}`, `chmod o-w ${dirname(path)} ${path}`)
  return { ...ok(`${what} goes to Nabo`), leads: true, isBroken: false }
}

function ignored({ configure }: Asked, path: string, says: string): Judged {
  return broken(`containerd ignores ${path}: ${says}`, `put ${path} right; then ${configure}`)
}

function past(says: string, fix: string): Judged {
  return { ...warning(says, fix), leads: false, isBroken: false }
}

function wrong(says: string, fix: string): Judged {
  return { ...warning(says, fix), leads: true, isBroken: false }
}

function broken(says: string, fix: string): Judged {
  return { ...error(says, fix), leads: false, isBroken: true }
}

function together(outcomes: readonly Outcome[]): Outcome {
  const first = worst(outcomes) ?? ok('')
  const others = outcomes.filter((outcome) => outcome !== first)
  const said = [first, ...others].slice(0, MAX_SAID).map(({ says }) => says)
  const more = outcomes.length - said.length
  const says = [...said, ...(more > 0 ? [`and ${more} more`] : [])].join('; ')
  return { level: first.level, says, ...(first.fix === undefined ? {} : { fix: first.fix }) }
}

async function directories(path: string): Promise<readonly string[] | 'missing' | 'denied'> {
  try {
    const names = (await readdir(path))
      .filter((name) => !name.startsWith('.'))
      .toSorted()
      .slice(0, MAX_DIRECTORIES)
    const isDirectory = await Promise.all(
      names.map((name) =>
        stat(join(path, name)).then(
          (found) => found.isDirectory(),
          () => false,
        ),
      ),
    )
    return names.filter((_, at) => isDirectory[at])
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'missing'
    if (code === 'EACCES' || code === 'EPERM') return 'denied'
    throw cause
  }
}
