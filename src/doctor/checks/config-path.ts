import { type Check, error, ok, type Outcome, unknown, warning } from '../check.ts'
import type { ContainerdConfig } from '../containerd-config.ts'
import { DEFAULT_PATH, registrySection } from '../containerd-settings.ts'
import { directoriesBeforeOurs, listsOurs, readingOfList } from '../directory-list.ts'
import { whyUnread } from '../unread-config.ts'
import { second } from '../../time/units.ts'
import { hasContainerd, type Node } from '../node.ts'
import type { ContainerdLook } from '../../store/containerd/running-containerd.ts'

/** Between the clock of the files and that of the processes. */
const CLOCK_SLACK = second
const MAX_SAID = 3
const RESTART = 'restart containerd: systemctl restart containerd'

/** Whether containerd reads hosts.toml files, by its file and by what the running one says. */
export const configPathCheck: Check = {
  id: 'config-path',
  title: 'config_path',
  isDecisive: true,
  async run(node) {
    if (!(await hasContainerd(node))) return undefined
    const [look, file] = [await node.containerd(), await node.containerdConfig()]
    if (look.state === 'answers' && look.cri.state === 'off')
      return warning(
        "containerd's CRI plugin is switched off: only clients that read hosts.toml themselves can use the mirror",
        `take "cri" out of disabled_plugins in ${node.settings.containerdConfig}, and ${RESTART}`,
      )
    if (look.state === 'answers' && look.cri.state === 'broken')
      return error(
        `containerd could not start its CRI plugin: ${look.cri.says}`,
        `put ${node.settings.containerdConfig} right (config_path and registry.mirrors exclude each other), and ${RESTART}`,
      )
    const running = look.state === 'answers' && look.cri.state === 'shown' ? look.cri : undefined
    return running === undefined ? await byFile(node, look, file) : await byRunning(node, { look, running, file })
  },
}

interface Running {
  readonly look: ContainerdLook
  readonly running: { readonly configPath: string; readonly inlineMirrors: readonly string[] }
  readonly file: ContainerdConfig
}

async function byRunning(node: Node, { look, running, file }: Running): Promise<Outcome> {
  const { configDir } = node.settings
  const saysSo =
    file.state === 'read' &&
    (await listsOurs(node, file.configPath)) &&
    readingOfList(file.configPath, look, file) === 'each directory'
  const unread = unreadList(node, running.configPath, look, file)
  if (unread === undefined && (await listsOurs(node, running.configPath))) {
    if (file.state === 'read' && !saysSo)
      return warning(
        `containerd reads ${configDir}, but its file does not say so any more: the next start will forget it`,
        lineFor(node, file),
      )
    return (await readsOthersFirst(node, running.configPath, file)) ?? ok(`containerd reads ${configDir}`)
  }
  if (saysSo) return error(`the file says ${configDir}, but the running containerd has not read it`, RESTART)
  if (unread !== undefined) return unread
  if (running.configPath !== '') return elsewhere(node, running.configPath)
  if (running.inlineMirrors.length > 0)
    return error(
      `containerd has mirrors of the old kind for ${running.inlineMirrors.join(', ')}, and reads no hosts.toml`,
      `take registry.mirrors out of ${node.settings.containerdConfig}; then ${lineFor(node, file)}`,
    )
  return error('containerd reads no hosts.toml: config_path is not set', lineFor(node, file))
}

/** The running one tells nothing of it: from 2.0 to 2.3, or when it cannot be asked. */
async function byFile(node: Node, look: ContainerdLook, file: ContainerdConfig): Promise<Outcome> {
  const { configDir } = node.settings
  switch (file.state) {
    case 'missing':
      // The file that counts may be another one, and 2.2 reads hosts.toml without any.
      return file.file === node.settings.containerdConfig
        ? error(
            `there is no ${file.file}, so containerd reads no hosts.toml`,
            startedWith(look, node) ?? lineFor(node, file),
          )
        : error(`there is no ${file.file}, which is imported`, 'put it right: containerd does not start without it')
    case 'invalid':
      return error(`${file.file} is not valid: ${file.says}`, 'put it right: containerd does not start with it')
    case 'denied':
    case 'hidden': {
      const { says, fix } = whyUnread(file)
      return unknown(says, fix)
    }
    case 'read':
  }
  if (file.isMisplaced)
    return error('config_path stands where this version of containerd does not look', lineFor(node, file))
  const unread = unreadList(node, file.configPath, look, file)
  if (unread !== undefined) return unread
  if (!(await listsOurs(node, file.configPath))) {
    if (file.configPath !== '') return elsewhere(node, file.configPath)
    return error(`config_path is not set in ${file.files[0]}`, startedWith(look, node) ?? lineFor(node, file))
  }
  if (look.state === 'answers' && look.startedAt !== undefined && look.startedAt + CLOCK_SLACK < file.changedAt)
    return warning(`the file says ${configDir}, but it was changed after containerd had started`, RESTART)
  return (await readsOthersFirst(node, file.configPath, file)) ?? ok(`the file says that containerd reads ${configDir}`)
}

/** undefined if containerd reads every directory of the list, or if there is only one. */
function unreadList(node: Node, configPath: string, look: ContainerdLook, file: ContainerdConfig): Outcome | undefined {
  const version = look.state === 'answers' ? `${look.major}.${look.minor}` : 'from 2.1 on'
  const list = `${configPath === DEFAULT_PATH ? 'its default list' : 'the list'} ${configPath}`
  switch (readingOfList(configPath, look, file)) {
    case 'each directory':
      return undefined
    case 'as one name':
      return error(
        `containerd ${version} takes ${list} for the name of one directory, and reads no hosts.toml`,
        lineFor(node, file),
      )
    case 'unknown':
      return unknown(
        `containerd does not answer, and containerd ${version} takes ${list} for the name of one directory`,
        lineFor(node, file),
      )
  }
}

async function readsOthersFirst(node: Node, configPath: string, file: ContainerdConfig): Promise<Outcome | undefined> {
  const first = await directoriesBeforeOurs(node, configPath)
  if (first.length === 0) return undefined
  const { configDir } = node.settings
  return warning(
    `containerd reads ${first.slice(0, MAX_SAID).join(', ')} before ${configDir}, and goes past Nabo for what is set up there`,
    lineFor(node, file),
  )
}

function elsewhere(node: Node, configPath: string): Outcome {
  return error(
    `containerd reads hosts.toml files in ${configPath}, not in ${node.settings.configDir}`,
    `--config-dir ${configPath.split(':')[0]}, for nabo configure containerd too`,
  )
}

/** Another file than the one that was read may be the one that counts. */
function startedWith(look: ContainerdLook, node: Node): string | undefined {
  const used = look.state === 'answers' ? look.configFile : undefined
  return used === undefined || used === node.settings.containerdConfig ? undefined : `--containerd-config ${used}`
}

function lineFor(node: Node, file: ContainerdConfig): string {
  const { configDir, containerdConfig } = node.settings
  const version = file.state === 'read' ? file.version : 2
  const head = file.state === 'missing' ? 'version = 2, ' : ''
  return `in ${containerdConfig}: ${head}below ${registrySection(version)} config_path = ${JSON.stringify(configDir)}; then ${RESTART}`
}
