import type { ContainerdConfig } from './containerd-config.ts'

type Unread = Extract<ContainerdConfig, { state: 'denied' | 'hidden' }>

/** Why a setting of containerd is not known from its files, and how it could be. */
export function whyUnread(file: Unread): { readonly says: string; readonly fix: string } {
  if (file.state === 'denied')
    return { says: `${file.file} cannot be read by this user`, fix: 'run Nabo, and nabo doctor, as root' }
  const { file: path, importedBy } = file
  if (importedBy === undefined)
    return {
      says: `${path} is not visible from here`,
      fix: `mount its directory into the container, read-only, and name it with --containerd-config (the chart: containerd.configFile)`,
    }
  return {
    says: `${importedBy} imports ${path}, which is not visible from here`,
    fix: `mount that directory into the container too, read-only and at the same path (the chart: extraVolumes and extraVolumeMounts)`,
  }
}
