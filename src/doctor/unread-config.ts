import { dirname } from 'node:path'

import type { ContainerdConfig, HiddenConfig } from './containerd-config.ts'

interface Reason {
  readonly says: string
  readonly fix: string
}

const MOUNTED = 'read-only and at the same path (the chart: extraVolumes and extraVolumeMounts)'

/** Why a setting of containerd is not known from its files, and how it could be. */
export function whyUnread(file: Extract<ContainerdConfig, { state: 'denied' | 'hidden' }>): Reason {
  return file.state === 'hidden'
    ? whyHidden(file)
    : { says: `${file.file} cannot be read by this user`, fix: 'run Nabo, and nabo doctor, as root' }
}

function whyHidden({ file, importedBy, target }: HiddenConfig): Reason {
  const imports = importedBy === undefined ? '' : `${importedBy} imports `
  if (target !== undefined)
    return {
      says: `${imports}${file}, a link: ${target} is not visible from here`,
      fix: `mount ${file.includes('*') ? target : dirname(target)} into the container too, ${MOUNTED}`,
    }
  if (importedBy === undefined)
    return {
      says: `${file} is not visible from here`,
      fix: `mount its directory into the container, read-only, and name it with --containerd-config (the chart: containerd.configFile)`,
    }
  return {
    says: `${imports}${file}, which is not visible from here`,
    fix: `mount that directory into the container too, ${MOUNTED}`,
  }
}
